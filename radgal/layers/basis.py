"""Bases of G-steerable kernels, sampled by e2cnn: what a steerable layer needs to know of its group.

A kernel between a field that transforms under the trivial or the regular representation of G = C_N or D_N and
a regular field must satisfy k(g x) = rho_out(g) k(x) rho_in(g)^-1 (Weiler & Cesa 2019, arXiv:1911.08251,
eq. 2). The solutions form a linear space; a layer learns one coefficient per basis element and pair of
fields.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch

from radgal.layers.constants import for_keeps
from radgal.layers.e2cnn_compat import patch_e2cnn, quick_einsum, quiet_masks
from utils import UserError

MAX_GROUP_ORDER = 64
"""A basis holds 11 |G| kernels of |G| x |G| x 25 numbers: 0.3 GB at |G| = 64, eight times that at 128."""


@dataclass(frozen=True)
class Symmetry:
    """A finite group of rotations, or rotations and reflections, of the plane.

    Attributes:
        kind: 'C' (rotations by multiples of 360/n degrees) or 'D' (those and the reflections).
        n: number of rotations.
    """

    kind: str
    n: int

    @property
    def order(self) -> int:
        """Returns |G|, the number of group elements and of channels in a regular field."""
        return self.n if self.kind == "C" else 2 * self.n

    def __str__(self) -> str:
        return f"{self.kind}{self.n}"


@dataclass(frozen=True)
class KernelBasis:
    """The sampled basis of kernels from one input field to one regular field.

    Attributes:
        sampled: float32, shape (B, |out|, |in|, k, k): B basis elements, channels of the output and input
            field, kernel rows and columns. Rounded to float32 as e2cnn does, so that both engines agree to the
            last bit.
        fan: int64, shape (B,): for each element, the number of distinct input irreps times the number of
            elements that share its input and output irrep. With n input fields, e2cnn's generalized He
            initialization draws the coefficient with standard deviation 1 / sqrt(n * fan).
    """

    sampled: torch.Tensor
    fan: torch.Tensor

    def __len__(self) -> int:
        return self.sampled.shape[0]

    def init_std(self, n_in_fields: int) -> torch.Tensor:
        """Returns the standard deviations of one pair of fields' initial coefficients, shape (B,), float32."""
        return (1.0 / (n_in_fields * self.fan.double()).sqrt()).float()


def check_nrot(nrot: object, kind: str) -> int:
    """Returns ``nrot`` if the group C_nrot or D_nrot can be built.

    Raises:
        UserError: if it is missing, not a whole number, below 1 or too large.
    """
    largest = MAX_GROUP_ORDER if kind == "C" else MAX_GROUP_ORDER // 2
    allowed = f"the number of rotations of {kind}_N, a whole number from 1 to {largest} (4, 8 or 16 are usual)"
    if nrot is None:
        raise UserError(f"[model] nrot is missing: this model needs {allowed}")
    if isinstance(nrot, bool) or not isinstance(nrot, int | np.integer) or not 1 <= nrot <= largest:
        raise UserError(f"[model] nrot: {nrot!r} is not {allowed}")
    return int(nrot)


def make_gspace(symmetry: Symmetry):
    """Returns e2cnn's gspace for the group; reflections are about the vertical axis."""
    patch_e2cnn()
    from e2cnn import gspaces

    if symmetry.n == 1:
        return gspaces.TrivialOnR2() if symmetry.kind == "C" else gspaces.Flip2dOnR2()
    return gspaces.Rot2dOnR2(symmetry.n) if symmetry.kind == "C" else gspaces.FlipRot2dOnR2(symmetry.n)


@functools.lru_cache(maxsize=8)
@for_keeps()
def make_basis(symmetry: Symmetry, regular_input: bool, kernel_size: int) -> KernelBasis:
    """Builds the basis of kernels from a regular (or else trivial) field to a regular field with e2cnn.

    There is no cache on disk, which could be stale or corrupt. A whole network is built in a new process, initial
    weights and both bases included, in 0.07 s for C_16, 0.06 s for D_8, 0.5 s for D_16 and 0.6 s for D_20 (processor
    time on one core of an EPYC with AVX-512, e2cnn's imports left out). The largest groups that are allowed, C_64 and
    D_32, take 4.6 and 4.0 s, once per process; a cached basis of theirs would be 0.3 GB.
    """
    space = make_gspace(symmetry)
    from e2cnn.nn.modules.r2_conv.basisexpansion_singleblock import block_basisexpansion
    from e2cnn.nn.modules.r2_conv.r2convolution import compute_basis_params

    in_repr = space.regular_repr if regular_input else space.trivial_repr
    grid, keep, rings, sigma, max_frequency = compute_basis_params(kernel_size)
    analytic = space.build_kernel_basis(
        in_repr,
        space.regular_repr,
        rings=rings,
        sigma=sigma,
        maximum_offset=None,
        maximum_frequency=max_frequency,
    )
    with quick_einsum(), quiet_masks():
        block = block_basisexpansion(analytic, grid, keep, recompute=True)
    size = math.isqrt(block.sampled_basis.shape[-1])
    sampled = block.sampled_basis.reshape(*block.sampled_basis.shape[:3], size, size)
    return KernelBasis(sampled.float(), _fans(block.attributes))


def _fans(elements: list[dict]) -> torch.Tensor:
    """Returns, per basis element, what e2cnn's ``generalized_he_init`` divides by, for one input field."""
    pairs = [(element["in_irrep"], element["out_irrep_idx"]) for element in elements]
    sharing = Counter(pairs)
    n_irreps = Counter(out for _, out in set(pairs))
    return torch.tensor([n_irreps[out] * sharing[(irrep, out)] for irrep, out in pairs])
