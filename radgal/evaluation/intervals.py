"""How sure a number is that comes from few sources: intervals, errors and spreads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

N_RESAMPLES = 2000
CONFIDENCE = 0.95  # of every interval


def proportion(successes: float, n: int) -> dict:
    """Returns successes / n with its 95 % interval and binomial standard error; all None if n is 0.

    Wilson 1927, J. Am. Stat. Assoc. 22, 209: stays in [0, 1] and has a width even at 0 and n successes.

    Args:
        successes: 0 to n; a source that is right in a part of its poses may count as that part, and the interval is
            then, if anything, too wide, since parts vary less than whole successes do.
        n: sources.
    """
    from scipy.stats import norm

    if n == 0:
        return {"value": None, "low": None, "high": None, "interval": "wilson", "standard_error": None}
    k, n, z = float(successes), int(n), float(norm.ppf((1 + CONFIDENCE) / 2))
    middle, half = 2 * k + z**2, z * np.sqrt(z**2 + 4 * k * (n - k) / n)
    low, high = (float(np.clip(end / (2 * (n + z**2)), 0, 1)) for end in (middle - half, middle + half))
    return {"value": k / n, "low": low, "high": high, "interval": "wilson", "standard_error": binomial_error(k, n)}


def binomial_error(successes: int, n: int) -> float:
    """Returns the binomial standard error sqrt(p (1 - p) / n)."""
    p = successes / n
    return float(np.sqrt(p * (1 - p) / n))


def resample(n: int, n_resamples: int, seed: int) -> np.ndarray:
    """Returns how often each of ``n`` things is drawn in each of B draws of n with replacement, (B, n)."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64)


def percentile_interval(values: np.ndarray) -> tuple[float | None, float | None]:
    """Returns the central 95 % of resampled values; (None, None) if under half of them are defined."""
    defined = values[np.isfinite(values)]
    if len(defined) == 0 or len(defined) < len(values) / 2:
        return None, None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def mean_and_sd(values: Sequence[float | None]) -> dict:
    """Returns the mean and the standard deviation (k - 1) of what is defined; None where there is too little."""
    there = np.array([value for value in values if value is not None], dtype=float)
    return {
        "mean": float(there.mean()) if len(there) else None,
        "sd": float(there.std(ddof=1)) if len(there) > 1 else None,
    }
