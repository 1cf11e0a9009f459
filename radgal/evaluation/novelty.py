"""How well a network can tell sources unlike those that it was trained on: scores of oddness, and how far they part.

Legend: N sources, K classes, D features.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from radgal.evaluation.intervals import CONFIDENCE, proportion
from radgal.evaluation.measures import area_entry
from radgal.evaluation.probabilities import log_softmax
from radgal.evaluation.scorer import area_influences

ODDNESS = {  # keys of scores that are the larger, the odder a source is
    "entropy": "predictive entropy over dropout passes",
    "probability": "1 - largest probability",
    "energy": "energy of the logits",
    "distance": "distance in the features",
}
KEPT = 0.95  # share of the usual sources that a threshold lets pass
TAIL = (1 - CONFIDENCE) / 2
MOVER = "mover"  # kind of interval, as metrics.json names it


class Features:
    """The features of N training sources, by class: what is far from all of them is odd.

    Mahalanobis' distance to the nearest class mean, with the covariance that all classes share: Lee et al. 2018,
    arXiv:1807.03888. Directions in which no training source varies, as of units that never fire, do not count.

    Args:
        features: (N, D), what the last layer reads of each training source.
        labels: (N,), of 0..K-1.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray):
        classes = np.unique(labels)
        self.means = np.stack([features[labels == k].mean(axis=0) for k in classes])
        centered = features - self.means[np.searchsorted(classes, labels)]
        self.precision = np.linalg.pinv(centered.T @ centered / len(features), rcond=1e-10, hermitian=True)

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Returns the squared distance (N,) of features (N, D) to the nearest class mean."""
        away = features[:, None] - self.means
        return np.einsum("nkd,de,nke->nk", away, self.precision, away).min(axis=1)


def oddness(logits: np.ndarray, entropy: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the scores of ``ODDNESS`` that need no features, (N,) each.

    Energy is -log sum exp of the logits: Liu et al. 2020, arXiv:2010.03759; of several networks it is their mean.

    Args:
        logits: (M, N, K), of each of M networks with dropout off.
        entropy: (N,), of the mean over dropout passes, nats.
    """
    from scipy.special import logsumexp

    probs = np.exp(log_softmax(logits)).mean(axis=0)
    probs[np.arange(len(probs)), probs.argmax(axis=1)] = 0
    probability = probs.sum(axis=1)  # of all other classes: 1 - p without its rounding
    return {"entropy": entropy, "probability": probability, "energy": -logsumexp(logits, axis=2).mean(axis=0)}


def tell_apart(usual: np.ndarray, odd: np.ndarray) -> dict[str, dict[str, Any]]:
    """Returns how well a score tells odd sources from usual ones, each entry with its 95 % interval.

    Args:
        usual: (N,), of sources like those that were trained on.
        odd: (M,).

    Returns:
        ``roc_auc``: the share of pairs in which the odd one scores higher, ties one half, with DeLong's interval;
        ``fpr95``: the share of the odd sources that the threshold lets pass which lets 95 % of the usual ones pass. Its
        interval puts together (Donner & Zou 2012, Stat. Methods Med. Res. 21, 347) how well few usual sources tell the
        threshold, by their order, and Wilson's interval of the share.
    """
    is_odd = np.repeat([False, True], [len(usual), len(odd)])
    area = area_entry([area_influences(is_odd, np.concatenate([usual, odd]))])
    return {"roc_auc": area, "fpr95": _passing(np.asarray(usual), np.asarray(odd))}


def _passing(usual: np.ndarray, odd: np.ndarray) -> dict[str, Any]:
    """Returns the entry of ``fpr95``."""
    from scipy.stats import binom

    n, m = len(usual), len(odd)
    # ranks, from 1, of the usual source at the threshold and at the ends of its interval
    rank, first, last = (int(np.ceil(round(KEPT * n, 9))), *binom.ppf([TAIL, 1 - TAIL], n, KEPT).astype(int) + [0, 1])
    in_order = np.sort(usual)
    value, fewest, most = (int((odd <= in_order[min(max(k, 1), n) - 1]).sum()) / m for k in (rank, first, last))
    wilson = proportion(value * m, m)
    low = value - np.hypot(value - fewest, value - wilson["low"])
    high = value + np.hypot(most - value, wilson["high"] - value)
    return {"value": value, "low": float(max(low, 0)), "high": float(min(high, 1)), "interval": MOVER}
