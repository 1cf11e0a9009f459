"""Steerable layers with tensors in and tensors out: the function, parameters and keys of e2cnn's.

Shapes: N images, C channels, H and W pixels. A regular field of G has |G| consecutive channels, one per group
element, which G permutes. See Weiler & Cesa 2019, arXiv:1911.08251.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgal.layers.basis import KernelBasis, Symmetry, make_basis
from radgal.layers.cpu.blurpool import ReluMaxBlur, blurred, full_precision, pooled_size
from radgal.layers.cpu.fused import DenseForm, FirstLayer, LaterLayer, Tiles, inside
from radgal.layers.cpu.harmonic import HarmonicForm, make_plan, mixing_matrices
from radgal.layers.cpu.sky import FULLEST_MAPS, Sky, Windows, assembled, is_watched, runs_eagerly_on_cpu

HARMONIC_FROM_ORDER = 16
FIRST_TILE = 6
"""Side of a tile of the first layer, pooled pixels; 4 and 8 are as fast."""


class SteerableConv(nn.Module):
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
        self.register_buffer("basis", basis.sampled, persistent=False)
        self.weights = nn.Parameter(torch.empty(out_fields * in_fields * len(basis)))
        self._cached: tuple[str, Tensor, list[Tensor]] | None = None
        self.reset_parameters(basis)

    def reset_parameters(self, basis: KernelBasis) -> None:
        """Draws the weights as e2cnn's generalized He initialization does: same seed, same values."""
        std = basis.init_std(self.in_fields).repeat(self.out_fields * self.in_fields)
        with torch.no_grad():
            self.weights.copy_(std * torch.randn_like(std))

    @property
    def weight(self) -> nn.Parameter:
        """The weights under the name that torchsummary and other counters of parameters look for."""
        return self.weights

    def expand(self) -> Tensor:
        """Returns the dense filter, (out_channels, in_channels, k, k), differentiable in the weights."""
        n_basis, out_size, in_size, k, _ = self.basis.shape
        blocks = self.weights.view(-1, n_basis) @ self.basis.view(n_basis, -1)
        blocks = blocks.view(self.out_fields, self.in_fields, out_size, in_size, k, k)
        return blocks.transpose(1, 2).reshape(self.out_channels, self.in_channels, k, k)

    def sampled_basis(self) -> Tensor:
        """Returns the basis of kernels as published checkpoints hold it, shape (B, |out|, |in|, k * k)."""
        return self.basis.flatten(3)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the convolved fields, shape (N, out_channels, H', W')."""
        return F.conv2d(x, self._reuse("dense", self._dense)[0], padding=self.padding)

    def with_sky(self, x: Tensor, sky: Sky | None, pool: ReluMaxPool) -> tuple[Tensor, Sky | None]:
        """Returns ``pool(self(x))`` and its sky; on a CPU without ever holding the convolved fields of a batch.

        Hooks of either module need what is between them, so with hooks the modules are called in turn.
        """
        before = sky
        convolved = sky and sky.after(-self.padding, self.kernel_size - 1 - self.padding)
        sky = convolved and convolved.after(-2, 3, stride=2)
        harmonic, in_turn = self._harmonic_pays(x), is_watched(self) or is_watched(pool) or not len(x)
        if torch.is_autocast_enabled("cpu") and self.regular_input and not harmonic:
            in_turn = True  # the dense form computes in the lower precision that was asked for
        if in_turn or not runs_eagerly_on_cpu(x) or not self._same_precision(x):
            return pool(self(assembled(x, before))), sky
        layout = before and before.layout
        size = tuple(n + 2 * self.padding - self.kernel_size + 1 for n in (layout[1:] if layout else x.shape[-2:]))
        with full_precision(x.device):
            x = x.to(self.weights.dtype)
            if not self.regular_input:
                return self._first(x, sky, pool, size)
            tiles = Tiles(size, self.kernel_size, self.padding, convolved)
            if harmonic:
                form = HarmonicForm(make_plan(self.symmetry, self.kernel_size))
                parameters = self._reuse("harmonic", self._matrices)
            else:
                form, parameters = DenseForm(), self._reuse("dense", self._dense)
            return LaterLayer.apply(x, pool.blur, tiles, layout, form, torch.is_grad_enabled(), *parameters), sky

    def _first(self, x: Tensor, sky: Sky | None, pool: ReluMaxPool, size: tuple[int, ...]) -> tuple[Tensor, Sky | None]:
        """Returns the pooled fields of few channels, and their sky; ``size`` is that of the convolved maps."""
        pooled, before = pooled_size(size), self.padding + 2
        busy, tile, layout = None if sky is None else sky.busy(FIRST_TILE, pooled), (FIRST_TILE, FIRST_TILE), None
        if busy is None or busy.float().mean() > FULLEST_MAPS:
            busy, tile = torch.ones(len(x), 1, 1, dtype=torch.bool), pooled
            after = [2 * t + 3 + self.kernel_size - n - before for t, n in zip(tile, x.shape[-2:], strict=True)]
            windows = F.pad(x, (before, after[1], before, after[0]))
        else:
            layout = (busy, *pooled)
            windows = Windows.apply(x, busy, 2 * FIRST_TILE, 2 * FIRST_TILE + 3 + self.kernel_size, before)
        tiles = FirstLayer.apply(windows, self._reuse("dense", self._dense)[0], pool.blur, inside(busy, tile, size))
        return tiles, sky and replace(sky, layout=layout)

    def _harmonic_pays(self, x: Tensor) -> bool:
        """Returns whether the harmonic form is the faster one: on a CPU, for large groups.

        Measured on a CPU core with AVX-512 (6 to 16 fields, forward and backward): C_8 0.7, D_8 1.2, C_16 1.5,
        D_16 2.5 times as fast as the dense form. In float64 the rounding of the basis to float32 would show. Under
        autocast it computes in float32 nevertheless.
        """
        return (
            self.regular_input
            and self.symmetry.order >= HARMONIC_FROM_ORDER
            and self.kernel_size % 2 == 1
            and self.weights.dtype == torch.float32
            and runs_eagerly_on_cpu(x)
            and self._same_precision(x)
        )

    def _same_precision(self, x: Tensor) -> bool:
        return x.dtype == self.weights.dtype or torch.is_autocast_enabled("cpu")

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


class ReluMaxPool(nn.Module):
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
        self.register_buffer("blur", gaussian_blur(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the pooled maps: (N, C, H, W) -> (N, C, (H - 2) // 2 + 1, (W - 2) // 2 + 1)."""
        if not runs_eagerly_on_cpu(x) or not len(x):
            return blurred(F.max_pool2d(F.relu(x), 2, stride=1), self.blur.to(x.dtype))
        with full_precision(x.device):
            return ReluMaxBlur.apply(x, self.blur)


def gaussian_blur(sigma: float = 0.6) -> Tensor:
    """Returns e2cnn's normalized blur filter of ``sigma`` pixels: (1, 1, 5, 5) for 0.6, rounded as there."""
    size = 2 * round(4 * sigma) + 1
    offset = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    blur = torch.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * sigma**2))
    return (blur / blur.sum())[None, None]


class GroupPool(nn.Module):
    """Maximum over the group: one invariant channel per regular field.

    Differs from e2cnn's ``GroupPooling``: keeps the precision of its input and never waits for the GPU.

    Args:
        symmetry: the group G.
        n_fields: number of regular fields.
    """

    def __init__(self, symmetry: Symmetry, n_fields: int):
        super().__init__()
        self.order, self.n_fields = symmetry.order, n_fields

    def forward(self, x: Tensor) -> Tensor:
        """Returns the pooled fields: (N, n_fields |G|, H, W) -> (N, n_fields, H, W)."""
        return x.unflatten(1, (self.n_fields, self.order)).amax(2)

    def extra_repr(self) -> str:
        return f"n_fields={self.n_fields}, order={self.order}"
