"""Labels that a cross-validation doubts: sources that networks which never saw them call something else.

Legend: N sources, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def doubted(probs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows whose label is doubted, the most doubted first, and the class that each should rather have.

    Confident learning, Northcutt et al. 2021, J. Artif. Intell. Res. 70, 1373: a label is doubted if the most probable
    of the classes that reach their threshold is another. The threshold of a class is the mean probability that the
    sources so labeled have for it, so that a class of which networks are never sure is not held against that. The
    rank is by the probability of the label, the smallest first.

    Args:
        probs: (N, K), of networks that were not trained on the source.
        labels: (N,) of 0..K-1.
    """
    n, n_classes = probs.shape
    threshold = np.array([probs[labels == k, k].mean() if (labels == k).any() else np.inf for k in range(n_classes)])
    sure = np.where(probs >= threshold, probs, -np.inf)
    called = sure.argmax(axis=1)
    rows = np.flatnonzero((sure.max(axis=1) > -np.inf) & (called != labels))
    rows = rows[np.argsort(probs[rows, labels[rows]], kind="stable")]
    return rows, called[rows]


def out_of_fold(runs: Sequence[Mapping[str, Any]]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Returns names, labels (N,) and probabilities (N, K), the mean over seeds, of the sources that all runs held out.

    Args:
        runs: of one config, as :func:`radgal.repeats.collect.merge_folds` gives them: one per seed.
    """
    places = [{name: i for i, name in enumerate(run["names"])} for run in runs]
    names = [name for name in runs[0]["names"] if all(name in place for place in places)]
    probs = np.mean(
        [
            np.asarray(run["upright"], dtype=float)[[place[name] for name in names]]
            for run, place in zip(runs, places, strict=True)
        ],
        axis=0,
    )
    return names, np.array([runs[0]["labels"][places[0][name]] for name in names]), probs
