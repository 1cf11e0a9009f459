"""How two recipes differ on the same sources, and how sure that is.

Legend: k seeds, N sources, B bootstrap resamples.
"""

from __future__ import annotations

import numpy as np

from radgal.evaluation.intervals import percentile_interval, resample

N_RESAMPLES = 10_000


def mcnemar(a: np.ndarray, b: np.ndarray) -> dict:
    """Returns the exact two-sided McNemar test of two classifiers on the same sources.

    Under the null hypothesis, of the sources that only one of the two gets right either has each with probability
    one half: McNemar 1947, Psychometrika 12, 153, in its exact, binomial form. p is 1 if there are none.

    Args:
        a, b: (N,) bool, whether each source is classified rightly.
    """
    from scipy.stats import binomtest

    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return {"only_a": only_a, "only_b": only_b, "p": p}


def bootstrap_difference(a: np.ndarray, b: np.ndarray, *, seed: int = 0, n_resamples: int = N_RESAMPLES) -> dict:
    """Returns the mean of b - a with a 95 % interval and a two-sided p, by a bootstrap over sources and seeds.

    Sources and seeds are both drawn with replacement, the same for both configs (Efron & Tibshirani 1993, An
    Introduction to the Bootstrap). With one seed only sources are drawn: the interval then holds for these very
    weights, not for the config.

    Approximate because: so few seeds understate their own spread, its variance by a factor (k - 1) / k.

    Args:
        a, b: (k, N) success of each seed and source, in [0, 1]; row by row of the same seed. NaN in both where a
            seed did not have a source.

    Returns:
        ``difference``, ``low``, ``high``, ``p`` and ``resampled``, what was drawn.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    k, n = a.shape
    sources, seeds = resample(n, n_resamples, seed) / n, resample(k, n_resamples, seed + 1) / k
    difference = b - a
    there = np.isfinite(difference)
    weight = ((seeds @ there) * sources).sum(axis=1)
    drawn = ((seeds @ np.where(there, difference, 0)) * sources).sum(axis=1) / np.where(weight > 0, weight, np.nan)
    # Counting the observed sample as one of the draws keeps p above 0 (Davison & Hinkley 1997). Equal
    # differences up to rounding count as equal.
    below, above = (drawn <= 1e-12).sum(), (drawn >= -1e-12).sum()
    low, high = percentile_interval(drawn)
    return {
        "difference": float(difference[there].mean()),
        "low": low,
        "high": high,
        "p": float(min(1.0, 2 * (1 + min(below, above)) / (1 + n_resamples))),
        "resampled": "sources and seeds" if k > 1 else "sources",
    }
