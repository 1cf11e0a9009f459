"""ReLU and anti-aliased max pooling on a CPU, alone or behind a convolution: little memory, few passes over it.

Both work on a few maps at a time, which then stay in the processor's cache, and keep only their input for the
gradient: what was largest, and in the second case the maps themselves, are found again. Stock operators keep the
convolved maps, the maxima, and indices of eight bytes. On other devices the stock operators are used.

Shapes: N images, C channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


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
            _pool(maps, blur, result)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        x, blur = ctx.saved_tensors
        grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
        for maps, grad_out, result in _few_maps(x, grad, grad_x):
            _grad_of_pool(maps, blur, grad_out, result)
        return grad_x, None


class ConvReluMaxBlur(torch.autograd.Function):
    """A convolution with few input channels, then ``ReluMaxBlur``; only the input of the convolution is kept.

    The convolution is a product with the columns of ``unfold``, for one image and a few output channels at a time.
    With 1 input and 192 output channels (D_16) the product is faster than ``conv2d`` on a whole batch, whose output is
    too large for any cache, so that computing the maps twice still saves time (docs/benchmarks.md).
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, blur: Tensor, padding: int) -> Tensor:
        """(N, C, H, W) -> (N, C', H' // 2, W' // 2), H' = H + 2 padding - k + 1; ``weight`` is (C', C, k, k)."""
        ctx.save_for_backward(x, weight, blur)
        ctx.padding = padding
        size = _convolved_size(x, weight, padding)
        out = x.new_empty(len(x), len(weight), *pooled_size(size))
        for image, result in zip(x, out, strict=True):
            columns = F.unfold(image, weight.shape[-1], padding=padding)
            for rows, pooled in _few_channels(size, weight.flatten(1), result):
                _pool((rows @ columns).view(-1, *size), blur, pooled)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, weight, blur = ctx.saved_tensors
        kernel_size, size = weight.shape[-1], _convolved_size(x, weight, ctx.padding)
        grad_x = torch.empty_like(x, memory_format=torch.contiguous_format) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight)
        for i, image in enumerate(x):
            columns = F.unfold(image, kernel_size, padding=ctx.padding)
            grad_columns = None if grad_x is None else torch.zeros_like(columns)
            for rows, grad_out, grad_rows in _few_channels(size, weight.flatten(1), grad[i], grad_weight.flatten(1)):
                maps = (rows @ columns).view(-1, *size)
                grad_maps = torch.empty_like(maps)
                _grad_of_pool(maps, blur, grad_out, grad_maps)
                grad_rows.addmm_(grad_maps.flatten(1), columns.t())
                if grad_columns is not None:
                    grad_columns.addmm_(rows.t(), grad_maps.flatten(1))
            if grad_x is not None:
                grad_x[i] = F.fold(grad_columns, image.shape[-2:], kernel_size, padding=ctx.padding)
        return grad_x, grad_weight, None, None


def runs_eagerly_on_cpu(x: Tensor) -> bool:
    """Returns whether ``x`` is on a CPU and nobody is recording the operators: then the forms for CPUs can be used."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing()


def full_precision(device: torch.device) -> torch.autocast:
    """Returns the context in which autocast leaves precisions as they are."""
    return torch.autocast(device.type, enabled=False)


def pooled_size(size: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the height and width after pooling."""
    return tuple((n - 2) // 2 + 1 for n in size)


def blurred(x: Tensor, blur: Tensor) -> Tensor:
    """Returns ``x`` convolved with ``blur``, channel by channel, at stride 2 and with two rows of zeros around."""
    return F.conv2d(x, blur.expand(x.shape[-3], 1, -1, -1), stride=2, padding=2, groups=x.shape[-3])


def _convolved_size(x: Tensor, weight: Tensor, padding: int) -> tuple[int, ...]:
    return tuple(n + 2 * padding - weight.shape[-1] + 1 for n in x.shape[-2:])


def _pool(maps: Tensor, blur: Tensor, out: Tensor) -> None:
    """Writes the pooled maps, (n, H, W) -> (n, H // 2, W // 2), into ``out``."""
    rows = torch.maximum(maps[:, 1:], maps[:, :-1])
    largest = torch.maximum(rows[..., 1:], rows[..., :-1]).clamp_(min=0)
    out.copy_(blurred(largest, blur.to(maps.dtype)))


def _grad_of_pool(maps: Tensor, blur: Tensor, grad: Tensor, out: Tensor) -> None:
    """Writes the gradient of ``maps`` into ``out``, given that of their pooled maps."""
    rows = torch.maximum(maps[:, 1:], maps[:, :-1])
    largest = torch.maximum(rows[..., 1:], rows[..., :-1])
    grad_rows = torch.empty_like(rows)
    grad_largest = F.conv_transpose2d(
        grad,
        blur.to(grad.dtype).expand(len(maps), 1, -1, -1),
        stride=2,
        padding=2,
        output_padding=[n % 2 for n in maps.shape[-2:]],  # an even side of the maxima has a last row of its own
        groups=len(maps),
    )
    grad_largest = _where_positive(grad_largest, largest)
    _split(grad_largest, rows[..., 1:] - rows[..., :-1], grad_rows, 2)
    _split(grad_rows, maps[:, 1:] - maps[:, :-1], out, 1)


def _few(size: tuple[int, ...]) -> int:
    """Returns how many maps of this size fill about two megabytes: 24 of 148 x 148 pixels."""
    return max(1, 530_000 // (size[0] * size[1]))


def _few_maps(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yields the same few maps (n, H, W) of each (N, C, H, W); the size is that of the first."""
    n_maps = _few(tensors[0].shape[-2:])
    return zip(*(tensor.flatten(0, 1).split(n_maps) for tensor in tensors), strict=True)


def _few_channels(size: tuple[int, ...], *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yields the same few channels of each tensor (C, ...), as many as maps of ``size`` fit the cache."""
    return zip(*(tensor.split(_few(size)) for tensor in tensors), strict=True)


def _where_positive(grad: Tensor, x: Tensor) -> Tensor:
    """Returns ``grad`` where x > 0 and 0 elsewhere, in one pass (a product with a bool takes two)."""
    return torch.ops.aten.threshold_backward(grad, x, 0.0)


def _split(grad: Tensor, second_minus_first: Tensor, out: Tensor, dim: int) -> None:
    """Writes the gradient of the maximum of neighbors along ``dim`` into ``out``, which is one longer there."""
    size = grad.shape[dim]
    to_second = _where_positive(grad, second_minus_first)
    torch.sub(grad, to_second, out=out.narrow(dim, 0, size))
    out.select(dim, size).zero_()
    out.narrow(dim, 1, size).add_(to_second)
