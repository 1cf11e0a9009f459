"""Layers computed only where the images are not empty sky: the same numbers, for a CPU, from a fraction of the work.

About 98 % of the pixels of a radio image hold the background's value exactly. Where all that an output pixel of a
layer depends on is background, the output is that for an empty image. So an empty image goes along as the last of the
batch; of the others only the tiles are computed that depend on anything else, and the rest is copied from the empty
image's (the gradient: added to it). No approximation is made, whatever the images hold.

Shapes: N images, the empty one included, C channels, H and W pixels, T side of a tile, M tiles that are computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad

FULLEST_MAPS = 0.6
"""Share of busy tiles above which maps are computed as a whole: tiles overlap, and must be cut out and put back."""

ROUND_NUMBER = 32
"""Of tiles: a batch of 50 MiraBest images has about 2000 in the second layer of the plain LeNet."""


def runs_eagerly_on_cpu(x: Tensor) -> bool:
    """Returns whether ``x`` is on a CPU and nobody is recording the operators: then the forms for CPUs can be used.

    Nor may they be transformed by ``torch.func`` (grad, jacrev, vmap), differentiated forward, or watched (fake
    tensors, counts of operations), which do not look into these forms; nor may new tensors be made elsewhere.
    """
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing() or peek_interpreter_stack() is not None
    if x.device.type != "cpu" or recorded or forward_ad._current_level >= 0:
        return False
    if torch._C._len_torch_dispatch_stack():
        return False
    return not torch._C._len_torch_function_stack() or torch.empty(0).device.type == "cpu"  # quick, in this order


def in_round_numbers(busy: Tensor) -> Tensor:
    """Returns which tiles to compute: those given and, if they are no multiple of ``ROUND_NUMBER``, some of the sky.

    The convolutions of oneDNN are made anew for every number of tiles, which takes longer than a few tiles more.
    """
    some = (~busy).flatten().nonzero()[: -int(busy.sum()) % ROUND_NUMBER, 0]
    return busy.flatten().index_fill(0, some, True).view(busy.shape)


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

    def tiles_that_pay(self, tile: int, size: tuple[int, ...], fullest: float | None = None) -> Tensor | None:
        """Returns the same; or None where more than ``fullest`` of the images' tiles are busy: then maps are whole.

        ``fullest`` is ``FULLEST_MAPS`` unless given.
        """
        busy = self.busy(tile, size)
        return None if busy[:-1].float().mean() > (FULLEST_MAPS if fullest is None else fullest) else busy

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
