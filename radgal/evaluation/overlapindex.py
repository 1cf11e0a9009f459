"""The overlap index: how far dropout samples of two classes' probabilities cannot be told apart.

Scaife & Porter 2021, arXiv:2102.08252. Legend: T dropout passes, N sources.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from utils import UserError

BANDWIDTH = 0.1  # beta of the paper's kernel density estimates
N_GRID = 100  # points on [0, 1] at which the densities are compared
IMPROVED_BY = 0.01  # a smaller change of a source's mean overlap index is no change, as in the paper


def of_pairs(probs: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the samples of the two classes in which each source is compared, (N, R, T) each.

    Args:
        probs: (N, R, T, K), in R poses, of K classes.
        pairs: (N, 2), which two.
    """
    x, y = (np.take_along_axis(probs, pairs[:, None, None, i : i + 1], axis=3)[..., 0] for i in (0, 1))
    return x, y


def overlap_index(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the overlap of two sets of probabilities, as published: eta = sum_z min(f_x(z), f_y(z)) dz.

    Scaife & Porter 2021, arXiv:2102.08252 f is a density estimate with a Gaussian kernel of bandwidth
    0.1 at 100 points from 0 to 1, and dz = 1/100. The kernel is cut at 0 and 1 and not renormalized: equal samples
    give 0.99 near 0.5 but 0.515 at 0 or 1. :func:`overlap_index_reflected` has no such bias.

    Args:
        x, y: (..., T) samples in [0, 1].

    Returns:
        (...), in [0, 1].
    """
    z = np.linspace(0, 1, N_GRID)
    return _for_each_first(lambda a, b: np.minimum(density(a, z), density(b, z)).sum(-1) / N_GRID, x, y)


def overlap_index_reflected(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the overlap of two sets of probabilities with the densities reflected at 0 and 1.

    Kernel mass that falls outside [0, 1] is folded back (Silverman 1986, Density Estimation), the
    densities are normalized on the grid, and the integral is the trapezoidal rule's: equal samples give 1
    wherever they are.

    Differs from the published program: it has no such index.

    Args:
        x, y: (..., T) samples in [0, 1].

    Returns:
        (...), in [0, 1].
    """
    z = np.linspace(0, 1, N_GRID)
    dz = np.full(N_GRID, 1 / (N_GRID - 1))
    dz[[0, -1]] /= 2

    def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        f = [density(v, z) + density(-v, z) + density(2 - v, z) for v in (a, b)]
        f = [one / (one @ dz)[..., None] for one in f]
        return np.minimum(np.minimum(*f) @ dz, 1.0)

    return _for_each_first(overlap, x, y)


def _for_each_first(function: Callable, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Applies a function row by row of the first axis, which bounds the memory it takes."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim == 1:
        return function(x, y)
    return np.stack([function(a, b) for a, b in zip(x, y, strict=True)])


def density(samples: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Returns the Gaussian kernel density estimate of (..., T) samples at the points z (Z,), as (..., Z).

    Bandwidth 0.1 is the kernel's standard deviation (Silverman 1986), whatever the samples' spread.
    """
    u = (z[:, None] - samples[..., None, :]) / BANDWIDTH
    return np.exp(-0.5 * u**2).mean(-1) / (BANDWIDTH * np.sqrt(2 * np.pi))


def compare(names: Sequence[str], overlap: np.ndarray, other_names: Sequence[str], other: np.ndarray) -> dict:
    """Returns for how many sources the mean overlap index improved (fell) or worsened against another run.

    A change of at most 0.01 is none, as in the paper.

    Args:
        names, overlap: N sources and their mean index in the run.
        other_names, other: the same of the run that it is compared with, in any order.

    Raises:
        UserError: if the two have no source in common.
    """
    other_index = dict(zip(other_names, np.asarray(other).tolist(), strict=True))
    common = [(name, one) for name, one in zip(names, np.asarray(overlap).tolist(), strict=True) if name in other_index]
    if not common:
        raise UserError("the two runs have no test source in common; compare runs on the same data-set version")
    change = np.array([one - other_index[name] for name, one in common])
    return {
        "n_sources": len(common),
        "n_improved": int((change < -IMPROVED_BY).sum()),
        "n_worsened": int((change > IMPROVED_BY).sum()),
        "n_unchanged": int((np.abs(change) <= IMPROVED_BY).sum()),
        "threshold": IMPROVED_BY,
        "mean_change": float(change.mean()),
        "names": [name for name, _ in common],
        "change": change.tolist(),
    }
