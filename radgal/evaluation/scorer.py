"""Predictions made ready for the formulas of the scores.

Legend: N sources, K classes, B bootstrap resamples.

Every score is computed from a matrix of weights, one row of ones for the score itself and B rows of how often
each source was drawn for its interval, so that the thousands of resamples are a few matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from radgal.evaluation.probabilities import log_softmax
from utils import UserError

N_BINS = 15  # of the calibration error and the reliability diagram: Guo et al. 2017, arXiv:1706.04599


def check_predictions(logits: np.ndarray, labels: np.ndarray, n_classes: int) -> None:
    """Raises a UserError if (N, K) logits and (N,) labels cannot be scored.

    Raises:
        UserError: if there are no sources, shapes or labels do not fit, or a logit is not finite.
    """
    if len(labels) == 0:
        raise UserError("there are no test sources to score; check [data] dataset and the sources asked for")
    if logits.shape != (len(labels), n_classes):
        raise UserError(
            f"the network gives outputs of shape {tuple(logits.shape)} for {len(labels)} sources of "
            f"{n_classes} classes; use the checkpoint of a network that was trained on these classes"
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise UserError(f"labels must be 0..{n_classes - 1}, but they run from {labels.min()} to {labels.max()}")
    n_bad = int((~np.isfinite(logits)).any(axis=1).sum())
    if n_bad:
        raise UserError(
            f"the network's outputs are NaN or infinite for {n_bad} of {len(labels)} sources; "
            "its weights are spoiled: use an earlier checkpoint, or train again with a smaller [training] lr0"
        )


class Predictions:
    """The predictions for N sources, from logits (N, K) and labels (N,)."""

    def __init__(self, logits: np.ndarray, labels: np.ndarray):
        n, n_classes = logits.shape
        log_probs = log_softmax(logits)
        self.probs, self.n_classes = np.exp(log_probs), n_classes
        preds = logits.argmax(axis=1)
        is_label = np.eye(n_classes)[labels]
        self.is_label = is_label.astype(bool)  # (N, K)
        self.cell = np.eye(n_classes**2)[labels * n_classes + preds]  # (N, K * K), of the confusion matrix
        self.nll = -log_probs[np.arange(n), labels]
        self.squared_error = ((self.probs - is_label) ** 2).sum(axis=1)
        confidence = self.probs.max(axis=1)
        # (N, bins), how far right or wrong is from the confidence, in the bin of the source
        self.gap = np.eye(N_BINS)[confidence_bins(confidence)] * ((preds == labels) - confidence)[:, None]


class Weighted:
    """Predictions in which every source counts as often as each row of ``weights`` (B, N) says."""

    def __init__(self, predictions: Predictions, weights: np.ndarray):
        self.predictions, self.weights, self.total = predictions, weights, weights.sum(axis=1)

    @cached_property
    def confusion(self) -> np.ndarray:
        """(B, K, K): rows true, columns predicted."""
        n_classes = self.predictions.n_classes
        return (self.weights @ self.predictions.cell).reshape(-1, n_classes, n_classes)

    @cached_property
    def hits(self) -> np.ndarray:
        """(B, K) sources of each class that are classified rightly."""
        return np.diagonal(self.confusion, axis1=1, axis2=2)

    @cached_property
    def true(self) -> np.ndarray:
        """(B, K) sources of each class."""
        return self.confusion.sum(axis=2)

    @cached_property
    def predicted(self) -> np.ndarray:
        """(B, K) sources that are classified as each class."""
        return self.confusion.sum(axis=1)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Returns the mean over sources of values (N,)."""
        return self.weights @ values / self.total


def confidence_bins(confidence: np.ndarray) -> np.ndarray:
    """Returns which of the 15 equal bins (low, high] of [0, 1] each confidence is in."""
    return np.clip(np.ceil(confidence * N_BINS).astype(int) - 1, 0, N_BINS - 1)


def reliability(probs: np.ndarray, labels: np.ndarray) -> list[dict]:
    """Returns low, high, n, mean confidence and accuracy of each bin of confidence that is not empty.

    Guo et al. 2017, arXiv:1706.04599.
    """
    confidence, correct = probs.max(axis=1), probs.argmax(axis=1) == labels
    where = confidence_bins(confidence)
    return [
        {
            "low": b / N_BINS,
            "high": (b + 1) / N_BINS,
            "n": int((where == b).sum()),
            "confidence": float(confidence[where == b].mean()),
            "accuracy": float(correct[where == b].mean()),
        }
        for b in np.unique(where).tolist()
    ]


def positive_classes(n_classes: int) -> Sequence[int]:
    """Returns the classes that are told from the rest in a ROC curve: the last of two, each of more."""
    return [1] if n_classes == 2 else range(n_classes)


def roc_curves(labels: np.ndarray, probs: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Returns the (false, true) positive rates of :func:`positive_classes`, by class, where they are defined.

    Args:
        labels: (N,) of 0..K-1.
        probs: (N, K).
    """
    from sklearn.metrics import roc_curve

    n_classes, there = probs.shape[1], np.unique(labels)
    drawn = [k for k in positive_classes(n_classes) if k in there and len(there) > 1]
    return {k: roc_curve(labels == k, probs[:, k])[:2] for k in drawn}
