"""Sets of classes that hold the true one as often as asked for, class by class.

Legend: N sources, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

ENOUGH = 1e-12  # of rounding, in a comparison of scores
COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99)  # that a test is asked for


def class_scores(probs: np.ndarray, labels: np.ndarray) -> list[list[float]]:
    """Returns for each class the scores of its calibration sources, 1 - probability of the true class, from the least.

    Args:
        probs: (N, K), of sources that the network did not learn from.
        labels: (N,) of 0..K-1.
    """
    return [np.sort(1 - probs[labels == k, k]).tolist() for k in range(probs.shape[1])]


def thresholds(scores: Sequence[Sequence[float]], coverage: float) -> list[float | None]:
    """Returns for each class the score up to which it belongs to the set; None: always, for lack of sources.

    The quantile for finite numbers: of n scores the ceil((n + 1) coverage)-th. A new source of the class, drawn as the
    n were, then has its class in its set with at least this probability, whatever the network is (Vovk, Gammerman &
    Shafer 2005, Algorithmic Learning in a Random World, section 4.5: Mondrian, here by class). Fewer than
    coverage / (1 - coverage) sources prove nothing, and the class is in every set.

    Args:
        scores: as :func:`class_scores` gives them.
        coverage: above 0 and below 1.
    """
    places = [math.ceil((len(one) + 1) * coverage - 1e-9) for one in scores]
    return [one[place - 1] if place <= len(one) else None for one, place in zip(scores, places, strict=True)]


def sets_of(probs: np.ndarray, limits: Sequence[float | None]) -> np.ndarray:
    """Returns whether each class is in the set of each source, bool (N, K); a set may be empty.

    Args:
        probs: (N, K).
        limits: as :func:`thresholds` gives them.
    """
    return 1 - probs <= np.array([np.inf if limit is None else limit + ENOUGH for limit in limits])


def limits_of(calibration: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what metrics.json has of a run's calibration: on what, how many sources by class, and the thresholds."""
    scores = calibration["scores"]
    limits = {str(coverage): thresholds(scores, coverage) for coverage in COVERAGES}
    return {"on": calibration["on"], "n_by_class": [len(one) for one in scores], "limits": limits}


def fewest(coverage: float) -> int:
    """Returns how many calibration sources of a class are needed for sets that may leave it out."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)
