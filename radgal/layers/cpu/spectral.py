"""A later layer as products between the plane waves of maps and filter: fewer multiply-adds than with every tap.

A convolution does not mix plane waves. So the maps of a batch, and the filter, are written as sums of plane waves
exp(2 pi i (k h + l w) / n); for each wave the channels are mixed by one small complex product, and the output is read
off at those pixels that no wave has carried around the edge. This is exact, up to rounding of the size of 1e-6. Large
maps are cut into windows, for then the waves are few. They are found by products with matrices of cosines and sines,
one axis after the other. (``harmonic`` is another Fourier transform: that over the rotations of a group.)

All of it has *pixels first*: maps are (H, W, M), of M images and channels together. Then every product is one of a
small matrix with long rows, nothing is rearranged in between, and pooling compares whole rows.

Shapes: N images, C channels in and D out, H and W pixels, k side of the filter, n side of a window and number of waves
along an axis; of the first axis n // 2 + 1 of them are enough, K, because maps are real.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from radgal.layers.constants import for_keeps
from radgal.layers.cpu.blurpool import few_maps_of, split_gradient, where_positive
from radgal.layers.cpu.twice import gradients, needs_torch, relu_max_blur

LARGEST = 18
"""Output pixels along the side of a window, at most: of 12, 18, 24 and 40 the fastest for most groups and sizes."""
WORKSPACE = 7_000_000
"""Numbers in the largest tensor of waves: below 32 megabytes the C library reuses memory instead of clearing new."""


class Waves(NamedTuple):
    """Cosines and sines that take maps of one size to their plane waves; transposed, they take waves to maps.

    Attributes:
        first: (2 K, H): for each wave along the first axis its real and its imaginary part.
        second: (2 n, 2 W): from a real and an imaginary part to the real parts of all waves, and their imaginary ones.
    """

    first: Tensor
    second: Tensor

    def along_first(self, maps: Tensor) -> Tensor:
        """Returns the waves along the first axis, (H, W, M) -> (K, 2 W, M)."""
        return (self.first @ maps.flatten(1)).view(len(self.first) // 2, -1, maps.shape[-1])

    def to_maps(self, waves: Tensor) -> Tensor:
        """The adjoint of ``along_first``, (K, 2 W, M) -> (H, W, M)."""
        return (self.first.t() @ waves.view(len(self.first), -1)).view(self.first.shape[1], -1, waves.shape[-1])

    def along_second(self, waves: Tensor, shape: tuple[int, int]) -> Tensor:
        """Returns the plane waves that share one wave along the first axis, (2 W, M) -> (2, n, *shape)."""
        return (self.second @ waves).view(2, -1, *shape)


class Plan(NamedTuple):
    """How a convolution of one size is done.

    Attributes:
        counts: windows along each axis.
        tile: pixels of the output of a window.
        of_input, of_filter: the waves of windows and filter.
        of_output: their adjoint makes the output of its waves.
    """

    counts: tuple[int, int]
    tile: tuple[int, int]
    of_input: Waves
    of_filter: Waves
    of_output: Waves

    def places(self, extra: int) -> Iterator[tuple[slice, slice]]:
        """Yields the rows and columns of each tile, and of ``extra`` pixels behind it."""
        for i in range(self.counts[0]):
            for j in range(self.counts[1]):
                yield tuple(slice(c * t, c * t + t + extra) for c, t in zip((i, j), self.tile, strict=True))

    def padded(self, extra: int) -> tuple[int, int]:
        """Returns the size of all tiles together, and of ``extra`` pixels behind the last."""
        return tuple(count * tile + extra for count, tile in zip(self.counts, self.tile, strict=True))

    def cut(self, maps: Tensor, extra: int) -> Tensor:
        """Returns the windows of maps, one place after the other, (H, W, M) -> (h, w, P M)."""
        if self.counts == (1, 1):
            return maps
        return torch.cat([maps[place] for place in self.places(extra)], 2)

    def join(self, windows: Tensor, extra: int) -> Tensor:
        """The adjoint of ``cut``: returns the sum of windows in their places."""
        if self.counts == (1, 1):
            return windows
        parts = windows.chunk(math.prod(self.counts), 2)
        maps = windows.new_zeros(*self.padded(extra), parts[0].shape[2])
        for place, part in zip(self.places(extra), parts, strict=True):
            maps[place] += part
        return maps


@functools.lru_cache(maxsize=8)
@for_keeps()
def make_plan(size: tuple[int, int], kernel_size: int) -> Plan:
    """Returns the plan for outputs of ``size``."""
    counts = tuple(-(-n // LARGEST) for n in size)
    tile = tuple(-(-n // count) for n, count in zip(size, counts, strict=True))
    n = tuple(side + kernel_size - 1 for side in tile)
    mirrored = torch.full((n[0] // 2 + 1, 1, 1), 2.0, dtype=torch.float64)  # a wave and its mirror image
    mirrored[0] = 1
    if n[0] % 2 == 0:
        mirrored[-1] = 1
    return Plan(counts, tile, _waves(n, n), _waves(n, (kernel_size,) * 2), _waves(n, tile, mirrored / math.prod(n)))


def _waves(n: tuple[int, int], size: tuple[int, int], scale: Tensor | float = 1.0) -> Waves:
    """Returns the n waves of maps of ``size``, computed in float64."""
    first, second = (
        2 * math.pi / waves * (torch.outer(torch.arange(waves), torch.arange(pixels)) % waves).double()
        for waves, pixels in zip(n, size, strict=True)
    )
    first = first[: n[0] // 2 + 1]
    first = scale * torch.stack([first.cos(), -first.sin()], 1)
    cos, sin = second.cos(), second.sin()
    second = torch.cat([torch.cat([cos, sin], 1), torch.cat([-sin, cos], 1)])
    return Waves(first.flatten(0, 1).float(), second.float())


class SpectralLayer(torch.autograd.Function):
    """Many channels in: convolved as plane waves and pooled, (N, C, H, W) -> (N, D, H', W'), float32.

    Kept for the gradient are the input and the convolved maps.
    """

    @staticmethod
    def forward(ctx, x: Tensor, dense: Tensor, blur: Tensor, padding: int, keep: bool) -> Tensor:
        """Returns the pooled maps, with pixels first in memory.

        Args:
            dense: the filter, (D, C, k, k).
            padding: rows and columns of zeros around the maps.
            keep: whether there may be a backward pass.
        """
        ctx.save_for_backward(x, dense, blur)
        ctx.padding, ctx.kept = padding, []
        size = tuple(n + 2 * padding - dense.shape[-1] + 1 for n in x.shape[-2:])
        ctx.plan = plan = make_plan(size, dense.shape[-1])
        of_filter, out = plan.of_filter.along_first(_pixels_first(dense)), []
        for part in x.split(_images_at_once(x, plan, dense)):
            convolved = _convolve(_windows(part, plan, dense, padding), of_filter, dense.shape[:2], plan)
            convolved = plan.join(convolved, 0)[: size[0], : size[1]]
            pooled = torch.cat([pool(convolved[..., some], blur) for some in _few(convolved)], 2)
            out.append(pooled.view(*pooled.shape[:2], len(part), len(dense)))
            if keep:
                ctx.kept.append(convolved)
        return torch.cat(out, 2).permute(2, 3, 0, 1)

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    def backward(ctx, grad: Tensor) -> tuple:
        x, dense, blur = ctx.saved_tensors
        if needs_torch(grad):

            def stock(x: Tensor, dense: Tensor) -> Tensor:
                return relu_max_blur(F.conv2d(x, dense, padding=ctx.padding), blur)

            return (*gradients(stock, [x, dense], grad), None, None, None)
        plan, step = ctx.plan, _images_at_once(x, ctx.plan, dense)
        of_filter = plan.of_filter.along_first(_pixels_first(dense))
        grad_x, grad_filter = torch.empty_like(x), torch.zeros_like(of_filter)
        for part, grad_out, convolved, result in zip(
            x.split(step), grad.split(step), ctx.kept, grad_x.split(step), strict=True
        ):
            grad_pooled = grad_out.permute(2, 3, 0, 1).flatten(2)
            grad_convolved = convolved.new_zeros(*plan.padded(0), convolved.shape[2])
            for some in _few(convolved):
                out = grad_convolved[: convolved.shape[0], : convolved.shape[1], some]
                write_gradient(convolved[..., some], blur, grad_pooled[..., some], out)
            waves = of_filter, grad_filter
            windows = _windows(part, plan, dense, ctx.padding), plan.cut(grad_convolved, 0)
            grad_part = plan.join(_add_gradients(*windows, *waves, dense.shape[:2], plan), dense.shape[-1] - 1)
            rows, columns = (slice(ctx.padding, ctx.padding + n) for n in x.shape[-2:])
            grad_part = grad_part[rows, columns].reshape(-1, result.shape[0] * result.shape[1])
            result.view(grad_part.shape[1], -1).copy_(grad_part.t())
        grad_dense = plan.of_filter.to_maps(grad_filter).view(*dense.shape[-2:], *dense.shape[:2])
        return grad_x, grad_dense.permute(2, 3, 0, 1), None, None, None


def _pixels_first(maps: Tensor) -> Tensor:
    """(A, B, H, W) -> (H, W, A B)."""
    return maps.flatten(2).flatten(0, 1).t().contiguous().view(*maps.shape[-2:], -1)


def _windows(x: Tensor, plan: Plan, dense: Tensor, padding: int) -> Tensor:
    """Returns what the tiles of the output depend on, (N, C, H, W) -> (n, n, P N C)."""
    extra = dense.shape[-1] - 1
    bottom, right = (n - padding - pixels for n, pixels in zip(plan.padded(extra), x.shape[-2:], strict=True))
    maps = F.pad(_pixels_first(x), (0, 0, padding, right, padding, bottom))
    return plan.cut(maps, extra)


def _images_at_once(x: Tensor, plan: Plan, dense: Tensor) -> int:
    of_one = math.prod(plan.counts) * len(plan.of_output.first) * plan.tile[1] * max(dense.shape[:2])
    return -(-len(x) // -(-len(x) * of_one // WORKSPACE))


def _few(maps: Tensor) -> list[slice]:
    step = few_maps_of(maps.shape[:2])
    return [slice(start, start + step) for start in range(0, maps.shape[2], step)]


def _convolve(windows: Tensor, of_filter: Tensor, channels: tuple[int, int], plan: Plan) -> Tensor:
    """Returns the convolved windows, (n, n, N C) -> (T, T, N D); ``channels`` is (D, C)."""
    of_input, output, (n_out, n_in) = plan.of_input.along_first(windows), plan.of_output, channels
    n_images = windows.shape[2] // n_in
    waves = windows.new_empty(len(of_input), output.second.shape[1], n_images * n_out)
    for some, taps, result in zip(of_input, of_filter, waves, strict=True):
        real, imag = plan.of_input.along_second(some, (n_images, n_in))
        f_real, f_imag = plan.of_filter.along_second(taps, channels).transpose(2, 3)
        mixed = windows.new_empty(2, len(real), n_images, n_out)
        torch.bmm(real, f_real, out=mixed[0]).baddbmm_(imag, f_imag)
        torch.bmm(imag, f_real, out=mixed[1]).baddbmm_(real, f_imag, alpha=-1)
        torch.mm(output.second.t(), mixed.view(-1, n_images * n_out), out=result)
    return output.to_maps(waves)


def _add_gradients(
    windows: Tensor, grad: Tensor, of_filter: Tensor, grad_filter: Tensor, channels: tuple[int, int], plan: Plan
) -> Tensor:
    """Returns the gradient of the windows, given that of the convolved ones; adds the filter's to ``grad_filter``."""
    of_input, of_grad = plan.of_input.along_first(windows), plan.of_output.along_first(grad)
    n_images, grad_input = windows.shape[2] // channels[1], torch.empty_like(of_input)
    for k in range(len(of_input)):
        real, imag = plan.of_input.along_second(of_input[k], (n_images, channels[1]))
        f_real, f_imag = plan.of_filter.along_second(of_filter[k], channels)
        g_real, g_imag = plan.of_output.along_second(of_grad[k], (n_images, channels[0]))
        mixed = windows.new_empty(2, *real.shape)
        torch.bmm(g_real, f_real, out=mixed[0]).baddbmm_(g_imag, f_imag, alpha=-1)
        torch.bmm(g_real, f_imag, out=mixed[1]).baddbmm_(g_imag, f_real)
        torch.mm(plan.of_input.second.t(), mixed.view(-1, windows.shape[2]), out=grad_input[k])
        g_real, g_imag = g_real.transpose(1, 2), g_imag.transpose(1, 2)
        mixed = windows.new_empty(2, *f_real.shape)
        torch.bmm(g_real, real, out=mixed[0]).baddbmm_(g_imag, imag)
        torch.bmm(g_real, imag, out=mixed[1]).baddbmm_(g_imag, real, alpha=-1)
        grad_filter[k].addmm_(plan.of_filter.second.t(), mixed.view(-1, math.prod(channels)))
    return plan.of_input.to_maps(grad_input)


def pool(maps: Tensor, blur: Tensor) -> Tensor:
    """ReLU, 2 x 2 maximum at stride 1 and blur at stride 2 of maps with pixels first, (H, W, M) -> (H', W', M)."""
    rows = torch.maximum(maps[1:], maps[:-1])
    largest = torch.maximum(rows[:, 1:], rows[:, :-1]).clamp_(min=0)
    down, across = (blur_matrix(blur, n) for n in largest.shape[:2])
    return across @ (down @ largest.flatten(1)).view(len(down), *largest.shape[1:])


def write_gradient(maps: Tensor, blur: Tensor, grad: Tensor, out: Tensor) -> None:
    """Writes the gradient of ``maps`` into ``out``, given that of what :func:`pool` makes of them."""
    rows = torch.maximum(maps[1:], maps[:-1])
    largest = torch.maximum(rows[:, 1:], rows[:, :-1])
    down, across = (blur_matrix(blur, n) for n in largest.shape[:2])
    grad_largest = (down.t() @ (across.t() @ grad).flatten(1)).view(largest.shape)
    grad_largest, grad_rows = where_positive(grad_largest, largest), torch.empty_like(rows)
    split_gradient(grad_largest, rows[:, 1:] - rows[:, :-1], grad_rows, 1)
    split_gradient(grad_rows, maps[1:] - maps[:-1], out, 0)


def blur_matrix(blur: Tensor, n: int) -> Tensor:
    """Returns the blur along one axis of n pixels at stride 2, (n', n), with two zeros at either end.

    The Gaussian is the product of one along each axis, and its sum is 1.
    """
    taps = blur[0, 0].sum(0)
    offset = torch.arange(n) - 2 * torch.arange((n - 1) // 2 + 1)[:, None] + 2
    return taps[offset.clamp(0, len(taps) - 1)] * ((offset >= 0) & (offset < len(taps)))
