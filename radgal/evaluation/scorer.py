"""Predictions made ready for the formulas of the scores.

Legend: N sources, K classes, B confusion matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from radgal.evaluation.probabilities import log_softmax
from utils import UserError, counted

N_DRAWS = 2000
N_CALIBRATED = 1000
PRIOR_SOURCES = 4 / 3
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
            f"the network gives outputs of shape {tuple(logits.shape)} for "
            f"{counted(len(labels), 'source')} of {n_classes} classes; "
            "use the checkpoint of a network that was trained on these classes"
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise UserError(f"labels must be 0..{n_classes - 1}, but they run from {labels.min()} to {labels.max()}")
    n_bad = int((~np.isfinite(logits)).any(axis=1).sum())
    if n_bad:
        raise UserError(
            f"the network's outputs are NaN or infinite for {n_bad} of {counted(len(labels), 'source')}; "
            "its weights are spoiled: use an earlier checkpoint, or train again with a smaller [training] lr0"
        )


class Counts:
    """Confusion matrices (B, K, K), rows true, columns predicted: a test's own, or some that might be the truth."""

    def __init__(self, confusion: np.ndarray):
        self.confusion = confusion

    @cached_property
    def total(self) -> np.ndarray:
        """(B,) sources."""
        return self.confusion.sum(axis=(1, 2))

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


class Predictions:
    """The predictions for N sources, from logits (N, K) and labels (N,); ``seed`` is of all that is drawn."""

    def __init__(self, logits: np.ndarray, labels: np.ndarray, seed: int = 0):
        self.n_classes, self.labels, self.seed = logits.shape[1], labels, seed
        self.log_probs, self.preds = log_softmax(logits), logits.argmax(axis=1)
        self.probs, self.is_label = np.exp(self.log_probs), np.eye(self.n_classes)[labels]

    @cached_property
    def counts(self) -> Counts:
        """The confusion matrix of the test, B = 1."""
        cells = self.labels * self.n_classes + self.preds
        return Counts(np.bincount(cells, minlength=self.n_classes**2).reshape(1, self.n_classes, -1).astype(float))

    @cached_property
    def likely_counts(self) -> Counts:
        """Confusion matrices drawn from what the test leaves open, B = 2000.

        Their posterior (Dirichlet) after 4/3 of a source spread evenly over the cells that can be filled: for two
        classes 1/3 in each, the neutral prior of Kerman 2011, Electron. J. Stat. 5, 1450.
        """
        found = self.counts.confusion
        is_there = self.counts.true[0] > 0
        prior = is_there[:, None] * PRIOR_SOURCES / (is_there.sum() * self.n_classes)
        shapes = np.broadcast_to(found + prior, (N_DRAWS, self.n_classes, self.n_classes))
        return Counts(np.random.default_rng(self.seed).standard_gamma(shapes))

    @property
    def nll(self) -> np.ndarray:
        """(N,) negative log-likelihood, nats."""
        return -self.log_probs[np.arange(len(self.labels)), self.labels]

    @property
    def squared_error(self) -> np.ndarray:
        """(N,) summed over classes."""
        return ((self.probs - self.is_label) ** 2).sum(axis=1)

    def if_wrong(self, loss: np.ndarray) -> float:
        """Returns the loss of a typical mistake, whether the test has one or not.

        Args:
            loss: (N, K), of each source if it were of each class. The mean is over all classes but the predicted ones,
                each as probable as the network holds it.
        """
        from scipy.special import softmax

        possible = np.eye(self.n_classes)[self.preds] == 0
        return float(softmax(np.where(possible, self.log_probs, -np.inf).ravel()) @ loss.ravel())

    @cached_property
    def calibrated_errors(self) -> np.ndarray:
        """(B,) calibration errors of a network that is right as often as this one says: drawn, B = 1000.

        Consistency resampling: Broecker & Smith 2007, Weather Forecast. 22, 651.
        """
        confidence = self.probs.max(axis=1)
        generator, at_a_time = np.random.default_rng(self.seed), max(1, 2_000_000 // len(confidence))
        sizes = [min(at_a_time, N_CALIBRATED - start) for start in range(0, N_CALIBRATED, at_a_time)]
        drawn = (generator.random((size, len(confidence))) < confidence for size in sizes)
        return np.concatenate([binned_gaps(correct, confidence) for correct in drawn])


def binned_gaps(correct: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Returns the calibration errors (...) of answers (..., N) that were right or wrong, given with confidence (N,)."""
    bins = np.eye(N_BINS)[confidence_bins(confidence)]
    return np.abs((correct - confidence) @ bins).sum(axis=-1) / len(confidence)


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


def roc_influences(of: Predictions) -> list[tuple[float, np.ndarray, int, int]]:
    """Returns :func:`area_influences` of each class told from the rest; empty if the set lacks a class."""
    found = []
    for k in positive_classes(of.n_classes):
        positive = of.is_label[:, k] == 1
        if positive.all() or not positive.any():
            return []
        found.append(area_influences(positive, of.probs[:, k]))
    return found


def area_influences(positive: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray, int, int]:
    """Returns (ROC area, what each source adds (N,), positive sources, others).

    The area is the Mann-Whitney statistic: how often a positive source scores above another, ties counting one half.
    What a source adds is its placement less the area, over the number of its kind: the squares sum up to DeLong's
    variance (DeLong et al. 1988, Biometrics 44, 837).

    Args:
        positive: (N,) bool, some of each kind.
        score: (N,).
    """
    from scipy.stats import rankdata

    m, n = int(positive.sum()), int((~positive).sum())
    below = rankdata(score)
    below[positive] = (below[positive] - rankdata(score[positive])) / n
    below[~positive] = 1 - (below[~positive] - rankdata(score[~positive])) / m
    area = below[positive].mean()
    size = np.where(positive, np.sqrt(m * max(m - 1, 1)), np.sqrt(n * max(n - 1, 1)))
    return float(area), (below - area) / size, m, n


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
