"""How the predictions for a source depend on its orientation on the sky: the rotation test of the paper.

Scaife & Porter 2021, arXiv:2102.08252, section 5. Legend: N sources, R poses (an angle, mirrored or not), T dropout
passes, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from radgal.data import Split
from radgal.evaluate import Device, sample_dropout
from radgal.metrics import uncertainties
from radgal.sources import column_name
from utils import UserError

BANDWIDTH = 0.1  # beta of the paper's kernel density estimates
N_GRID = 100  # points on [0, 1] at which the densities are compared
IMPROVED_BY = 0.01  # a smaller change of a source's mean overlap index is no change, as in the paper
PUBLISHED_ANGLES = tuple(range(0, 180, 20))  # degrees


@dataclass(frozen=True)
class RotationTest:
    """Everything that a rotation test found.

    ``angles_deg`` (R,) and ``flips`` (R,) are the poses, ``probs`` (N, R, T, K) the samples; ``overlap`` and
    ``overlap_reflected`` (N, R) the two overlap indices between the classes ``pairs`` (N, 2).
    """

    names: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    angles_deg: np.ndarray
    flips: np.ndarray
    probs: np.ndarray
    pairs: np.ndarray
    overlap: np.ndarray
    overlap_reflected: np.ndarray


def angle_range(start: float, stop: float, step: float) -> tuple[float, ...]:
    """Returns start, start + step, ... up to and with ``stop``, degrees.

    Raises:
        UserError: if the range is empty, or runs over more than a whole turn.
    """
    if not (0 <= start <= stop <= 360 and step > 0):
        raise UserError(
            f"angles {start:g} to {stop:g} in steps of {step:g} degrees: need 0 <= start <= stop <= 360 and step > 0"
        )
    return tuple(float(start + step * i) for i in range(int(np.floor((stop - start) / step + 1e-9)) + 1))


def sample_rotations(
    model: nn.Module,
    split: Split,
    mean: float,
    std: float,
    classes: Sequence[str],
    *,
    angles_deg: Sequence[float] = PUBLISHED_ANGLES,
    reflections: bool = False,
    mc_samples: int = 100,
    seed: int = 0,
    device: Device = "cpu",
    batch_size: int = 128,
) -> RotationTest:
    """Returns the dropout samples of every source in every pose, and their overlap indices.

    Poses of all sources go through the network in common batches, and only what follows the first dropout is
    run T times. The overlap is that of the paper's two classes; of more, the two that are most probable for the
    source over all poses.

    Args:
        model: on ``device``.
        angles_deg: degrees counter-clockwise as displayed.
        reflections: whether every angle is also run on the image mirrored left to right before the rotation.
        mc_samples: T.
        seed: of the dropout.
    """
    if len(classes) < 2:
        raise UserError("the overlap index compares two classes, but this network has one")
    if len(angles_deg) == 0 or len(split) == 0:
        raise UserError("the rotation test needs at least one angle and one source")
    angles = np.asarray(angles_deg, dtype=np.float64)
    flips = np.zeros(len(angles), dtype=bool)
    if reflections:
        angles, flips = np.tile(angles, 2), np.repeat([False, True], len(angles))
    n, n_poses = len(split), len(angles)
    passes = sample_dropout(
        model,
        _Repeated(split.images, n_poses),
        mean,
        std,
        mc_samples,
        seed=seed,
        batch_size=batch_size,
        device=device,
        poses=(torch.from_numpy(angles).float().repeat(n), torch.from_numpy(flips).repeat(n)),
    )
    probs = np.ascontiguousarray(passes.swapaxes(0, 1)).reshape(n, n_poses, mc_samples, len(classes))
    pairs = np.sort(np.argsort(-probs.mean(axis=(1, 2)), axis=1, kind="stable")[:, :2], axis=1)
    x, y = (np.take_along_axis(probs, pairs[:, None, None, i : i + 1], axis=3)[..., 0] for i in (0, 1))
    return RotationTest(
        names=split.names,
        labels=split.labels.cpu().numpy(),
        classes=tuple(classes),
        angles_deg=angles,
        flips=flips,
        probs=probs,
        pairs=pairs,
        overlap=overlap_index(x, y),
        overlap_reflected=overlap_index_reflected(x, y),
    )


class _Repeated:
    """Every image ``times`` times in a row, made only for the rows of the batch that is asked for."""

    def __init__(self, images: torch.Tensor, times: int):
        self.images, self.times = images, times

    def __len__(self) -> int:
        return len(self.images) * self.times

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        return self.images[rows.to(self.images.device) // self.times]


def overlap_index(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the overlap of two sets of probabilities, as published: eta = sum_z min(f_x(z), f_y(z)) dz.

    Scaife & Porter 2021, arXiv:2102.08252, section 5. f is a density estimate with a Gaussian kernel of bandwidth
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

    Kernel mass that falls outside [0, 1] is folded back (Silverman 1986, Density Estimation, section 2.10), the
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


def _for_each_first(function, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Applies a function row by row of the first axis, which bounds the memory it takes."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim == 1:
        return function(x, y)
    return np.stack([function(a, b) for a, b in zip(x, y, strict=True)])


def density(samples: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Returns the Gaussian kernel density estimate of (..., T) samples at the points z (Z,), as (..., Z).

    Bandwidth 0.1 is the kernel's standard deviation (Silverman 1986, eq. 2.2a), whatever the samples' spread.
    """
    u = (z[:, None] - samples[..., None, :]) / BANDWIDTH
    return np.exp(-0.5 * u**2).mean(-1) / (BANDWIDTH * np.sqrt(2 * np.pi))


def summarize_sources(test: RotationTest) -> dict[str, np.ndarray]:
    """Returns one value per source: mean overlap over poses, its spread, the entropies, how often it was right.

    ``*_sd`` are standard deviations over poses (R - 1), masked if there is one pose. ``frac_correct`` is the
    fraction of poses in which the mean over passes gives the right class.
    """
    # (T, N, R, K)
    entropies = uncertainties(np.moveaxis(test.probs, 2, 0))
    preds = test.probs.mean(axis=2).argmax(axis=-1)
    rows = {"name": np.asarray(test.names), "label": test.labels}
    rows["label_name"] = np.asarray(test.classes)[test.labels]
    for key, values in (("overlap_index", test.overlap), ("overlap_index_reflected", test.overlap_reflected)):
        rows[key], rows[f"{key}_sd"] = values.mean(axis=1), _sd(values)
    for key, values in entropies.items():
        rows[key] = values.mean(axis=1)
    rows["frac_correct"] = (preds == test.labels[:, None]).mean(axis=1)
    rows["n_classes_predicted"] = np.array([len(set(row)) for row in preds.tolist()])
    return rows


def list_poses(test: RotationTest) -> dict[str, np.ndarray]:
    """Returns one value per source and pose: the indices, the mean and spread of each class, the entropies."""
    n, n_poses = test.overlap.shape
    rows = {
        "name": np.repeat(np.asarray(test.names), n_poses),
        "label": np.repeat(test.labels, n_poses),
        "angle_deg": np.tile(test.angles_deg, n),
        "flip": np.tile(test.flips, n),
        "overlap_index": test.overlap.ravel(),
        "overlap_index_reflected": test.overlap_reflected.ravel(),
    }
    for k, name in enumerate(test.classes):
        rows[column_name("prob_mean", name)] = test.probs[..., k].mean(axis=2).ravel()
        rows[column_name("prob_sd", name)] = test.probs[..., k].std(axis=2).ravel()
    for key, values in uncertainties(np.moveaxis(test.probs, 2, 0)).items():
        rows[key] = values.ravel()
    return rows


def _sd(values: np.ndarray) -> np.ndarray:
    if values.shape[1] < 2:
        return np.ma.masked_all(len(values))
    return values.std(axis=1, ddof=1)


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
