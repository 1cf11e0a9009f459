"""What a network says of a source however it lies on the sky: probabilities averaged over fixed poses.

``evaluate`` and ``predict --rotations`` both ask here, so their numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radgal.images.preparation import UPRIGHT, Poses
from radgal.progress import progress

ROTATIONS = 8  # evenly spaced, that a test averages over


def has_reflections(model: nn.Module, rotations: int) -> bool:
    """Returns whether the poses that a network is averaged over have reflections among them.

    Those of D_N have, since they are of its group. All others have none, however they were trained: so the poses are
    a matter of the network, not of its config, and plain networks are all asked alike. One rotation is no average:
    it is the image as it is.
    """
    return rotations > 1 and getattr(model, "symmetry", ("e", 1))[0] == "D"


def fixed_poses(model: nn.Module, rotations: int = ROTATIONS) -> list[tuple[float, bool]]:
    """Returns the (angle_deg, flip) of ``rotations`` evenly spaced angles, for D_N also mirrored; upright first."""
    flips = (False, True) if has_reflections(model, rotations) else (False,)
    return [(360.0 * i / rotations, flip) for flip in flips for i in range(rotations)]


def averaged_probabilities(classifier: Any, images: Tensor) -> np.ndarray:
    """Returns the probabilities (N, K) that a test is averaged over poses to, of a classifier or an ensemble.

    Args:
        images: uint8 (N, 1, S, S).
    """
    members = members_of(classifier)
    found = [
        average_over_poses(partial(one.probabilities, images), one.model, len(images), quiet=one.quiet)
        for one in members
    ]
    return np.mean(found, axis=0)


def members_of(classifier: Any) -> Sequence[Any]:
    """Returns the networks of an ensemble, or the one of a classifier."""
    return getattr(classifier, "members", (classifier,))


def average_over_poses(
    ask: Callable[[Poses], np.ndarray],
    model: nn.Module,
    n_images: int,
    rotations: int = ROTATIONS,
    *,
    quiet: bool = True,
) -> np.ndarray:
    """Returns the mean over :func:`fixed_poses` of what ``ask`` answers, probabilities as a rule.

    Args:
        ask: gets the poses of ``n_images`` images, the same for all.
        model: the network, whose group decides on reflections.
        rotations: how many angles.
        quiet: no progress bar.
    """
    total, poses = 0.0, fixed_poses(model, rotations)
    for angle, flip in progress(poses, "poses to average over", quiet):
        turned = torch.full((n_images,), angle), torch.full((n_images,), True) if flip else None
        total = total + ask(turned if angle or flip else UPRIGHT) / len(poses)
    return total
