"""Two trained networks on the same sources: how far their scores differ, and how sure that is.

All is of these two networks, which a seed each made: sources are drawn at random, seeds are not. For recipes see
``differences``.

Legend: N sources, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radgal.evaluation.intervals import CONFIDENCE, normal_quantile
from radgal.evaluation.metrics import AVERAGED, BY_KEY, ROTATED, UPRIGHT
from radgal.evaluation.scorer import Predictions, roc_influences
from radgal.repeats.differences import paired_difference


def compare_networks(a: Mapping[str, Any], b: Mapping[str, Any], labels: np.ndarray) -> dict[tuple[str, str], dict]:
    """Returns the differences b - a on the same sources, by (condition, key of the score).

    Args:
        a, b: ``upright`` and, if both have it, ``averaged``: (N, K) probabilities; and ``rotated``: (N,) share of
            the rotations in which a source is right. The rows are of the same sources.
        labels: (N,) of 0..K-1.

    Returns:
        Each ``difference``, ``low``, ``high`` (95 %) and ``p`` (two-sided); None where it is not defined.
    """
    found = {}
    for condition in (UPRIGHT, ROTATED, AVERAGED):
        if condition in a and condition in b:
            right = [_successes(one[condition], labels) for one in (a, b)]
            found[condition, "accuracy"] = paired_difference(*(one[None] for one in right))
    one, two = (Predictions(_log(probs[UPRIGHT]), labels) for probs in (a, b))
    found[UPRIGHT, "roc_auc"] = difference_of_areas(one, two)
    for key in ("nll", "brier"):
        losses = [BY_KEY[key].formula(of)[0] for of in (one, two)]
        found[UPRIGHT, key] = difference_of_means(losses[1] - losses[0])
    return found


def _successes(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return answers if answers.ndim == 1 else (answers.argmax(axis=1) == labels).astype(float)


def _log(probs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probs, np.finfo(np.float64).tiny))


def difference_of_means(differences: np.ndarray) -> dict:
    """Returns the mean of (N,) differences with its t interval and p; the ends are None if all are equal."""
    from scipy.stats import t

    n, mean = len(differences), float(differences.mean())
    error = differences.std(ddof=1) / np.sqrt(n) if n > 1 else 0.0
    if error <= 1e-12 * max(abs(mean), 1e-9):
        return {"difference": mean, "low": None, "high": None, "p": None}
    half = t.ppf((1 + CONFIDENCE) / 2, n - 1) * error
    return {
        "difference": mean,
        "low": float(mean - half),
        "high": float(mean + half),
        "p": float(2 * t.sf(abs(mean) / error, n - 1)),
    }


def difference_of_areas(a: Predictions, b: Predictions) -> dict:
    """Returns the difference of two ROC areas on the same sources: DeLong et al. 1988, Biometrics 44, 837."""
    from scipy.stats import norm

    areas = [roc_influences(of) for of in (a, b)]
    if not all(areas):
        return {"difference": None, "low": None, "high": None, "p": None}
    (area_a, added_a), (area_b, added_b) = (
        (np.mean([one[0] for one in found]), np.mean([one[1] for one in found], axis=0)) for found in areas
    )
    difference, error = float(area_b - area_a), float(np.sqrt(((added_b - added_a) ** 2).sum()))
    if error < 1e-12:
        return {"difference": difference, "low": None, "high": None, "p": None}
    half = normal_quantile() * error
    p = float(2 * norm.sf(abs(difference) / error))
    return {"difference": difference, "low": max(difference - half, -1.0), "high": min(difference + half, 1.0), "p": p}


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> dict:
    """Returns on how many sources both, one or neither is right, and the exact two-sided p that one is not the better.

    McNemar 1947, Psychometrika 12, 153: only the sources on which one of the two is right tell.

    Args:
        a, b: (N,) whether each network is right.
    """
    from scipy.stats import binomtest

    a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    counts = {"both": a & b, "only_a": a & ~b, "only_b": b & ~a, "neither": ~a & ~b}
    counts = {name: int(chosen.sum()) for name, chosen in counts.items()}
    n = counts["only_a"] + counts["only_b"]
    return counts | {"p": float(binomtest(counts["only_b"], n).pvalue) if n else 1.0}
