"""The convolution between regular fields of C_N or D_N in harmonic form: the same map from a fraction of the work.

A steerable kernel has few angular frequencies: on 5 x 5 pixels o = 0, 1, 2. After a discrete Fourier transform over
the rotations of input and output, the kernel that takes input frequency k to output frequency k' is therefore zero
unless k' - k = -2 ... 2 (modulo N), and its pixels are a sum of a few fixed profiles, exp(i o theta) on the rings
that e2cnn samples (Weiler & Cesa 2019, arXiv:1911.08251, section 2.4). So the convolution is exactly

    transform over the group -> 22 fixed filters on each frequency -> small dense matrices between the
    frequencies that are coupled -> inverse transform,

with about a tenth of the multiply-adds for D_16. Which frequencies are coupled, wrapped ones included, is read off
the transformed basis, so no N is special. No approximation is made, but sums run in another order, and the sampled
basis is rounded to float32: meant for float32.

Names: F fields, S = 1 (C_N) or 2 (D_N) flips, n frequencies 0 ... N // 2, each with a real and an imaginary part.
A *set* is a group of fixed filters of one angular frequency and sense: 0, +1, -1, +2, -2.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from radgal.layers.basis import Symmetry, make_basis
from radgal.layers.constants import for_keeps
from radgal.layers.e2cnn_compat import patch_e2cnn

NOTHING = 1e-5
"""Coordinates of a kernel (about 1) up to which two frequencies are not coupled: the basis is rounded to float32."""
ROUNDING = 1e-6
"""Lengths of rows, and radii in pixels, up to which they are 0, computed in float64."""


@dataclass(frozen=True)
class FilterSet:
    """The fixed filters of one set, and the pairs of frequencies that they couple.

    Attributes:
        filters: for convolution after ``pixel_unshuffle``, (4 M, 8, h, h): M maps at the four pixels of a 2 x 2 window.
        runs: (k', k, length): output frequencies k', k' + 1, ... take input frequencies k, k + 1, ...; P pairs in all.
        basis: (B, P S 2 S M): the basis of kernels in these coordinates; flattened (pair, s', part', s, map).
        n_maps: M.
        n_frequencies: n.
    """

    filters: Tensor
    runs: tuple[tuple[int, int, int], ...]
    basis: Tensor
    n_maps: int
    n_frequencies: int

    @property
    def n_pairs(self) -> int:
        return sum(length for _, _, length in self.runs)

    def blocks(self, outputs: Tensor, inputs: Tensor, matrices: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yields for each run the frequencies of ``outputs`` and of ``inputs`` (axis 0) and the matrices between."""
        start = 0
        for k_out, k_in, length in self.runs:
            yield (
                outputs[k_out : k_out + length],
                inputs[k_in : k_in + length],
                matrices[start : start + length],
            )
            start += length


@dataclass(frozen=True)
class HarmonicPlan:
    """All that is fixed about the harmonic form of a group and a kernel size.

    Attributes:
        transform: real Fourier transform over the rotations, (2 n, N), float32; the rows that would be the
            imaginary parts of frequencies 0 and N / 2 are zero.
        sets: the sets of fixed filters.
        flips: S.
        kernel_size: side of the kernel, pixels.
    """

    transform: Tensor
    sets: tuple[FilterSet, ...]
    flips: int
    kernel_size: int

    @property
    def n_frequencies(self) -> int:
        return self.transform.shape[0] // 2


@functools.lru_cache(maxsize=8)
@for_keeps()
def make_plan(symmetry: Symmetry, kernel_size: int) -> HarmonicPlan:
    """Returns the harmonic form of the convolution from regular to regular fields; ``kernel_size`` must be odd."""
    n_rot, flips = symmetry.n, symmetry.order // symmetry.n
    transform = real_fourier(n_rot)
    filters = angular_filters(kernel_size)
    to_filters = torch.linalg.pinv(torch.cat(filters).flatten(1))
    sampled = make_basis(symmetry, True, kernel_size).sampled
    sampled = sampled.view(-1, flips, n_rot, flips, n_rot, kernel_size**2)
    coordinates = torch.cat([_coordinates(some.double(), transform, to_filters) for some in sampled.split(12)])
    sets = []
    for members, part in zip(filters, coordinates.split([len(f) for f in filters], dim=-1), strict=True):
        coupled = part.abs().amax((0, 3, 4, 5, 6)) > NOTHING
        pairs = sorted(coupled.nonzero().tolist(), key=lambda pair: (pair[0] - pair[1], pair[0]))
        k_out, k_in = torch.tensor(pairs).t()
        basis = part[:, k_out, k_in].flatten(1)
        phased = torch.stack([F.pad(members, (j, 1 - j, i, 1 - i)) for i in (0, 1) for j in (0, 1)], dim=1)
        phased = F.pixel_unshuffle(phased.flatten(0, 1), 2)
        sets.append(FilterSet(phased.float(), _runs(pairs), basis.float(), len(members), transform.shape[0] // 2))
    return HarmonicPlan(transform.float(), tuple(sets), flips, kernel_size)


def _coordinates(sampled: Tensor, transform: Tensor, to_filters: Tensor) -> Tensor:
    """Returns kernels between frequencies as sums of fixed filters, float32 (B, k', k, s', part', s, filter).

    Args:
        sampled: kernels between group elements, (B, s', N, s, N, pixel); a few at a time, for the sake of memory.
        transform: the Fourier transform, (2 n, N).
        to_filters: (part x pixel, filter).
    """
    kernels = torch.einsum("pm,bsmtnx,qn->bsptqx", transform, sampled, transform)
    kernels = kernels.unflatten(4, (-1, 2)).unflatten(2, (-1, 2))  # (B, s', k', part', s, k, part, pixel)
    return (kernels.permute(0, 2, 5, 1, 3, 4, 6, 7).flatten(-2) @ to_filters).float()


def _runs(pairs: list[list[int]]) -> tuple[tuple[int, int, int], ...]:
    """Joins pairs (k', k), (k' + 1, k + 1), ... to runs (k', k, length), which one batched product can do."""
    runs: list[tuple[int, int, int]] = []
    for k_out, k_in in pairs:
        if runs and (k_out, k_in) == (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]):
            runs[-1] = (runs[-1][0], runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((k_out, k_in, 1))
    return tuple(runs)


def real_fourier(n_rot: int) -> Tensor:
    """Returns the orthonormal real Fourier transform of length N, (2 (N // 2 + 1), N), float64.

    Rows 2 k and 2 k + 1 are the cosine and the sine of frequency k; sines that vanish are rows of zeros.
    """
    n = n_rot // 2 + 1
    angle = 2 * math.pi / n_rot * torch.outer(torch.arange(n), torch.arange(n_rot)).double()
    rows = torch.stack([angle.cos(), -angle.sin()], dim=1).reshape(2 * n, n_rot)
    rows[rows.norm(dim=1) < ROUNDING] = 0
    return torch.nn.functional.normalize(rows, dim=1)


def angular_filters(kernel_size: int) -> list[Tensor]:
    """Returns the sets of fixed filters on (real, imaginary) pairs of maps, each (M, 2, k, k), float64.

    Set 0 leaves the frequency as it is: a ring applied to either part. Set +o (-o) multiplies by exp(+-i o theta).
    """
    patch_e2cnn()
    from e2cnn.nn.modules.r2_conv.r2convolution import compute_basis_params

    grid, keep, rings, sigmas, max_frequency = compute_basis_params(kernel_size)
    x, y = torch.as_tensor(grid)
    radius, theta = torch.hypot(x, y), torch.atan2(y, x)
    sets = []
    for order in range(max_frequency + 1):
        plus, minus = [], []
        for ring, sigma in zip(rings, sigmas, strict=True):
            if not keep({"frequency": order, "radius": ring}):
                continue
            profile = torch.exp(-((radius - ring) ** 2) / (2 * sigma**2))
            if order:
                profile = profile * (radius > ROUNDING)
            c, s = profile * torch.cos(order * theta), profile * torch.sin(order * theta)
            scale = 1 / profile.norm()
            plus += [scale * torch.stack([c, -s]), scale * torch.stack([s, c])]
            minus += [scale * torch.stack([c, s]), scale * torch.stack([-s, c])]
        sets += [plus] if order == 0 else [plus, minus]
    return [torch.stack(members).unflatten(-1, (kernel_size, kernel_size)) for members in sets]


def mixing_matrices(plan: HarmonicPlan, weights: Tensor, in_fields: int, out_fields: int) -> list[Tensor]:
    """Returns for each set the matrices between coupled frequencies, (P, 2 F' S, F S M), from e2cnn's weights."""
    matrices = []
    for members in plan.sets:
        shape = (out_fields, in_fields, members.n_pairs, plan.flips, 2, plan.flips, members.n_maps)
        mixed = (weights.view(out_fields * in_fields, -1) @ members.basis.to(weights)).view(shape)
        mixed = mixed.permute(2, 4, 0, 3, 1, 5, 6)  # (pair, part', f', s', f, s, map)
        matrices.append(mixed.reshape(members.n_pairs, 2 * out_fields * plan.flips, -1))
    return matrices


class HarmonicForm:
    """The convolution without padding, of windows whose rows and columns give an even number of output pixels."""

    at_once = 6  # windows: little is in memory, and it takes no longer

    def __init__(self, plan: HarmonicPlan):
        self.plan = plan

    def convolve(self, windows: Tensor, matrices: Sequence[Tensor]) -> Tensor:
        """Returns (M, F S N, h, w) -> (M, F' S N, h', w')."""
        plan, spectrum = self.plan, _analyze(windows, self.plan)
        height, width = (n - plan.kernel_size + 1 for n in windows.shape[-2:])
        mixed = windows.new_zeros(plan.n_frequencies, matrices[0].shape[1], len(windows) * height * width)
        for members, matrix in zip(plan.sets, matrices, strict=True):
            filtered = _filtered(spectrum, members, len(windows))
            for outputs, inputs, block in members.blocks(mixed, filtered, matrix):
                outputs.baddbmm_(block, inputs)
        return _synthesize(mixed, plan, (len(windows), height, width))

    def add_gradients(
        self, windows: Tensor, matrices: Sequence[Tensor], grad: Tensor, grad_matrices: Sequence[Tensor]
    ) -> Tensor:
        """Returns the gradient of the windows, given that of the output; adds those of the matrices to theirs."""
        plan, n_windows, spectrum = self.plan, len(windows), _analyze(windows, self.plan)
        grad_mixed = _adjoint_of_synthesize(grad, plan)
        grad_spectrum = torch.zeros_like(spectrum)
        for members, matrix, grad_matrix in zip(plan.sets, matrices, grad_matrices, strict=True):
            filtered = _filtered(spectrum, members, n_windows)
            for outputs, inputs, block in members.blocks(grad_mixed, filtered, grad_matrix):
                block.baddbmm_(outputs, inputs.transpose(1, 2))
            grad_filtered = torch.zeros_like(filtered)
            for outputs, inputs, block in members.blocks(grad_mixed, grad_filtered, matrix):
                inputs.baddbmm_(block.transpose(1, 2), outputs)
            grad_spectrum += _adjoint_of_filtered(grad_filtered, members, spectrum.shape, n_windows)
        return _adjoint_of_analyze(grad_spectrum, plan, windows.shape)


def _analyze(windows: Tensor, plan: HarmonicPlan) -> Tensor:
    """Fourier transform over the group: (M, F S N, h, w) -> (n F S M, 8, h / 2, w / 2).

    2 x 2 pixels times two parts become channels.
    """
    n_rot, (height, width) = plan.transform.shape[1], windows.shape[-2:]
    fields = windows.unflatten(1, (-1, n_rot)).permute(2, 1, 0, 3, 4)
    spectrum = plan.transform @ fields.reshape(n_rot, -1)
    spectrum = spectrum.view(plan.n_frequencies, 2, -1, height // 2, 2, width // 2, 2)
    return spectrum.permute(0, 2, 1, 4, 6, 3, 5).reshape(-1, 8, height // 2, width // 2)


def _adjoint_of_analyze(grad: Tensor, plan: HarmonicPlan, shape: Sequence[int]) -> Tensor:
    n_windows, channels, height, width = shape
    n_rot = plan.transform.shape[1]
    grad = grad.view(plan.n_frequencies, -1, 2, 2, 2, height // 2, width // 2).permute(0, 2, 1, 5, 3, 6, 4)
    grad = plan.transform.t() @ grad.reshape(2 * plan.n_frequencies, -1)
    grad = grad.view(n_rot, channels // n_rot, n_windows, height, width).permute(2, 1, 0, 3, 4)
    return grad.reshape(shape)


def _filtered(spectrum: Tensor, members: FilterSet, n_windows: int) -> Tensor:
    """Applies the fixed filters: (n F S M, 8, h, w) -> (n, F S maps, M 4 h' w'), four pixels of a window in turn."""
    maps = F.conv2d(spectrum, members.filters)
    maps = maps.view(-1, n_windows, members.n_maps, 4 * maps.shape[-2] * maps.shape[-1])  # (n F S, M, map, pixel)
    return maps.transpose(1, 2).reshape(members.n_frequencies, -1, n_windows * maps.shape[-1])


def _adjoint_of_filtered(grad: Tensor, members: FilterSet, shape: Sequence[int], n_windows: int) -> Tensor:
    height, width = (n - members.filters.shape[-1] + 1 for n in shape[-2:])
    grad = grad.view(-1, members.n_maps, n_windows, 4 * height * width).transpose(1, 2)
    return F.conv_transpose2d(grad.reshape(shape[0], -1, height, width), members.filters)


def _synthesize(mixed: Tensor, plan: HarmonicPlan, shape: Sequence[int]) -> Tensor:
    """Inverse transform: (n, 2 F' S, M 4 h' w') -> (M, F' S N, H', W'); ``shape`` is (M, H', W')."""
    (n_windows, height, width), n_rot = shape, plan.transform.shape[1]
    maps = plan.transform.t() @ mixed.view(2 * plan.n_frequencies, -1)
    maps = maps.view(n_rot, -1, n_windows, 2, 2, height // 2, width // 2)
    return maps.permute(2, 1, 0, 5, 3, 6, 4).reshape(n_windows, -1, height, width)


def _adjoint_of_synthesize(grad: Tensor, plan: HarmonicPlan) -> Tensor:
    n_rot, (n_windows, _, height, width) = plan.transform.shape[1], grad.shape
    grad = grad.view(n_windows, -1, n_rot, height // 2, 2, width // 2, 2).permute(2, 1, 0, 4, 6, 3, 5)
    return (plan.transform @ grad.reshape(n_rot, -1)).view(plan.n_frequencies, -1, n_windows * height * width)
