"""Several trained networks asked as one: their probabilities averaged, their dropout passes pooled.

``predict --ensemble`` does the same, image by image. Legend: M networks, N images, K classes, T dropout passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from radgal.classifier import Classifier
from radgal.evaluation.probabilities import log_of_mean
from radgal.images.preparation import UPRIGHT, Poses
from utils import UserError


@dataclass(frozen=True, eq=False)
class Ensemble:
    """M networks of the same classes, for the same images; it is asked as a ``Classifier`` is.

    Raises:
        UserError: if their classes or the images that they take differ.
    """

    members: Sequence[Classifier]

    def __post_init__(self) -> None:
        first, *others = self.members
        for other in others:
            if other.classes != first.classes:
                raise UserError(
                    f"the runs of an ensemble must have the same classes, not {', '.join(first.classes)} and "
                    f"{', '.join(other.classes)}"
                )
            theirs, ours = ((one.preparation.imsize, one.preparation.pad) for one in (other, first))
            if theirs != ours:
                raise UserError(
                    "the runs of an ensemble are tested on the same images, but [training] imsize and [data] pad are "
                    f"{ours} and {theirs}; `predict --ensemble` can average them"
                )

    @property
    def classes(self) -> tuple[str, ...]:
        """K names."""
        return tuple(self.members[0].classes)

    @property
    def quiet(self) -> bool:
        """Whether to show no bars."""
        return self.members[0].quiet

    def probabilities(self, images: Tensor, poses: Poses = UPRIGHT) -> np.ndarray:
        """Returns the mean probabilities (N, K), dropout off; see :meth:`Classifier.probabilities`."""
        return np.mean([one.probabilities(images, poses) for one in self.members], axis=0)

    def logits(self, images: Tensor, poses: Poses = UPRIGHT) -> np.ndarray:
        """Returns the logarithms of the mean probabilities (N, K)."""
        return log_of_mean(self.probabilities(images, poses))

    def dropout_samples(self, images: Tensor, mc_samples: int = 100, *, seed: int = 0) -> np.ndarray:
        """Returns the probabilities (M T, N, K) of T passes of each network; see :meth:`Classifier.dropout_samples`."""
        return np.concatenate([one.dropout_samples(images, mc_samples, seed=seed) for one in self.members])
