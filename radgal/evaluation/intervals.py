"""How sure a number is that comes from few sources: intervals, errors and spreads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95  # of every interval


def proportion(successes: float, n: int) -> dict:
    """Returns successes / n with its 95 % interval and binomial standard error; all None if n is 0.

    Wilson 1927, J. Am. Stat. Assoc. 22, 209: stays in [0, 1] and has a width even at 0 and n successes.

    Args:
        successes: 0 to n; a source that is right in a part of its poses may count as that part, and the interval is
            then, if anything, too wide, since parts vary less than whole successes do.
        n: sources.
    """
    if n == 0:
        return {"value": None, "low": None, "high": None, "interval": "wilson", "standard_error": None}
    k, n, z = float(successes), int(n), normal_quantile()
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


def studentized(values: np.ndarray, one_wrong: float, largest: float = np.inf) -> tuple[float | None, float | None]:
    """Returns the 95 % interval of the mean of losses, which are small for most sources and large for the wrong ones.

    A t interval corrected for skewness: Hall 1992, J. R. Stat. Soc. B 54, 221. It is taken of the sources and one more
    that is wrong, since the mean hangs on mistakes of which few sources show few or none. A percentile bootstrap would
    hold the truth in as few as .50 of samples; docs/science.md gives the coverage of this one.

    Args:
        values: (N,), from 0.
        one_wrong: the loss of the source that is added.
        largest: that a loss can be.

    Returns:
        (None, None) if all losses are equal, whatever the class is.
    """
    x = np.append(values, one_wrong)
    n, mean, sd = len(x), x.mean(), x.std(ddof=1)
    if sd <= 1e-12 * abs(mean):
        return None, None
    a, z = ((x - mean) ** 3).mean() / sd**3 / np.sqrt(n), normal_quantile()

    def t_value(u: float) -> float:  # whose transform, without skewness, is u
        return (np.cbrt(1 + a * (u - a / 6)) - 1) * 3 / a if abs(a) > 1e-9 else u

    low, high = (mean - t_value(u) * sd / np.sqrt(n) for u in (z, -z))
    value = values.mean()
    return float(max(0.0, min(low, value))), float(min(largest, max(high, value)))


def newcombe(area: float, n_positive: int, n_negative: int) -> tuple[float, float]:
    """Returns the 95 % interval of a ROC area: Newcombe 2006, Stat. Med. 25, 559, method 5.

    It has a width also for an area of 0 or 1.
    """
    half, z = (n_positive + n_negative) / 2 - 1, normal_quantile()

    def is_likely(x: float) -> bool:
        variance = x * (1 - x) * (1 + half * (1 - x) / (2 - x) + half * x / (1 + x)) / (n_positive * n_negative)
        return abs(x - area) <= z * np.sqrt(variance)

    ends = []
    for end in (0.0, 1.0):
        inside, outside = area, end
        for _ in range(50):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if is_likely(middle) else (inside, middle)
        ends.append(inside)
    return ends[0], ends[1]


def logit_interval(value: float, variance: float) -> tuple[float, float]:
    """Returns the 95 % interval of a value in (0, 1), symmetric on the scale of its logit."""
    middle, half = np.log(value / (1 - value)), normal_quantile() * np.sqrt(variance) / (value * (1 - value))
    low, high = (1 / (1 + np.exp(-end)) for end in (middle - half, middle + half))
    return float(low), float(high)


def normal_quantile() -> float:
    """Returns 1.96: the standard deviations of a normal distribution that hold 95 %."""
    from scipy.stats import norm

    return float(norm.ppf((1 + CONFIDENCE) / 2))


def mean_and_sd(values: Sequence[float | None]) -> dict:
    """Returns the mean and the standard deviation (k - 1) of what is defined; None where there is too little."""
    there = np.array([value for value in values if value is not None], dtype=float)
    return {
        "mean": float(there.mean()) if len(there) else None,
        "sd": float(there.std(ddof=1)) if len(there) > 1 else None,
    }
