"""ReLU and anti-aliased max pooling on a CPU: little memory, few passes over it.

It works on a few maps at a time, which then stay in the processor's cache, and keeps only its input for the gradient:
what was largest is found again. Stock operators keep the maxima, and indices of eight bytes. On other devices the stock
operators are used.

Shapes: N images, C channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from radgal.layers.cpu.twice import gradients, needs_torch, relu_max_blur

CACHED_PIXELS = 530_000
"""Pixels of all maps that are worked on at a time: about two megabytes of float32, which stay in a core's cache."""


class ReluMaxBlur(torch.autograd.Function):
    """ReLU, 2 x 2 maximum at stride 1 (by rows and then by columns) and blur at stride 2.

    The gradient goes to the first of equal maxima, as in ``max_pool2d``.
    """

    @staticmethod
    def forward(ctx, x: Tensor, blur: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H // 2, W // 2); ``blur`` is (1, 1, 5, 5)."""
        ctx.save_for_backward(x, blur)
        out = x.new_empty(*x.shape[:2], *pooled_size(x.shape[-2:]))
        for maps, result in _few_maps(x, out):
            result.copy_(pool_maps(maps, blur))
        return out

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        x, blur = ctx.saved_tensors
        if needs_torch(grad):
            return (*gradients(lambda maps: relu_max_blur(maps, blur), [x], grad), None)
        grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
        for maps, grad_out, result in _few_maps(x, grad, grad_x):
            write_gradient(maps, blur, grad_out, result)
        return grad_x, None


def full_precision(device: torch.device) -> torch.autocast:
    """Returns the context in which autocast leaves precisions as they are; on devices that have none, the CPU's."""
    there = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type if there else "cpu", enabled=False)


def pooled_size(size: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the height and width after pooling."""
    return tuple((n - 2) // 2 + 1 for n in size)


def blurred(x: Tensor, blur: Tensor, padding: int = 2) -> Tensor:
    """Returns ``x`` convolved with ``blur``, channel by channel, at stride 2, with rows of zeros around."""
    return F.conv2d(x, blur.expand(x.shape[-3], 1, -1, -1), stride=2, padding=padding, groups=x.shape[-3])


def pool_maps(maps: Tensor, blur: Tensor, padding: int = 2, inside: Tensor | None = None) -> Tensor:
    """Returns the pooled maps, (n, H, W) -> (n, H', W').

    Args:
        maps: with an even number of rows and columns where ``padding`` is 0.
        padding: rows and columns of zeros around the maxima; 2 gives H' = H // 2, 0 what needs none of them.
        inside: (m, H - 1, W - 1), n a multiple of m: 0 where a maximum is beyond the edge of the whole map, else 1.
    """
    rows = torch.maximum(maps[:, 1:], maps[:, :-1])
    largest = torch.maximum(rows[..., 1:], rows[..., :-1]).clamp_(min=0)
    if inside is not None:
        largest.view(-1, *inside.shape).mul_(inside)
    return blurred(largest, blur.to(maps.dtype), padding)


def write_gradient(
    maps: Tensor, blur: Tensor, grad: Tensor, out: Tensor, padding: int = 2, inside: Tensor | None = None
) -> None:
    """Writes the gradient of ``maps`` into ``out``, given that of their pooled maps; see :func:`pool_maps`."""
    rows = torch.maximum(maps[:, 1:], maps[:, :-1])
    largest = torch.maximum(rows[..., 1:], rows[..., :-1])
    grad_rows = torch.empty_like(rows)
    grad_largest = F.conv_transpose2d(
        grad,
        blur.to(grad.dtype).expand(len(maps), 1, -1, -1),
        stride=2,
        padding=padding,
        # with padding an even side of the maxima has a last row of its own
        output_padding=[n % 2 if padding else 0 for n in maps.shape[-2:]],
        groups=len(maps),
    )
    if inside is not None:
        grad_largest.view(-1, *inside.shape).mul_(inside)
    grad_largest = where_positive(grad_largest, largest)
    split_gradient(grad_largest, rows[..., 1:] - rows[..., :-1], grad_rows, 2)
    split_gradient(grad_rows, maps[:, 1:] - maps[:, :-1], out, 1)


def few_maps_of(size: tuple[int, ...]) -> int:
    """Returns how many maps of this size are worked on at a time: 24 of 148 x 148 pixels."""
    return max(1, CACHED_PIXELS // (size[0] * size[1]))


def _few_maps(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yields the same few maps (n, H, W) of each (N, C, H, W); the size is that of the first."""
    n_maps = few_maps_of(tensors[0].shape[-2:])
    return zip(*(tensor.flatten(0, 1).split(n_maps) for tensor in tensors), strict=True)


def where_positive(grad: Tensor, x: Tensor) -> Tensor:
    """Returns ``grad`` where x > 0 and 0 elsewhere, in one pass (a product with a bool takes two)."""
    return torch.ops.aten.threshold_backward(grad, x, 0.0)


def split_gradient(grad: Tensor, second_minus_first: Tensor, out: Tensor, dim: int) -> None:
    """Writes the gradient of the maximum of neighbors along ``dim`` into ``out``, which is one longer there."""
    size = grad.shape[dim]
    to_second = where_positive(grad, second_minus_first)
    torch.sub(grad, to_second, out=out.narrow(dim, 0, size))
    out.select(dim, size).zero_()
    out.narrow(dim, 1, size).add_(to_second)
