"""A steerable convolution with ReLU and pooling behind it, on a CPU: the maps between are never in memory as a whole.

Both forms work on windows of the padded input, a tile each where the sky is known (``sky``) and whole images
otherwise, and compute again in the backward pass what is cheap to compute.

Shapes: N images, M windows, C channels in and C' out, k side of the kernel, T side of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from radgal.layers.cpu.blurpool import few_maps_of, pool_maps, pooled_size, write_gradient
from radgal.layers.cpu.harmonic import HarmonicForm
from radgal.layers.cpu.tiles import Layout, TiledMaps, Tiles, WholeMaps, assembled
from radgal.layers.cpu.twice import gradients, needs_torch, relu_max_blur

WINDOW_PIXELS = 8192
"""Convolved pixels of one channel that the first layer works on at a time, windows together."""


class FirstLayer(torch.autograd.Function):
    """Few channels in: windows are convolved and pooled one after the other, (M, C, h, w) -> (M, C', h', w').

    The convolution is a product with the columns of ``unfold``, for a few windows and output channels at a time. With 1
    input and 192 output channels (D_16) the product is faster than ``conv2d``, whose output is too large for any cache,
    so that computing the maps twice still saves time (docs/benchmarks.md).
    """

    @staticmethod
    def forward(ctx, windows: Tensor, weight: Tensor, blur: Tensor, inside: Tensor) -> Tensor:
        """``weight`` is (C', C, k, k); ``inside`` (M, h - k, w - k) is 0 beyond the edges of the whole map, else 1."""
        ctx.save_for_backward(windows, weight, blur, inside)
        size = tuple((n - 4) // 2 for n in _convolved(windows, weight))
        out = windows.new_empty(len(windows), len(weight), *size)
        for some, columns, mask in _few_windows(windows, weight, inside):
            for channels in _few_channels(weight, columns):
                maps = (weight[channels].flatten(1) @ columns).view(-1, *_convolved(windows, weight))
                pooled = pool_maps(maps, blur, 0, mask)
                out[some, channels] = pooled.view(-1, len(mask), *size).transpose(0, 1)
        return out

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    def backward(ctx, grad: Tensor) -> tuple:
        windows, weight, blur, inside = ctx.saved_tensors
        if needs_torch(grad):

            def stock(windows: Tensor, weight: Tensor) -> Tensor:
                return relu_max_blur(F.conv2d(windows, weight), blur, 0, inside)

            return (*gradients(stock, [windows, weight], grad), None, None)
        k, size = weight.shape[-1], windows.shape[-2:]
        grad_windows = torch.empty_like(windows) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight)
        for some, columns, mask in _few_windows(windows, weight, inside):
            grad_columns = None if grad_windows is None else torch.zeros_like(columns)
            for channels in _few_channels(weight, columns):
                rows = weight[channels].flatten(1)
                maps = (rows @ columns).view(-1, *_convolved(windows, weight))
                grad_maps = torch.empty_like(maps)
                grad_out = grad[some, channels].transpose(0, 1).reshape(len(maps), *grad.shape[-2:])
                write_gradient(maps, blur, grad_out, grad_maps, 0, mask)
                grad_maps = grad_maps.view(len(rows), -1)
                grad_weight[channels].view(len(rows), -1).addmm_(grad_maps, columns.t())
                if grad_columns is not None:
                    grad_columns.addmm_(rows.t(), grad_maps)
            if grad_windows is not None:
                grad_columns = grad_columns.view(len(columns), len(mask), -1).transpose(0, 1)
                grad_windows[some] = F.fold(grad_columns, size, k)
        return grad_windows, grad_weight, None, None


def inside(busy: Tensor, tile: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Returns which maxima of the windows of pooled tiles are within the maps: float (M, 2 T + 3, 2 T + 3).

    Args:
        busy: (N, rows, columns) of tiles.
        tile: height and width of a tile, pooled pixels.
        size: height and width of the convolved maps.
    """
    _, *place = busy.nonzero(as_tuple=True)
    rows, columns = (
        2 * side * number[:, None] - 2 + torch.arange(2 * side + 3) for side, number in zip(tile, place, strict=True)
    )
    rows, columns = ((0 <= axis) & (axis < n - 1) for axis, n in zip((rows, columns), size, strict=True))
    return (rows[:, :, None] & columns[:, None, :]).float()


def _convolved(windows: Tensor, weight: Tensor) -> tuple[int, int]:
    height, width = (n - weight.shape[-1] + 1 for n in windows.shape[-2:])
    return height, width


def _few_windows(windows: Tensor, weight: Tensor, inside: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yields for some windows at a time: which ones, their columns (C k^2, windows x pixels), and what is inside."""
    height, width = _convolved(windows, weight)
    step = max(1, WINDOW_PIXELS // (height * width))
    for start in range(0, len(windows), step):
        some = slice(start, start + step)
        columns = F.unfold(windows[some], weight.shape[-1])
        yield some, columns.transpose(0, 1).reshape(columns.shape[1], -1), inside[some]


def _few_channels(weight: Tensor, columns: Tensor) -> Iterator[slice]:
    step = few_maps_of((1, columns.shape[1]))
    return (slice(start, start + step) for start in range(0, len(weight), step))


class DenseForm:
    """The convolution without padding, of windows, as torch does it; the only parameter is the dense filter."""

    at_once = 1000
    """Windows that are convolved at a time; an image has fewer: all of them."""

    def convolve(self, windows: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """Returns (M, C, h, w) -> (M, C', h', w')."""
        return F.conv2d(windows, parameters[0])

    def add_gradients(
        self, windows: Tensor, parameters: Sequence[Tensor], grad: Tensor, sums: Sequence[Tensor]
    ) -> Tensor:
        """Returns the gradient of the windows, given that of the output; adds that of the filter to ``sums``."""
        grad_windows, grad_filter, _ = torch.ops.aten.convolution_backward(
            grad, windows, parameters[0], None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, True, False]
        )
        sums[0].add_(grad_filter)
        return grad_windows


class LaterLayer(torch.autograd.Function):
    """Many channels in: convolved and pooled image by image, (N, C, H, W) -> (N, C', H', W').

    Kept for the gradient are the input and the convolved tiles.
    """

    @staticmethod
    def forward(
        ctx,
        x: Tensor,
        blur: Tensor,
        tiles: Tiles,
        layout: Layout | None,
        form: DenseForm | HarmonicForm,
        keep: bool,
        *parameters: Tensor,
    ) -> Tensor:
        """Returns the pooled maps.

        Args:
            x: maps or, with a ``layout``, tiles of them; see ``maps.Maps``.
            keep: whether there may be a backward pass.
            parameters: of the ``form``.
        """
        ctx.save_for_backward(x, blur, *parameters)
        ctx.tiles, ctx.layout, ctx.form = tiles, layout, form
        images = WholeMaps(x) if layout is None else TiledMaps(x, *layout)
        sky = out = None
        for n in reversed(range(len(images))):
            parts = tiles.cut(images[n], n).split(form.at_once)
            convolved = torch.cat([form.convolve(part, parameters) for part in parts]) if tiles.has_any(n) else None
            if keep and sky is None:  # in one piece: many small ones would leave gaps in memory
                counts = [tiles.count(k) for k in range(len(images))]
                ctx.kept = convolved.new_empty(sum(counts), *convolved.shape[1:]).split(counts)
            if keep and convolved is not None:
                ctx.kept[n].copy_(convolved)
            maps = tiles.join(convolved, n, sky)
            if sky is None:  # the empty image is the last
                sky, out = maps, x.new_empty(len(images), len(maps), *pooled_size(tiles.size))
            maps = tiles.crop(maps)
            for some, result in zip(_few(maps), _few(out[n], maps), strict=True):
                result.copy_(pool_maps(some, blur))
        return out

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    def backward(ctx, grad: Tensor) -> tuple:
        if needs_torch(grad):
            x, blur, *parameters = ctx.saved_tensors
            found = gradients(lambda *inputs: _stock(ctx, blur, *inputs), [x, *parameters], grad)
            return (found[0], None, None, None, None, None, *found[1:])
        (x, blur, *parameters), tiles, last = ctx.saved_tensors, ctx.tiles, len(ctx.kept) - 1
        sky = tiles.join(ctx.kept[last], last, None)
        images = WholeMaps(x) if ctx.layout is None else TiledMaps(x, *ctx.layout)
        grad_sky, sums = torch.zeros_like(sky), [torch.zeros_like(parameter) for parameter in parameters]

        def through_pooling(n: int) -> Tensor:
            """Returns the gradient of image n's tiles; a function, so that the maps are gone afterwards."""
            convolved = ctx.kept[n] if tiles.has_any(n) else None
            maps, grad_maps = sky if n == last else tiles.join(convolved, n, sky), torch.zeros_like(sky)
            parts = (tiles.crop(maps), grad[n], tiles.crop(grad_maps))
            for some, grad_out, result in zip(*(_few(part, parts[0]) for part in parts), strict=True):
                write_gradient(some, blur, grad_out, result)
            if n == last:
                grad_maps += grad_sky
            return tiles.split(grad_maps, n, None if n == last else grad_sky)

        for n in range(len(images)):
            image, grad_tiles = images[n], through_pooling(n)
            grad_image = torch.zeros_like(image)
            if tiles.has_any(n):
                parts = zip(*(w.split(ctx.form.at_once) for w in (tiles.cut(image, n), grad_tiles)), strict=True)
                grad_windows = [ctx.form.add_gradients(part, parameters, grad, sums) for part, grad in parts]
                grad_image = tiles.gradient(torch.cat(grad_windows), n, image.shape[-2:])
            images.add_gradient(n, grad_image)
        return images.gradient(), None, None, None, None, None, *sums


def _stock(ctx, blur: Tensor, x: Tensor, *parameters: Tensor) -> Tensor:
    """Returns what ``LaterLayer`` does, of all images as a whole."""
    maps, tiles = x if ctx.layout is None else assembled(x, *ctx.layout), ctx.tiles
    after = [n + tiles.kernel_size - 1 - tiles.padding - m for n, m in zip(tiles.whole, maps.shape[-2:], strict=True)]
    convolved = ctx.form.convolve(F.pad(maps, (tiles.padding, after[1], tiles.padding, after[0])), parameters)
    return relu_max_blur(convolved[..., : tiles.size[0], : tiles.size[1]], blur)


def _few(maps: Tensor, like: Tensor | None = None) -> tuple[Tensor, ...]:
    """Returns the maps in parts, as many channels at a time as fit the cache, for maps of the size of ``like``."""
    return maps.split(few_maps_of((maps if like is None else like).shape[-2:]))
