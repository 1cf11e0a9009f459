"""Layers computed only where the images are not empty sky: the same numbers, for a CPU, from a fraction of the work.

About 98 % of the pixels of a radio image hold the background's value exactly. Where all that an output pixel of a
layer depends on is background, the output is that for an empty image. So an empty image goes along as the last of the
batch; of the others only the tiles are computed that depend on anything else, and the rest is copied from the empty
image's (the gradient: added to it). No approximation is made, whatever the images hold.

Shapes: N images, the empty one included, C channels, H and W pixels, T side of a tile, M tiles that are computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

FULLEST_MAPS = 0.6
"""Share of busy tiles above which maps are computed as a whole: tiles overlap, and must be cut out and put back."""


def runs_eagerly_on_cpu(x: Tensor) -> bool:
    """Returns whether ``x`` is on a CPU and nobody is recording the operators: then the forms for CPUs can be used."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing()


@dataclass(frozen=True)
class Sky:
    """Where the images of a batch are not empty, as seen from the pixels of a feature map.

    Row r of the map depends on the rows stride * r + first ... stride * r + last of the images, and columns alike.

    Attributes:
        occupied: (N, S, S) float32, 1 where a pixel differs from the background; 0 in the last image.
    """

    occupied: Tensor
    stride: int = 1
    first: int = 0
    last: int = 0

    def after(self, first: int, last: int, stride: int = 1) -> Sky:
        """Returns the same, seen from a layer's output whose row r depends on rows stride * r + first ... + last."""
        first, last = self.first + self.stride * first, self.last + self.stride * last
        return Sky(self.occupied, self.stride * stride, first, last)

    def busy(self, tile: int, size: tuple[int, ...]) -> Tensor:
        """Returns which tiles of a map of ``size`` (H, W) must be computed: bool (N, rows, columns of tiles)."""
        rows, columns = (self._reach(tile, -(-n // tile)) for n in size)
        busy = rows @ self.occupied @ columns.t() > 0
        busy[-1] = True
        return busy

    def tiles_that_pay(self, tile: int, size: tuple[int, ...]) -> Tensor | None:
        """Returns the same; or None where so many are busy that maps are computed as a whole."""
        busy = self.busy(tile, size)
        return None if busy.float().mean() > FULLEST_MAPS else busy

    def kinds(self, tile: int, n_tiles: int) -> Tensor:
        """Returns a number for each row of tiles, the same for rows that are equal in the empty image.

        Those are the rows that depend on no pixel beyond its edge: on such pixels layers see 0, not the background.
        """
        start = self.stride * tile * torch.arange(n_tiles)
        last = start + self.stride * (tile - 1) + self.last
        alike = (start + self.first >= 0) & (last < self.occupied.shape[-1])
        return F.pad(~(alike[1:] & alike[:-1]), (1, 0)).cumsum(0)

    def _reach(self, tile: int, n_tiles: int) -> Tensor:
        """Returns which pixels along one axis of the image each tile depends on, float32 (tiles, S)."""
        start = self.stride * tile * torch.arange(n_tiles)[:, None]
        pixel = torch.arange(self.occupied.shape[-1])
        inside = (pixel >= start + self.first) & (pixel <= start + self.stride * (tile - 1) + self.last)
        return inside.to(self.occupied)


class Layout(NamedTuple):
    """Which tiles of which maps are computed, ``busy`` (N, rows, columns); and height H and width W of the maps."""

    busy: Tensor
    height: int
    width: int


class Windows(torch.autograd.Function):
    """Cuts out what each busy tile depends on, (N, C, H, W) -> (M, C, side, side); 0 beyond the edges."""

    @staticmethod
    def forward(ctx, x: Tensor, busy: Tensor, step: int, side: int, before: int) -> Tensor:
        """``busy`` (N, rows, columns) says which; windows are ``step`` apart, and the first begins at -``before``."""
        ctx.save_for_backward(busy)
        ctx.geometry, ctx.shape = (step, side, before), x.shape
        rows, columns = ((n - 1) * step + side - before for n in busy.shape[1:])
        padded = F.pad(x, (before, columns - x.shape[-1], before, rows - x.shape[-2]))
        image, row, column = busy.nonzero(as_tuple=True)
        return padded.unfold(2, side, step).unfold(3, side, step)[image, :, row, column]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple:
        (busy,), (step, side, before) = ctx.saved_tensors, ctx.geometry
        n, channels, height, width = ctx.shape
        rows, columns = (n_tiles + 1 for n_tiles in busy.shape[1:])
        whole = grad.new_zeros(n, channels, rows, step, columns, step)
        image, row, column = busy.nonzero(as_tuple=True)
        over = side - step  # what a window shares with the next one; at most one step
        whole[image, :, row, :, column] = grad[..., :step, :step]
        whole[image, :, row, :, column + 1, :over] += grad[..., :step, step:]
        whole[image, :, row + 1, :over, column] += grad[..., step:, :step]
        whole[image, :, row + 1, :over, column + 1, :over] += grad[..., step:, step:]
        whole = whole.view(n, channels, rows * step, columns * step)
        return whole[..., before : before + height, before : before + width], None, None, None, None


class Assemble(torch.autograd.Function):
    """Puts tiles together, (M, C, T, T) -> (N, C, H, W); those not computed are the empty image's."""

    @staticmethod
    def forward(ctx, tiles: Tensor, busy: Tensor, height: int, width: int) -> Tensor:
        ctx.save_for_backward(busy)
        (n, rows, columns), (channels, side) = busy.shape, tiles.shape[1:3]
        ctx.padding = (0, columns * side - width, 0, rows * side - height)
        empty = tiles[-rows * columns :].view(rows, columns, channels, side, side).permute(2, 0, 3, 1, 4)
        maps = empty.contiguous().repeat(n, 1, 1, 1, 1, 1)
        image, row, column = busy.nonzero(as_tuple=True)
        maps[image, :, row, :, column] = tiles
        return maps.view(n, channels, rows * side, columns * side)[..., :height, :width]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple:
        (busy,) = ctx.saved_tensors
        n, rows, columns = busy.shape
        grad = F.pad(grad, ctx.padding) if any(ctx.padding) else grad.clone()
        side = grad.shape[-2] // rows
        grad = grad.view(n, -1, rows, side, columns, side)
        image, row, column = busy.nonzero(as_tuple=True)
        tiles = grad[image, :, row, :, column]
        grad[image, :, row, :, column] = 0
        empty = grad.sum(0).permute(1, 3, 0, 2, 4)
        tiles[-rows * columns :] += empty.reshape(rows * columns, *tiles.shape[1:])
        return tiles, None, None, None


class WholeMaps:
    """The maps of a batch (N, C, H, W), with the methods of ``TiledMaps``."""

    def __init__(self, maps: Tensor):
        self.maps, self._grad = maps, None

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, n: int) -> Tensor:
        return self.maps[n]

    def add_gradient(self, n: int, grad: Tensor) -> None:
        """Takes the gradient of image n's maps."""
        if self._grad is None:
            self._grad = torch.empty_like(self.maps)
        self._grad[n] = grad

    def gradient(self) -> Tensor:
        """Returns the gradient of the maps."""
        return self._grad


class TiledMaps:
    """The maps of a batch whose tiles are not put together, one image at a time: those of all are never in memory.

    Args:
        tiles, busy, height, width: as in ``Assemble``.
    """

    def __init__(self, tiles: Tensor, busy: Tensor, height: int, width: int):
        self.tiles, self.size = tiles, (height, width)
        self._places = [one.nonzero(as_tuple=True) for one in busy]
        self._parts = tiles.split([len(rows) for rows, _ in self._places])
        self._grid = (tiles.shape[1], busy.shape[1], tiles.shape[2], busy.shape[2], tiles.shape[3])
        self._sky = self._fill(tiles.new_empty(self._grid), len(busy) - 1)
        self._grad: Tensor | None = None

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, n: int) -> Tensor:
        """Returns image n's maps, (C, H, W)."""
        maps = self._fill(self._sky.clone(), n).view(self._grid[0], self._grid[1] * self._grid[2], -1)
        return maps[:, : self.size[0], : self.size[1]]

    def _fill(self, grid: Tensor, n: int) -> Tensor:
        rows, columns = self._places[n]
        grid[:, rows, :, columns] = self._parts[n]
        return grid

    def add_gradient(self, n: int, grad: Tensor) -> None:
        """Takes, and may change, the gradient of image n's maps; the empty image's, which has the sky's, is last."""
        if self._grad is None:
            self._grad, self._grad_sky = torch.empty_like(self.tiles), torch.zeros_like(self._sky)
        bottom, right = (self._grid[i] * self._grid[i + 1] - grad.shape[-1 - (i == 1)] for i in (1, 3))
        grid = F.pad(grad, (0, right, 0, bottom)).contiguous().view(self._grid)
        if n == len(self) - 1:
            grid += self._grad_sky
        rows, columns = self._places[n]
        part = self._grad.split([len(rows) for rows, _ in self._places])[n]
        part.copy_(grid[:, rows, :, columns])
        if n < len(self) - 1:
            grid[:, rows, :, columns] = 0
            self._grad_sky += grid

    def gradient(self) -> Tensor:
        """Returns the gradient of the tiles."""
        return self._grad
