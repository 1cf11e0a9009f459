"""How much of a change of the overlap index between two runs is chance: that of the dropout passes.

Legend: N sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from radgal.evaluation.overlapindex import IMPROVED_BY, of_pairs, overlap_index, overlap_index_reflected

if TYPE_CHECKING:
    from radgal.evaluation.rotation import RotationTest


def changes_by_chance(test: RotationTest, key: str) -> np.ndarray:
    """Returns how much the mean index of each source would change with another dropout seed, (N,).

    The difference between every other pass and the rest, over sqrt(2): halves have twice the variance of the whole.

    Args:
        key: "overlap" or "overlap_reflected".
    """
    function = {"overlap": overlap_index, "overlap_reflected": overlap_index_reflected}[key]
    x, y = of_pairs(test.probs, test.pairs)
    one, two = (function(x[..., half::2], y[..., half::2]).mean(axis=1) for half in (0, 1))
    return (one - two) / np.sqrt(2)


def noise_of_comparison(change: np.ndarray, by_chance: Sequence[np.ndarray]) -> dict[str, float | int]:
    """Returns what of the changes between two runs is more than noise.

    Args:
        change: (N,) of the mean overlap index.
        by_chance: of either run, what :func:`changes_by_chance` gives.

    Returns:
        ``n_by_chance``, sources that change by more than 0.01 between two tests of one network (mean of both runs);
        ``noise_sd`` of a change; how many changes by more than 0.01 are also larger than 1.96 of it; and a paired t
        test of the mean change over sources: ``mean_change_low``, ``_high`` and ``p``.
    """
    from scipy.stats import t, ttest_1samp

    noise = np.concatenate(by_chance)
    sd, n = float(np.sqrt((noise**2).mean())), len(change)
    least = max(IMPROVED_BY, 1.96 * sd)
    found: dict[str, float | int] = {
        "n_by_chance": float((np.abs(noise) > IMPROVED_BY).mean() * n),
        "noise_sd": sd,
        "n_improved_beyond_noise": int((change < -least).sum()),
        "n_worsened_beyond_noise": int((change > least).sum()),
    }
    spread = change.std(ddof=1) / np.sqrt(n) if n > 1 else 0.0
    if spread > 0:
        half = float(t.ppf(0.975, n - 1) * spread)
        found |= {"mean_change_low": float(change.mean() - half), "mean_change_high": float(change.mean() + half)}
        found |= {"p": float(ttest_1samp(change, 0.0).pvalue)}
    return found
