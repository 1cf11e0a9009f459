"""How sure a recipe's mean is, and how two recipes differ on the same sources: intervals over seeds and over sources.

Legend: k seeds, N sources.

A success y of a seed on a source is modelled as mean + seed + source + rest, seeds and sources drawn at random and
crossed: another seed and other sources would both change the mean. Seeds of two recipes have nothing in common, so they
are not paired; sources are. The variance components are those of the analysis of variance, the degrees of freedom are
Satterthwaite's (1946, Biometrics Bulletin 2, 110), as for many readers of many cases (Hillis 2007, Stat. Med. 26, 596).
"""

from __future__ import annotations

import itertools

import numpy as np

from radgal.evaluation.intervals import CONFIDENCE


def mean_interval(y: np.ndarray) -> dict:
    """Returns the mean success of a recipe with its 95 % interval over seeds and sources.

    Two sources that are always right and two that never are, are added (Agresti & Coull 1998, Am. Stat. 52, 119): the
    interval has a width and covers also where nearly all or all are right.

    Args:
        y: (k, N) success of each seed and source, in [0, 1]; NaN where a seed did not have a source.

    Returns:
        ``value``, ``low``, ``high`` and ``over``: 'seeds and sources' or, of one seed, 'sources'.
    """
    middle, variance, df, over = _estimate(*_by_source(y), [y], added=(1, 1, 0, 0))
    half = _quantile(df) * np.sqrt(variance)
    low, high = (float(np.clip(end, 0, 1)) for end in (middle - half, middle + half))
    return {"value": float(np.nanmean(y)), "low": low, "high": high, "over": over}


def paired_difference(a: np.ndarray, b: np.ndarray) -> dict:
    """Returns the mean of b - a over the same sources, with a 95 % interval and a two-sided p, over seeds and sources.

    A source that one seed of a alone has right is added, and one that one seed of b alone has right (of one seed, as
    Bonett & Price 2012, J. Educ. Behav. Stat. 37, 479): recipes that agree on all sources are not equal beyond doubt.

    Args:
        a, b: (k, N) success of each seed and source, in [0, 1], of any number of seeds each; NaN where a seed did not
            have a source.

    Returns:
        ``difference``, ``low``, ``high``, ``p``, ``df`` (degrees of freedom) and ``over``, as in
        :func:`mean_interval`.
    """
    from scipy.stats import t

    both = np.isfinite(a).any(axis=0) & np.isfinite(b).any(axis=0)
    a, b = a[:, both], b[:, both]
    (mean_a, count_a), (mean_b, count_b) = _by_source(a), _by_source(b)
    difference, counts, one = mean_b - mean_a, (count_a + count_b) / 2, 1 / max(len(a), len(b))
    middle, variance, df, over = _estimate(difference, counts, [a, b], added=(one, -one))
    half = _quantile(df) * np.sqrt(variance)
    return {
        "difference": float(np.average(difference, weights=counts)),
        "low": float(max(middle - half, -1)),
        "high": float(min(middle + half, 1)),
        "p": float(2 * t.sf(abs(middle) / np.sqrt(variance), df)),
        "df": float(df),
        "over": over,
    }


def _by_source(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean over seeds of each source, and how many seeds had it; every source was had by one."""
    return np.nanmean(y, axis=0), np.isfinite(y).sum(axis=0)


def _estimate(
    values: np.ndarray, counts: np.ndarray, recipes: list[np.ndarray], added: tuple[float, ...]
) -> tuple[float, float, float, str]:
    """Returns (mean with the added sources, its variance, degrees of freedom, what it is over).

    Args:
        values, counts: (N,), of each source, as :func:`_by_source` gives them.
        recipes: the (k, N) successes that the values were made of.
        added: values of further sources.
    """
    values, counts = np.append(values, added), np.append(counts, np.full(len(added), counts.mean()))
    n, total = len(values), counts.sum()
    middle = float(np.average(values, weights=counts))
    parts = [((counts**2 * (values - middle) ** 2).sum() / total**2 * n / (n - 1), n - 1)]
    for y in recipes:
        between, within, n_sources = _between_seeds(y)
        if between > within:
            had = np.isfinite(y).sum(axis=1)
            share = (had**2).sum() / had.sum() ** 2  # 1 / k where every seed has as many sources
            parts += [(share * between, len(y) - 1), (-share * within, (len(y) - 1) * (n_sources - 1))]
    variance = sum(part for part, _ in parts)
    # a sum of positive parts has as many as the part with the fewest; what is taken off must not make it fewer
    fewest = min(own for part, own in parts if part > 0)
    df = max(variance**2 / sum(part**2 / own for part, own in parts), fewest)
    over = "sources" if any(len(y) == 1 for y in recipes) else "seeds and sources"
    return middle, variance, df, over


def _between_seeds(y: np.ndarray) -> tuple[float, float, float]:
    """Returns the variance of seeds' means, the part of it that single sources make, and sources two seeds share.

    From pairs of seeds on the sources that both have; where all have all, these are the mean squares of the analysis
    of variance over N.
    """
    found = []
    for one, two in itertools.combinations(y, 2):
        difference = (one - two)[np.isfinite(one - two)]
        if len(difference) > 1:
            m = len(difference)
            found.append((difference.mean() ** 2 / 2, difference.var(ddof=1) / (2 * m), m))
    return tuple(np.mean(found, axis=0)) if found else (0.0, 0.0, 0.0)


def _quantile(df: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, df))
