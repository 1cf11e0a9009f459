"""Maps cut into tiles and put together again, so that tiles of empty sky need not be computed.

Shapes: N images, the empty one included, C channels, H and W pixels, T side of a tile, M tiles that are computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from radgal.layers.cpu.sky import Sky

TILE = 6
"""Side of a tile in the later layers, pixels; even, for the harmonic form. Of 4, 6 and 8 the fastest for D_4."""


class Layout(NamedTuple):
    """Which tiles of which maps are computed, ``busy`` (N, rows, columns); and height H and width W of the maps."""

    busy: Tensor
    height: int
    width: int


class Windows(torch.autograd.Function):
    """Cuts out what each busy tile depends on, (N, C, H, W) -> (M, C, side, side); 0 beyond the edges.

    Its gradient, and that of ``Assemble``, is in torch's operators, and can be differentiated again.
    """

    @staticmethod
    def forward(ctx, x: Tensor, busy: Tensor, step: int, side: int, before: int) -> Tensor:
        """``busy`` (N, rows, columns) says which; windows are ``step`` apart, and the first begins at -``before``."""
        ctx.save_for_backward(busy)
        ctx.geometry, ctx.shape = (step, side, before), x.shape
        padded = F.pad(x, _padding(ctx.geometry, busy, x.shape))
        places = _places(busy, padded.shape, step, side)
        return padded.flatten().index_select(0, places.flatten()).view(places.shape)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        (busy,), (step, side, before) = ctx.saved_tensors, ctx.geometry
        n, channels, height, width = ctx.shape
        _, right, _, bottom = _padding(ctx.geometry, busy, ctx.shape)
        shape = (n, channels, before + height + bottom, before + width + right)
        places = _places(busy, shape, step, side).flatten()
        whole = grad.new_zeros(math.prod(shape)).scatter_add(0, places, grad.flatten()).view(shape)
        return whole[..., before : before + height, before : before + width], None, None, None, None


def _padding(geometry: tuple[int, int, int], busy: Tensor, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Returns the columns and rows that windows need around maps of ``shape``: left, right, above, below."""
    step, side, before = geometry
    rows, columns = ((n - 1) * step + side - before for n in busy.shape[1:])
    return before, columns - shape[-1], before, rows - shape[-2]


def _places(busy: Tensor, shape: Sequence[int], step: int, side: int) -> Tensor:
    """Returns where, in maps of ``shape`` (N, C, H, W) flattened, each window has its pixels: (M, C, side, side)."""
    _, channels, height, width = shape
    image, row, column = busy.nonzero(as_tuple=True)
    first = (image * channels * height + row * step) * width + column * step
    pixel, channel = torch.arange(side), torch.arange(channels) * height
    return first[:, None, None, None] + (channel[:, None, None] + pixel[:, None]) * width + pixel


class Assemble(torch.autograd.Function):
    """Puts tiles together, (M, C, T, T) -> (N, C, H, W); those not computed are the empty image's."""

    @staticmethod
    def forward(ctx, tiles: Tensor, busy: Tensor, height: int, width: int) -> Tensor:
        ctx.save_for_backward(busy)
        (_, rows, columns), side = busy.shape, tiles.shape[2]
        ctx.padding = (0, columns * side - width, 0, rows * side - height)
        return assembled(tiles, busy, height, width)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        (busy,) = ctx.saved_tensors
        _, rows, columns = busy.shape
        grad = F.pad(grad, ctx.padding) if any(ctx.padding) else grad.contiguous()
        side = grad.shape[-2] // rows
        places = _places(busy, grad.shape, side, side)
        tiles = grad.flatten().index_select(0, places.flatten()).view(places.shape)
        empty = grad.flatten().scatter(0, places.flatten(), 0.0).view(grad.shape).sum(0)
        empty = empty.view(-1, rows, side, columns, side).permute(1, 3, 0, 2, 4)
        tiles[-rows * columns :] += empty.reshape(rows * columns, *tiles.shape[1:])
        return tiles, None, None, None


def assembled(tiles: Tensor, busy: Tensor, height: int, width: int) -> Tensor:
    """Returns what :class:`Assemble` does, in torch's operators."""
    (n, rows, columns), (channels, side) = busy.shape, tiles.shape[1:3]
    empty = tiles[-rows * columns :].view(rows, columns, channels, side, side).permute(2, 0, 3, 1, 4)
    maps = empty.reshape(1, channels, rows * side, columns * side).repeat(n, 1, 1, 1)
    maps.view(-1).scatter_(0, _places(busy, maps.shape, side, side).flatten(), tiles.flatten())
    return maps[..., :height, :width]


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


class Tiles:
    """Which parts of a batch's convolved maps are computed: the tiles that are not sky, or maps as a whole.

    Of the empty image, the last, one tile of each kind is computed.

    Args:
        size: height and width of the convolved maps.
        kernel_size, padding: of the convolution.
        sky: of the convolved maps; None: every image is computed as a whole.
    """

    def __init__(self, size: tuple[int, int], kernel_size: int, padding: int, sky: Sky | None = None):
        self.size, self.kernel_size, self.padding = size, kernel_size, padding
        self.whole = tuple(n + n % 2 if sky is None else -(-n // TILE) * TILE for n in size)
        self._places: list[tuple[Tensor, Tensor]] = []
        if sky is not None:
            self._kinds = [sky.kinds(TILE, n // TILE) for n in self.whole]
            firsts = torch.meshgrid(*(_first_of_each(kinds) for kinds in self._kinds), indexing="ij")
            self._places = [one.nonzero(as_tuple=True) for one in sky.busy(TILE, size)[:-1]]
            self._places.append(tuple(axis.flatten() for axis in firsts))

    def place(self, n: int) -> tuple[Tensor, Tensor] | None:
        """Returns the rows and columns of image n's tiles, or None if it is computed as a whole."""
        return self._places[n] if self._places else None

    def count(self, n: int) -> int:
        """Returns how many windows of image n are computed."""
        place = self.place(n)
        return 1 if place is None else len(place[0])

    def has_any(self, n: int) -> bool:
        """Returns whether anything of image n is computed: not if all of it is sky."""
        return self.count(n) > 0

    def cut(self, image: Tensor, n: int) -> Tensor:
        """Returns what image n's tiles depend on, (C, H, W) -> (M, C, h, w)."""
        bottom, right = (self.whole[i] + self.kernel_size - 1 - self.padding - image.shape[1 + i] for i in (0, 1))
        padded = F.pad(image, (self.padding, right, self.padding, bottom))
        if (place := self.place(n)) is None:
            return padded[None]
        side = TILE + self.kernel_size - 1
        return padded.unfold(1, side, TILE).unfold(2, side, TILE).permute(1, 2, 0, 3, 4)[place]

    def gradient(self, grad_windows: Tensor, n: int, size: Sequence[int]) -> Tensor:
        """Returns the gradient of image n, (C, H, W), given that of its windows; ``size`` is (H, W)."""
        if (place := self.place(n)) is None:
            whole = grad_windows[0]
        else:
            shape = (pixels + self.kernel_size - 1 for pixels in self.whole)
            whole = grad_windows.new_zeros(grad_windows.shape[1], *shape)
            for part, row, column in zip(grad_windows, *(axis.tolist() for axis in place), strict=True):
                top, left = TILE * row, TILE * column
                whole[:, top : top + part.shape[1], left : left + part.shape[2]] += part
        rows, columns = (slice(self.padding, self.padding + pixels) for pixels in size)
        return whole[:, rows, columns]

    def join(self, tiles: Tensor | None, n: int, sky: Tensor | None) -> Tensor:
        """Returns image n's maps, (M, C', h', w') -> (C', rows, columns); what is not computed is ``sky``'s.

        Without ``sky`` they are the empty image's own; without ``tiles`` they are all ``sky``.
        """
        if (place := self.place(n)) is None:
            return tiles[0]
        if tiles is None:
            return sky
        if sky is None:
            rows, columns = self._kinds
            tiles = tiles.unflatten(0, (-1, int(columns[-1]) + 1))[rows][:, columns]
            return tiles.permute(2, 0, 3, 1, 4).reshape(tiles.shape[2], *self.whole)
        maps = sky.clone()
        self._grid(maps)[:, place[0], :, place[1]] = tiles
        return maps

    def split(self, grad: Tensor, n: int, grad_sky: Tensor | None) -> Tensor:
        """Returns the gradient of image n's tiles, given that of its maps; adds the rest to ``grad_sky``."""
        if (place := self.place(n)) is None:
            return grad[None]
        grid = self._grid(grad)
        if grad_sky is None:
            rows, columns = self._kinds
            grid = _add_up(_add_up(grid, 1, rows), 3, columns)
            return grid.permute(1, 3, 0, 2, 4).flatten(0, 1)
        tiles = grid[:, place[0], :, place[1]]
        grid[:, place[0], :, place[1]] = 0
        grad_sky += grad
        return tiles

    def crop(self, maps: Tensor) -> Tensor:
        """Returns the part of the maps that is not there to fill the last tiles, a view."""
        return maps[:, : self.size[0], : self.size[1]]

    def _grid(self, maps: Tensor) -> Tensor:
        return maps.view(len(maps), self.whole[0] // TILE, TILE, self.whole[1] // TILE, TILE)


def _first_of_each(kinds: Tensor) -> Tensor:
    """Returns where each number comes first, for numbers in order."""
    return torch.searchsorted(kinds, kinds.unique())


def _add_up(values: Tensor, dim: int, kinds: Tensor) -> Tensor:
    """Returns the sums over what is of the same kind along ``dim``."""
    counts = torch.bincount(kinds).tolist()
    return torch.cat([part.sum(dim, keepdim=True) for part in values.split(counts, dim)], dim)
