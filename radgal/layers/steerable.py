"""Steerable layers with tensors in and tensors out: the function, parameters and keys of e2cnn's.

Shapes: N images, C channels, H and W pixels. A regular field of G has |G| consecutive channels, one per group
element, which G permutes. See Weiler & Cesa 2019, arXiv:1911.08251.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgal.layers.basis import Symmetry, make_basis
from radgal.layers.constants import WithConstants, here
from radgal.layers.cpu.blurpool import ReluMaxBlur, blurred, full_precision, pooled_size
from radgal.layers.cpu.fused import DenseForm, FirstLayer, LaterLayer, inside
from radgal.layers.cpu.harmonic import HarmonicForm, make_plan, mixing_matrices
from radgal.layers.cpu.maps import Maps, is_watched
from radgal.layers.cpu.sky import Sky, runs_eagerly_on_cpu
from radgal.layers.cpu.spectral import SpectralLayer
from radgal.layers.cpu.tiles import TILE, Layout, Tiles, Windows
from radgal.layers.plain import GroupMax, gaussian_blur, plain_conv, plain_relu_max_blur

HARMONIC_FROM_ROTATIONS = 12
"""N of C_N and D_N from which the harmonic form is the faster one; the times are in ``SteerableConv._way``."""
FIRST_TILE = 6
"""Side of a tile of the first layer, pooled pixels; 4 and 8 are as fast."""
FULLEST = 0.55
"""Share of busy tiles above which maps of a later layer are computed as a whole: so for D_16 at 150 pixels."""
FULLEST_OF_16 = 0.35
"""The same for |G| = 16, whose harmonic form takes longest on what tiles share with their neighbors."""


class Way(Enum):
    """How a steerable convolution and the pooling behind it are computed; all ways give the same numbers."""

    IN_TURN = "by torch's operators, one after the other"
    FIRST = "few channels, convolved and pooled window by window"
    DENSE = "many channels in float64, convolved and pooled image by image"
    HARMONIC = "many channels, the same between the frequencies of the fields"
    SPECTRAL = "many channels, convolved as plane waves and pooled, a batch at a time"


class SteerableConv(WithConstants):
    """Convolution from trivial or regular to regular fields of G, without bias, like e2cnn's ``R2Conv``.

    Differs from e2cnn: no buffer is ever saved, and the filter that eval mode reuses is checked against the
    weights before every use, so it is never stale.

    Args:
        symmetry: the group G.
        in_fields: number of input fields.
        out_fields: number of regular output fields.
        kernel_size: side of the square kernel, pixels.
        padding: rows and columns of zeros around the image, pixels.
        regular_input: whether the input fields are regular (|G| channels each) or trivial (one channel each).
    """

    def __init__(
        self,
        symmetry: Symmetry,
        in_fields: int,
        out_fields: int,
        kernel_size: int,
        padding: int = 0,
        regular_input: bool = True,
    ):
        super().__init__()
        basis = make_basis(symmetry, regular_input, kernel_size)
        self.symmetry = symmetry
        self.in_fields, self.out_fields = in_fields, out_fields
        self.kernel_size, self.padding = kernel_size, padding
        self.regular_input = regular_input
        self.in_channels = in_fields * basis.sampled.shape[2]
        self.out_channels = out_fields * basis.sampled.shape[1]
        self._basis_shape = basis.sampled.shape
        # Flat: a memory format such as channels_last is for what has as many axes as images.
        self.register_buffer("basis", here(basis.sampled.flatten(1)), persistent=False)
        self.weights = nn.Parameter(torch.empty(out_fields * in_fields * len(basis)))
        self._cached: tuple[str, Tensor, list[Tensor]] | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as e2cnn's generalized He initialization does: same seed, same values."""
        basis = make_basis(self.symmetry, self.regular_input, self.kernel_size)
        std = basis.init_std(self.in_fields).repeat(self.out_fields * self.in_fields)
        with torch.no_grad():
            self.weights.copy_(std * torch.randn_like(std))

    def constants(self) -> dict[str, Tensor]:
        return {"basis": make_basis(self.symmetry, self.regular_input, self.kernel_size).sampled.flatten(1)}

    @property
    def weight(self) -> nn.Parameter:
        """The weights under the name that torchsummary and other counters of parameters look for."""
        return self.weights

    def expand(self) -> Tensor:
        """Returns the dense filter, (out_channels, in_channels, k, k), differentiable in the weights."""
        n_basis, out_size, in_size, k, _ = self._basis_shape
        blocks = self.weights.view(-1, n_basis) @ self.basis
        blocks = blocks.view(self.out_fields, self.in_fields, out_size, in_size, k, k)
        return blocks.transpose(1, 2).reshape(self.out_channels, self.in_channels, k, k)

    def sampled_basis(self) -> Tensor:
        """Returns the basis of kernels as published checkpoints hold it, shape (B, |out|, |in|, k * k)."""
        return self.basis.view(*self._basis_shape[:3], -1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the convolved fields, shape (N, out_channels, H', W')."""
        return F.conv2d(x, self._reuse("dense", self._dense)[0], padding=self.padding)

    def with_sky(self, maps: Maps, pool: ReluMaxPool) -> Maps:
        """Returns the pooled maps of the convolved fields; on a CPU without ever holding the fields of a batch."""
        way = self._way(maps.values, pool)
        sky = maps.sky and maps.sky.after(-self.padding, self.kernel_size - 1 - self.padding)
        pooled_sky = sky and sky.after(-2, 3, stride=2)
        if way is Way.IN_TURN:
            return Maps(pool(self(maps.joined())), pooled_sky)
        if way is Way.SPECTRAL or way is not Way.FIRST and sky and not self._tiles_pay(sky, maps):
            maps, sky, pooled_sky = Maps(maps.of_batch()), None, None
        maps = maps.each(lambda x: x.to(self.weights.dtype))
        with full_precision(maps.values.device):
            if way is Way.FIRST:
                return self._first(maps.joined(), pooled_sky, pool)
            if way is Way.SPECTRAL:
                dense, keep = self._reuse("dense", self._dense)[0], torch.is_grad_enabled()
                return Maps(SpectralLayer.apply(maps.joined(), dense, pool.blur, self.padding, keep))
            return Maps(self._later(maps, sky, pool, way), pooled_sky)

    def _way(self, x: Tensor, pool: ReluMaxPool) -> Way:
        """Returns how this layer computes its part of a batch of which ``x`` are the maps or tiles.

        Plane waves take less time than torch's convolution, tile by tile or of whole maps; but with many rotations the
        harmonic form is the faster one. Measured on a CPU core with AVX2 (6 to 16 fields, images of 74 pixels, forward
        and backward), waves against the harmonic form: D_8 1.4 to 2, C_16 1.1, D_16 0.6. In float64 the rounding of
        their matrices to float32 would show in both. Under autocast the harmonic form computes in float32 nevertheless,
        as does the first layer; others compute in the lower precision that was asked for, by torch's operators.
        """
        autocast = torch.is_autocast_enabled("cpu")
        same_precision = x.dtype == self.weights.dtype or autocast
        if not runs_eagerly_on_cpu(x) or not same_precision or not len(x):
            return Way.IN_TURN
        if is_watched(self) or is_watched(pool):  # hooks need what is between the modules
            return Way.IN_TURN
        if not self.regular_input:
            return Way.FIRST
        if self.weights.dtype != torch.float32:
            return Way.IN_TURN if autocast else Way.DENSE
        if self.symmetry.n >= HARMONIC_FROM_ROTATIONS and self.kernel_size % 2:
            return Way.HARMONIC
        return Way.IN_TURN if autocast else Way.SPECTRAL

    def to_plain(self) -> nn.Conv2d:
        """Returns torch's convolution with the dense filter."""
        return plain_conv(self.expand(), self.padding)

    def _convolved(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the height and width of the convolved fields."""
        return tuple(n + 2 * self.padding - self.kernel_size + 1 for n in size)

    def _tiles_pay(self, sky: Sky, maps: Maps) -> bool:
        """Returns whether few enough tiles of a later layer are busy; ``sky`` is seen from the convolved fields."""
        fullest = FULLEST_OF_16 if self.symmetry.order <= 16 else FULLEST
        return sky.tiles_that_pay(TILE, self._convolved(maps.size), fullest) is not None

    def _first(self, x: Tensor, sky: Sky | None, pool: ReluMaxPool) -> Maps:
        """Returns the pooled fields of few channels, as tiles where that pays; ``sky`` is seen from those fields."""
        size = self._convolved(x.shape[-2:])
        pooled, before = pooled_size(size), self.padding + 2
        busy = None if sky is None else sky.tiles_that_pay(FIRST_TILE, pooled)
        if busy is None:
            tile, busy, layout = pooled, torch.ones(len(x), 1, 1, dtype=torch.bool), None
            after = [2 * t + 3 + self.kernel_size - n - before for t, n in zip(tile, x.shape[-2:], strict=True)]
            windows = F.pad(x, (before, after[1], before, after[0]))
        else:
            tile, layout = (FIRST_TILE, FIRST_TILE), Layout(busy, *pooled)
            windows = Windows.apply(x, busy, 2 * FIRST_TILE, 2 * FIRST_TILE + 3 + self.kernel_size, before)
        dense = self._reuse("dense", self._dense)[0]
        return Maps(FirstLayer.apply(windows, dense, pool.blur, inside(busy, tile, size)), sky, layout)

    def _later(self, maps: Maps, sky: Sky | None, pool: ReluMaxPool, way: Way) -> Tensor:
        """Returns the pooled fields of many channels, (N, C', H', W'); ``sky`` is seen from the convolved fields."""
        tiles = Tiles(self._convolved(maps.size), self.kernel_size, self.padding, sky)
        if way is Way.HARMONIC:
            form = HarmonicForm(make_plan(self.symmetry, self.kernel_size))
            parameters = self._reuse("harmonic", self._matrices)
        else:
            form, parameters = DenseForm(), self._reuse("dense", self._dense)
        keep = torch.is_grad_enabled()
        return LaterLayer.apply(maps.values, pool.blur, tiles, maps.layout, form, keep, *parameters)

    def _dense(self) -> list[Tensor]:
        return [self.expand()]

    def _matrices(self) -> list[Tensor]:
        plan = make_plan(self.symmetry, self.kernel_size)
        return mixing_matrices(plan, self.weights, self.in_fields, self.out_fields)

    def _reuse(self, form: str, make: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Returns ``make()``, in full precision; on a CPU in eval mode, its last result while the weights are the same.

        The values of the weights are compared, in a few microseconds. Their version counter and address would not
        do: a write through ``weights.data`` changes neither. On other devices comparing would make the host wait for
        the device, and ``make()`` is one small product there, so nothing is kept.
        """
        learning = self.training or torch.is_grad_enabled() and self.weights.requires_grad
        if learning or not runs_eagerly_on_cpu(self.weights):
            self._cached = None
            with full_precision(self.weights.device):
                return make()
        now = self.weights.detach()
        if self._cached is None or self._cached[0] != form or not _same(self._cached[1], now):
            with torch.inference_mode(False), torch.no_grad(), full_precision(now.device):
                self._cached = form, now.clone(), make()
        return self._cached[2]

    def train(self, mode: bool = True) -> SteerableConv:
        self._cached = None
        return super().train(mode)

    def extra_repr(self) -> str:
        kind = "regular" if self.regular_input else "trivial"
        return (
            f"{self.symmetry}, {self.in_fields} {kind} -> {self.out_fields} regular fields, "
            f"kernel_size={self.kernel_size}, padding={self.padding}"
        )


def _same(kept: Tensor, now: Tensor) -> bool:
    return kept.dtype == now.dtype and kept.device == now.device and torch.equal(kept, now)


class ReluMaxPool(WithConstants):
    """ReLU, then the anti-aliased max pooling by 2 of e2cnn's ``PointwiseMaxPoolAntialiased``.

    A 2 x 2 maximum at stride 1, then a 5 x 5 Gaussian blur (sigma 0.6 pixels) at stride 2 with two rows of zeros
    around (Zhang 2019, arXiv:1904.11486). The maximum is taken before the ReLU: both are monotonic, so the order
    does not matter, and there is less to do afterwards.

    Args:
        symmetry: the group G (every channel is pooled alike).
        n_fields: number of regular fields.
    """

    def __init__(self, symmetry: Symmetry, n_fields: int):
        super().__init__()
        self.n_channels = n_fields * symmetry.order
        self.register_buffer("blur", here(gaussian_blur()), persistent=False)

    def constants(self) -> dict[str, Tensor]:
        return {"blur": gaussian_blur()}

    def forward(self, x: Tensor) -> Tensor:
        """Returns the pooled maps: (N, C, H, W) -> (N, C, (H - 2) // 2 + 1, (W - 2) // 2 + 1)."""
        if not runs_eagerly_on_cpu(x) or not len(x):
            return blurred(F.max_pool2d(F.relu(x), 2, stride=1), self.blur.to(x.dtype))
        with full_precision(x.device):
            return ReluMaxBlur.apply(x, self.blur)

    def to_plain(self) -> nn.Sequential:
        """Returns torch's layers in a row."""
        return plain_relu_max_blur(self.n_channels)


class GroupPool(GroupMax):
    """Maximum over the group: one invariant channel per regular field, (N, F |G|, H, W) -> (N, F, H, W).

    Differs from e2cnn's ``GroupPooling``: keeps the precision of its input and never waits for the GPU.

    Args:
        symmetry: the group G.
        n_fields: number of regular fields F.
    """

    def __init__(self, symmetry: Symmetry, n_fields: int):
        super().__init__(symmetry.order)
        self.n_fields = n_fields

    def extra_repr(self) -> str:
        return f"n_fields={self.n_fields}, order={self.order}"
