"""Layers of the conventional networks, and the mask that all networks share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgal.layers.constants import for_keeps
from radgal.layers.cpu.blurpool import where_positive
from radgal.layers.cpu.maps import Maps
from radgal.layers.cpu.sky import in_round_numbers, runs_eagerly_on_cpu
from radgal.layers.cpu.tiles import Assemble, Windows
from radgal.layers.cpu.twice import gradients, needs_torch
from radgal.layers.plain import plain_conv

TILE = 4
"""Side of a tile, pooled pixels: of 4, 6 and 8 the fastest on FIRST and on MiraBest images."""

LARGEST_WINDOW = 32
"""Pixels: wider ones with 1 channel are convolved, narrower ones multiplied with kernels filled up with zeros."""

MASK_EDGE_PX = 2.0
"""Scale of the mask's fading, pixels, as in e2cnn; see ``circular_mask``."""


class PooledConv2d(nn.Conv2d):
    """A convolution, 2 x 2 max pooling and ReLU: parameters and function of the three in a row.

    On a CPU most of the time of the plain LeNet goes into convolutions with 1 and 6 channels and into looking for
    maxima. There the four pixels of each pooling window are computed as four sets of channels, by one convolution
    of stride 2 whose kernels are the kernel shifted by 0 or 1 pixels; pooling is then a maximum of whole channels.
    Of tiles with 1 channel that convolution is a product of matrices, whose gradient takes a fraction of the time.

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
        busy = sky.tiles_that_pay(TILE, size)
        if busy is None:
            return Maps(self(maps.joined()), sky)
        busy = in_round_numbers(busy)
        windows = Windows.apply(maps.joined(), busy, 2 * TILE, 2 * TILE + kernel - 1, pad)
        return Maps(Assemble.apply(self._pooled(windows), busy, *size), sky)

    def to_plain(self) -> nn.Sequential:
        """Returns torch's layers in a row."""
        conv = plain_conv(self.weight, self.padding[0], self.bias)
        return nn.Sequential(conv, nn.MaxPool2d(self.pool), nn.ReLU())

    def _pooled(self, x: Tensor) -> Tensor:
        """Returns the pooled maps without padding; H and W leave no row or column over."""
        shifts = [(i, 1 - i, j, 1 - j) for j in (0, 1) for i in (0, 1)]
        weight = torch.cat([F.pad(self.weight, shift) for shift in shifts])
        bias, side = self.bias.repeat(4), weight.shape[-1]
        if self.in_channels == 1 and x.shape[-1] <= LARGEST_WINDOW:
            return self._pooled_by_rows(x, weight[:, 0], bias)
        if self.in_channels == 1 or side % 2:
            maps = F.conv2d(x, weight, bias, stride=2)
        else:  # stride 2 on few channels is slow: make it stride 1 on four times as many
            maps = F.conv2d(F.pixel_unshuffle(x, 2), F.pixel_unshuffle(weight, 2), bias)
        return _MaxOfFour.apply(maps)

    def _pooled_by_rows(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Returns the pooled maps of small windows of one channel: a product for each row of the output.

        All pixels that a row of the output depends on follow each other in memory. Zeros fill the kernels up to the
        width of a window, once for each column of the output.
        """
        side, width = weight.shape[-1], x.shape[-1]
        shifts = [F.pad(weight, (j, width - side - j)) for j in range(0, width - side + 1, 2)]
        kernels = torch.stack(shifts, 1).flatten(2).flatten(0, 1)  # (4 C' W', side x width)
        rows = x[:, 0].unfold(1, side, 2).transpose(2, 3).flatten(2).permute(1, 2, 0)  # (H', side x width, N)
        maps = torch.baddbmm(bias.repeat_interleave(len(shifts))[:, None], kernels.expand(len(rows), -1, -1), rows)
        return _MaxOfFour.apply(maps).unflatten(1, (-1, len(shifts))).permute(3, 1, 0, 2)


class _MaxOfFour(torch.autograd.Function):
    """ReLU of the maximum of four sets of channels, (N, 4 C, ...) -> (N, C, ...).

    The gradient goes to the first of equal maxima, as in ``max_pool2d``.
    """

    @staticmethod
    def forward(ctx, maps: Tensor) -> Tensor:
        a, b, c, d = maps.chunk(4, 1)
        out = torch.maximum(torch.maximum(a, b), torch.maximum(c, d)).clamp_(min=0)
        ctx.save_for_backward(maps, out)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        maps, out = ctx.saved_tensors
        if needs_torch(grad):
            return gradients(lambda maps: torch.stack(maps.chunk(4, 1)).max(0).values.relu(), [maps], grad)[0]
        grad_maps = torch.empty_like(maps)
        a, b, c, d = maps.chunk(4, 1)
        grad_a, grad_b, grad_c, grad_d = grad_maps.chunk(4, 1)
        grad = where_positive(grad, out)
        grad_second = where_positive(grad, torch.maximum(c, d).sub_(torch.maximum(a, b)))
        grad_first = grad.sub_(grad_second)
        for given, one, two, grad_one, grad_two in (
            (grad_first, a, b, grad_a, grad_b),
            (grad_second, c, d, grad_c, grad_d),
        ):
            grad_two.copy_(where_positive(given, two - one))
            torch.sub(given, grad_two, out=grad_one)
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
