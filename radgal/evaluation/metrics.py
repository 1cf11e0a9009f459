"""How good predictions are: arrays in, numbers out, each with an interval.

Legend: N sources, K classes, B bootstrap resamples, T MC-dropout passes.

Every score is computed from a matrix of weights, one row of ones for the score itself and B rows of how often
each source was drawn for its interval, so that the thousands of resamples are a few matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from utils import UserError

N_BINS = 15  # of the calibration error and the reliability diagram: Guo et al. 2017, arXiv:1706.04599
N_RESAMPLES = 2000
CONFIDENCE = 0.95  # of every interval


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


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the log probabilities of logits, over the last axis, in double precision without underflow."""
    from scipy.special import log_softmax as of

    return of(np.asarray(logits, dtype=np.float64), axis=-1)


def score_predictions(
    logits: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> dict:
    """Returns every score of a set of predictions; JSON-able, None wherever a score is not defined.

    A score is {"value", "low", "high", "interval"}: Wilson's 95 % interval for proportions (accuracy, error,
    precision, recall), else the percentile interval of a bootstrap over sources. Not defined are: the recall
    of a class that is not in the set, the precision of a class that is never predicted, the F1 of a class
    that is neither, the ROC AUC if the set lacks a class, and a bootstrap interval if the score is not
    defined for at least half of the resamples.

    - ``error`` also carries ``standard_error``, the binomial one.
    - ``roc_auc``: of the last of two classes; for more, the mean over classes of one against the rest.
    - ``nll``: mean negative log-likelihood, nats.
    - ``brier``: Brier 1950, Mon. Weather Rev. 78, 1: squared error summed over classes; halved for two
      classes, as is usual now.
    - ``ece``: expected calibration error, Guo et al. 2017, arXiv:1706.04599, of the most probable
      class, in 15 equal bins (low, high]. It is biased upward for few sources, and in resamples more so.

    Args:
        logits: (N, K).
        labels: (N,) of 0..K-1.
        classes: K names.
        n_resamples: B.
        seed: of the resampling.
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    check_predictions(logits, labels, len(classes))
    scorer = _Scorer(logits, labels)
    point = {name: values[0] for name, values in scorer(np.ones((1, len(labels)))).items()}
    spread = scorer(resample(len(labels), n_resamples, seed))

    def by_bootstrap(name: str, k: int | None = None) -> dict:
        value, values = (point[name], spread[name]) if k is None else (point[name][k], spread[name][:, k])
        low, high = percentile_interval(values)
        return {"value": to_json(value), "low": low, "high": high, "interval": "bootstrap"}

    confusion = point["confusion"].astype(int)
    n_correct, n = int(confusion.trace()), len(labels)
    result = {
        "n_sources": n,
        "accuracy": proportion(n_correct, n),
        "error": proportion(n - n_correct, n) | {"standard_error": binomial_error(n - n_correct, n)},
        **{name: by_bootstrap(name) for name in ("roc_auc", "nll", "brier", "ece")},
        "confusion": confusion.tolist(),
        "per_class": {},
    }
    for k, name in enumerate(classes):
        result["per_class"][name] = {
            "n_sources": int(confusion[k].sum()),
            "n_missed": int(confusion[k].sum() - confusion[k, k]),
            "precision": proportion(confusion[k, k], confusion[:, k].sum()),
            "recall": proportion(confusion[k, k], confusion[k].sum()),
            "f1": by_bootstrap("f1", k),
        }
    return result


class _Scorer:
    """The scores of fixed predictions under any weights (B, N) of the sources; undefined ones are NaN."""

    def __init__(self, logits: np.ndarray, labels: np.ndarray):
        n, n_classes = logits.shape
        log_probs = log_softmax(logits)
        self.probs, self.n_classes = np.exp(log_probs), n_classes
        preds = logits.argmax(axis=1)
        is_label = np.eye(n_classes)[labels]
        self.is_label = is_label.astype(bool)
        self.cell = np.eye(n_classes**2)[labels * n_classes + preds]  # (N, K * K)
        self.nll = -log_probs[np.arange(n), labels]
        self.brier = ((self.probs - is_label) ** 2).sum(axis=1) / (2 if n_classes == 2 else 1)
        confidence = self.probs.max(axis=1)
        self.bin = np.eye(N_BINS)[confidence_bins(confidence)]
        self.gap = self.bin * ((preds == labels) - confidence)[:, None]

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        total = weights.sum(axis=1)
        confusion = (weights @ self.cell).reshape(-1, self.n_classes, self.n_classes)
        hits = np.diagonal(confusion, axis1=1, axis2=2)
        predicted_or_true = confusion.sum(axis=1) + confusion.sum(axis=2)
        return {
            "confusion": confusion,
            "f1": _divide(2 * hits, predicted_or_true),
            "nll": weights @ self.nll / total,
            "brier": weights @ self.brier / total,
            "ece": np.abs(weights @ self.gap).sum(axis=1) / total,
            "roc_auc": self._roc_auc(weights),
        }

    def _roc_auc(self, weights: np.ndarray) -> np.ndarray:
        positives = [1] if self.n_classes == 2 else range(self.n_classes)
        areas = [self._area(weights, self.is_label[:, k], self.probs[:, k]) for k in positives]
        return np.mean(areas, axis=0)

    @staticmethod
    def _area(weights: np.ndarray, positive: np.ndarray, score: np.ndarray) -> np.ndarray:
        """The Mann-Whitney form: how often a positive scores above a negative, ties counting one half."""
        above = score[positive][:, None] - score[~positive]
        wins = (np.sign(above) + 1) / 2
        w_pos, w_neg = weights[:, positive], weights[:, ~positive]
        return _divide(((w_pos @ wins) * w_neg).sum(axis=1), w_pos.sum(axis=1) * w_neg.sum(axis=1))


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)


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


def proportion(successes: float, n: int) -> dict:
    """Returns successes / n with its 95 % interval; all None if n is 0.

    Wilson 1927, J. Am. Stat. Assoc. 22, 209: stays in [0, 1] and has a width even at 0 and n successes.

    Args:
        successes: 0 to n; a source that is right in a part of its poses may count as that part, and the interval is
            then, if anything, too wide, since parts vary less than whole successes do.
        n: sources.
    """
    from scipy.stats import norm

    if n == 0:
        return {"value": None, "low": None, "high": None, "interval": "wilson"}
    k, n, z = float(successes), int(n), float(norm.ppf((1 + CONFIDENCE) / 2))
    middle, half = 2 * k + z**2, z * np.sqrt(z**2 + 4 * k * (n - k) / n)
    low, high = (float(np.clip(end / (2 * (n + z**2)), 0, 1)) for end in (middle - half, middle + half))
    return {"value": k / n, "low": low, "high": high, "interval": "wilson"}


def binomial_error(successes: int, n: int) -> float:
    """Returns the binomial standard error sqrt(p (1 - p) / n)."""
    p = successes / n
    return float(np.sqrt(p * (1 - p) / n))


def to_json(value: float) -> float | None:
    """Returns a float, or None for what is not finite, which JSON cannot hold."""
    return float(value) if np.isfinite(value) else None


def entropy(probs: np.ndarray) -> np.ndarray:
    """Returns -sum_k p_k ln p_k in nats over the last axis, with 0 ln 0 = 0 (Shannon 1948)."""
    from scipy.special import entr

    return entr(np.asarray(probs, dtype=np.float64)).sum(axis=-1)


def uncertainties(probs: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the total, data and model uncertainty of stochastic predictions, in nats.

    - ``predictive_entropy`` H[mean_t p_t]: Gal 2016; at most ln K.
    - ``expected_entropy`` mean_t H[p_t].
    - ``mutual_information`` between prediction and weights, their difference: Houlsby et al. 2011,
      arXiv:1112.5745; 0 where all passes agree.

    Args:
        probs: (T, ..., K), in [0, 1], sums of 1 over the last axis.

    Returns:
        Arrays (...), one under each of the three names.
    """
    probs = np.asarray(probs, dtype=np.float64)
    predictive = entropy(probs.mean(axis=0))
    # Never negative by Jensen's inequality; rounding may say otherwise in the last digit.
    expected = np.minimum(entropy(probs).mean(axis=0), predictive)
    return {
        "predictive_entropy": predictive,
        "expected_entropy": expected,
        "mutual_information": predictive - expected,
    }
