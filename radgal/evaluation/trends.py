"""Whether a network is right more often for large, near or bright sources: accuracy by bin, and its trend.

Legend: N sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from radgal.evaluation.intervals import CONFIDENCE, proportion

QUANTITIES = {  # columns of the table of sources, in words
    "las_arcsec": "largest angular size (arcsec)",
    "redshift": "redshift",
    "size_px": "rms radius (px)",
    "flux_per_peak": "flux over brightest pixel",
    "contrast": "brightest over faintest pixel",
}
N_BINS = 4
FEWEST = 20  # sources, to ask for a trend
FEWEST_OF_A_KIND = 5  # sources that are right, and that are wrong: or else one of them is the whole trend


def accuracy_trends(correct: np.ndarray, quantities: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Returns the accuracy in quartiles of each quantity, and its trend; JSON-able.

    The trend is that of a logistic regression on the binary logarithm, with Jeffreys' prior, which takes away the bias
    of few mistakes and keeps the slope finite (Firth 1993, Biometrika 80, 27; its interval and p from the penalized
    likelihood: Heinze & Schemper 2002, Stat. Med. 21, 2409). All p are corrected for the number of quantities asked
    (Holm 1979, Scand. J. Stat. 6, 65).

    Args:
        correct: (N,) whether each source is right.
        quantities: (N,) each, by the keys of ``QUANTITIES``; NaN, or not above 0: not known.

    Returns:
        Of each quantity that 20 sources have, and hardly all the same: ``name``, ``n``, ``bins`` (low, median, high, n,
        and ``accuracy`` with Wilson's interval), ``odds_ratio`` (``value``, ``low``, ``high``: what the odds of being
        right are multiplied by when the quantity doubles), ``p`` and ``p_holm``: None where fewer than five
        sources are wrong, or are right.
    """
    correct, found = np.asarray(correct, dtype=bool), {}
    for key, values in quantities.items():
        values = np.asarray(values, dtype=np.float64)
        there = np.isfinite(values) & (values > 0)
        bins = quantile_bins(values[there], correct[there]) if there.sum() >= FEWEST else []
        if len(bins) > 1:
            trend = logistic_trend(np.log2(values[there]), correct[there])
            found[key] = {"name": QUANTITIES[key], "n": int(there.sum()), "bins": bins} | trend
    asked = [key for key, one in found.items() if one["p"] is not None]
    corrected = dict(zip(asked, holm([found[key]["p"] for key in asked]), strict=True))
    return {key: one | {"p_holm": corrected.get(key)} for key, one in found.items()}


def quantile_bins(values: np.ndarray, correct: np.ndarray) -> list[dict[str, Any]]:
    """Returns the accuracy in bins of about as many sources each; equal values are never parted.

    Args:
        values, correct: (N,).
    """
    edges = np.unique(np.quantile(values, np.linspace(0, 1, N_BINS + 1)))
    where = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    bins = []
    for k in np.unique(where):
        inside = where == k
        low, high = float(values[inside].min()), float(values[inside].max())
        accuracy = proportion(int(correct[inside].sum()), int(inside.sum()))
        middle = float(np.median(values[inside]))
        bins.append({"low": low, "median": middle, "high": high, "n": int(inside.sum()), "accuracy": accuracy})
    return bins


def logistic_trend(x: np.ndarray, correct: np.ndarray) -> dict[str, Any]:
    """Returns ``odds_ratio`` per unit of x, with its interval, and ``p``; see :func:`accuracy_trends`.

    Args:
        x: (N,), not all the same.
        correct: (N,), bool.
    """
    from scipy.optimize import brentq
    from scipy.stats import chi2

    if min(correct.sum(), (~correct).sum()) < FEWEST_OF_A_KIND:
        return {"odds_ratio": None, "p": None}
    scale = x.std()
    z = (x - x.mean()) / scale
    top, most = _fit(z, correct)
    enough = most - chi2.ppf(CONFIDENCE, 1) / 2

    def above(slope: float) -> float:
        return _fit(z, correct, slope)[1] - enough

    ends = []
    for step in (-1.0, 1.0):
        while above(top + step) > 0:
            step *= 2
        ends.append(brentq(above, top, top + step, xtol=1e-6))
    value, low, high = (float(np.exp(slope / scale)) for slope in (top, *ends))
    p = float(chi2.sf(max(0.0, 2 * (most - _fit(z, correct, 0.0)[1])), 1))
    return {"odds_ratio": {"value": value, "low": low, "high": high}, "p": p}


def _fit(z: np.ndarray, correct: np.ndarray, slope: float | None = None) -> tuple[float, float]:
    """Returns the slope with the largest penalized log-likelihood, or the one given, and that likelihood.

    Newton's steps, with the score that Firth modified.
    """
    from scipy.special import expit, log_expit

    rate, sign = correct.mean(), np.where(correct, 1.0, -1.0)
    a, b = float(np.log(rate / (1 - rate))), slope or 0.0
    for _ in range(200):
        p = expit(a + b * z)
        weight = p * (1 - p)
        total, first, second = weight.sum(), weight @ z, weight @ z**2
        determinant = max(total * second - first**2, 1e-300)
        leverage = weight * (second - 2 * first * z + total * z**2) / determinant
        rest = correct - p + leverage * (0.5 - p)
        score, score_z = rest.sum(), rest @ z
        if slope is None:
            steps = (second * score - first * score_z) / determinant, (total * score_z - first * score) / determinant
        else:
            steps = score / max(total, 1e-300), 0.0
        a, b = (one + float(np.clip(step, -1, 1)) for one, step in zip((a, b), steps, strict=True))
        if max(map(abs, steps)) < 1e-9:
            break
    return b, float(log_expit(sign * (a + b * z)).sum() + 0.5 * np.log(determinant))


def holm(p: list[float]) -> list[float]:
    """Returns p values corrected for their number: Holm 1979."""
    order, corrected, largest = np.argsort(p), [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected
