"""Layers of the conventional networks, and the mask that all networks share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgal.layers.constants import for_keeps
from radgal.layers.cpu.maps import Maps
from radgal.layers.cpu.sky import Sky, runs_eagerly_on_cpu
from radgal.layers.cpu.tiles import Assemble, Windows
from radgal.layers.cpu.twice import gradients, needs_torch
from radgal.layers.plain import plain_conv

TILE = 4
"""Side of a tile, pooled pixels: of 4, 6 and 8 the fastest on FIRST and on MiraBest images."""

MASK_EDGE_PX = 2.0
"""Scale of the mask's fading, pixels, as in e2cnn; see ``circular_mask``."""


class PooledConv2d(nn.Conv2d):
    """A convolution, 2 x 2 max pooling and ReLU: parameters and function of the three in a row.

    On a CPU most of the time of the plain LeNet goes into convolutions with 1 and 6 channels and into looking for
    maxima. There the four pixels of each pooling window are computed as four sets of channels, by one convolution
    of stride 2 whose kernels are the kernel shifted by 0 or 1 pixels; pooling is then a maximum of whole channels.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the square kernel, pixels.
        padding: rows and columns of zeros around the image, pixels.
    """

    pool = 2

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, padding: int = 0):
        super().__init__(in_channels, out_channels, kernel_size, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the pooled maps, (N, C, H, W) -> (N, C', H' // 2, W' // 2) with H' = H + 2 padding - k + 1."""
        if not runs_eagerly_on_cpu(x) or not len(x):
            return F.relu(F.max_pool2d(super().forward(x), 2))
        pad, side = self.padding[0], self.kernel_size[0] + 1
        after = [(size + 2 * pad - side) // 2 * 2 + side - size - pad for size in x.shape[-2:]]
        return self._pooled(F.pad(x, (pad, after[1], pad, after[0])))

    def with_sky(self, maps: Maps) -> Maps:
        """Returns the pooled maps; computed only where the images are not empty, if their sky is known."""
        if maps.sky is None:
            return Maps(self(maps.joined()))
        kernel, pad = self.kernel_size[0], self.padding[0]
        sky = maps.sky.after(-pad, kernel - pad, stride=2)
        size = tuple((n + 2 * pad - kernel + 1) // 2 for n in maps.size)
        busy = self._tiles_that_pay(sky, size)
        if busy is None:
            return Maps(self(maps.joined()), sky)
        windows = Windows.apply(maps.joined(), busy, 2 * TILE, 2 * TILE + kernel - 1, pad)
        return Maps(Assemble.apply(self._pooled(windows), busy, *size), sky)

    def to_plain(self) -> nn.Sequential:
        """Returns torch's layers in a row."""
        conv = plain_conv(self.weight, self.padding[0], self.bias)
        return nn.Sequential(conv, nn.MaxPool2d(self.pool), nn.ReLU())

    def _tiles_that_pay(self, sky: Sky, size: tuple[int, ...]) -> Tensor | None:
        """Returns which tiles of the pooled maps to compute, or None for whole maps; ``sky`` is seen from those."""
        if self.kernel_size[0] > 2 * TILE + 1:  # windows may overlap the next one only
            return None
        return sky.tiles_that_pay(TILE, size)

    def _pooled(self, x: Tensor) -> Tensor:
        """Returns the pooled maps without padding; H and W leave no row or column over."""
        shifts = [(i, 1 - i, j, 1 - j) for j in (0, 1) for i in (0, 1)]
        weight = torch.cat([F.pad(self.weight, shift) for shift in shifts])
        bias = self.bias.repeat(4)
        if self.in_channels == 1 or weight.shape[-1] % 2:
            maps = F.conv2d(x, weight, bias, stride=2)
        else:  # stride 2 on few channels is slow: make it stride 1 on four times as many
            maps = F.conv2d(F.pixel_unshuffle(x, 2), F.pixel_unshuffle(weight, 2), bias)
        return _MaxOfFour.apply(maps)


class _MaxOfFour(torch.autograd.Function):
    """ReLU of the maximum of four sets of channels, (N, 4 C, H, W) -> (N, C, H, W).

    The gradient goes to the first of equal maxima, as in ``max_pool2d``.
    """

    @staticmethod
    def forward(ctx, maps: Tensor) -> Tensor:
        a, b, c, d = maps.chunk(4, dim=1)
        out = torch.maximum(torch.maximum(a, b), torch.maximum(c, d)).clamp_(min=0)
        ctx.save_for_backward(maps, out)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        maps, out = ctx.saved_tensors
        if needs_torch(grad):
            return gradients(lambda maps: torch.stack(maps.chunk(4, dim=1)).max(0).values.relu(), [maps], grad)[0]
        grad_maps = torch.empty_like(maps)
        left = grad * (out > 0)
        for part, grad_part in zip(maps.chunk(4, dim=1), grad_maps.chunk(4, dim=1), strict=True):
            torch.mul(left, part == out, out=grad_part)
            left = left - grad_part
        return grad_maps


@for_keeps()
def circular_mask(side: int, margin: float = 1.0) -> Tensor:
    """Returns the soft circular mask of e2cnn's ``MaskModule``, float32 (S, S): 1 inside, 0 far outside.

    At squared distance r2 from the center (pixels) beyond the radius r0 it is exp((r0^2 - r2) / 4): the edge is about
    a pixel wide. It is exactly symmetric under quarter turns and reflections, for even and odd sides.

    Args:
        side: S, pixels.
        margin: per cent by which the disc is smaller than the inscribed circle of radius (S - 1) / 2; 1 as in
            e2cnn's own examples.
    """
    center = (side - 1) / 2
    squares = (torch.arange(side, dtype=torch.float64) - center) ** 2
    beyond = (center - margin / 100 * center) ** 2 - (squares[:, None] + squares)
    return torch.exp(beyond.clamp(max=0) / MASK_EDGE_PX**2).to(torch.float32)
