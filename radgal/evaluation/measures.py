"""A score of a test with its 95 % interval: how each kind of interval is made of a score's formula.

Legend: N sources, K classes, B confusion matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from radgal.evaluation.intervals import CONFIDENCE, logit_interval, newcombe, percentile_interval, studentized
from radgal.evaluation.intervals import proportion as wilson
from radgal.evaluation.scorer import Predictions

# Kinds of interval; the last two are none
WILSON, POSTERIOR, STUDENTIZED, DELONG, CALIBRATED, NONE = "wilson posterior studentized delong calibrated none".split()


def measure_proportion(formula: Callable, of: Predictions) -> list[dict]:
    """The formula gives (successes, trials) of Counts."""
    successes, trials = (np.ravel(counts) for counts in formula(of.counts))
    return [wilson(k, n) for k, n in zip(successes, trials, strict=True)]


def measure_posterior(formula: Callable, of: Predictions) -> list[dict]:
    """The formula gives the score (B,) or (B, K) of Counts, NaN where it is not defined; the interval is central."""
    values = np.ravel(formula(of.counts))
    drawn = formula(of.likely_counts).reshape(len(of.likely_counts.confusion), -1)
    return [_entry(POSTERIOR, value, *percentile_interval(some)) for value, some in zip(values, drawn.T, strict=True)]


def measure_mean(formula: Callable, of: Predictions) -> list[dict]:
    """The formula gives (losses (N,), the loss of a typical mistake, the largest there can be) of Predictions."""
    losses, one_wrong, largest = formula(of)
    return [_entry(STUDENTIZED, losses.mean(), *studentized(losses, one_wrong, largest))]


def measure_area(formula: Callable, of: Predictions) -> list[dict]:
    """The formula gives ``roc_influences`` of Predictions; the score is the mean of its areas."""
    return [area_entry(formula(of))]


def area_entry(found: list[tuple[float, np.ndarray, int, int]]) -> dict[str, Any]:
    """Returns the mean ROC area of some ``area_influences``, with DeLong's interval; not defined for none of them."""
    if not found:
        return _entry(DELONG, np.nan, None, None)
    areas, influences, *sizes = zip(*found, strict=True)
    area, variance = np.mean(areas), (np.mean(influences, axis=0) ** 2).sum()
    if 0 < area < 1 and variance > 0 and min(map(min, sizes)) > 1:
        return _entry(DELONG, area, *logit_interval(area, variance))
    # DeLong's variance vanishes: all are in order, or none is told from another
    ends = np.mean([newcombe(*one) for one in zip(areas, *sizes, strict=True)], axis=0)
    return _entry(DELONG, area, *ends)


def measure_calibrated(formula: Callable, of: Predictions) -> list[dict]:
    """The formula gives the score of Predictions; beside it stands what a calibrated network would show."""
    drawn = of.calibrated_errors
    expected = {"calibrated": float(drawn.mean()), "calibrated_high": float(np.quantile(drawn, CONFIDENCE))}
    return [_entry(CALIBRATED, formula(of), None, None) | expected]


def measure_alone(formula: Callable, of: Predictions) -> list[dict]:
    """The formula gives the score of Predictions."""
    return [_entry(NONE, formula(of), None, None)]


def _entry(kind: str, value: float, low: float | None, high: float | None) -> dict[str, Any]:
    """Returns what metrics.json has of a score; an interval holds the value, and has a width."""
    entry = {"value": float(value) if np.isfinite(value) else None, "low": None, "high": None, "interval": kind}
    if entry["value"] is None or low is None or high is None:
        return entry
    low, high = min(float(low), float(value)), max(float(high), float(value))
    return entry | ({"low": low, "high": high} if low < high else {})


MEASURES = {
    WILSON: measure_proportion,
    POSTERIOR: measure_posterior,
    STUDENTIZED: measure_mean,
    DELONG: measure_area,
    CALIBRATED: measure_calibrated,
    NONE: measure_alone,
}
