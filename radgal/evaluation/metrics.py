"""How good predictions are: a score is a row of ``SCORES``, and everything that computes, writes or shows one reads it.

Legend: N sources, K classes, B confusion matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radgal.evaluation.measures import CALIBRATED, DELONG, MEASURES, NONE, POSTERIOR, STUDENTIZED, WILSON
from radgal.evaluation.scorer import Counts, Predictions, binned_gaps, check_predictions, roc_influences

# Conditions of a test, as metrics.json calls them
UPRIGHT, ROTATED, AVERAGED, DROPOUT = "upright", "rotated", "averaged", "mc_dropout"
IN_WORDS = {UPRIGHT: "", ROTATED: "rotated", AVERAGED: "averaged over poses", DROPOUT: "dropout"}
IN_KEYS = {UPRIGHT: "", ROTATED: "rotated_", AVERAGED: "averaged_", DROPOUT: "mc_"}


@dataclass(frozen=True)
class Score:
    """A score: what it is called, how it is computed, how its numbers are written, and where it is shown.

    All scores are in metrics.json, on the page of a run and, upright, in the csv of ``repeat``. The other places name
    the conditions under which they show one; rotated there are accuracy and error only. Averaged: the class of the
    probability averaged over fixed poses.
    """

    key: str  # in files
    name: str  # in a sentence
    short: str  # at the head of a column
    formula: Callable[[Any], Any]  # what it takes and gives is a matter of the interval: see ``MEASURES``
    interval: str = POSTERIOR
    unit: str = ""  # "%" for what is computed as a fraction
    decimals: int = 3
    larger_is_better: bool = True
    has_temperature: bool = False  # whether a temperature of the softmax changes it
    on_console: Sequence[str] = ()
    side_by_side: Sequence[str] = ()  # on the page of several runs
    in_table: Sequence[str] = ()  # of ``repeat``, Markdown and LaTeX
    in_csv: Sequence[str] = (UPRIGHT,)  # of ``repeat``

    @property
    def factor(self) -> int:
        """What a value is multiplied by to be written."""
        return 100 if self.unit == "%" else 1

    @property
    def after(self) -> str:
        """What is written after a value."""
        return self.unit and f" {self.unit}"

    def number(self, value: float) -> str:
        """Returns a value as it is written, without its unit."""
        return f"{round(self.factor * value, self.decimals) + 0.0:.{self.decimals}f}"  # + 0: no "-0.000"

    def text(self, entry: Mapping[str, Any]) -> str:
        """Returns an entry of metrics.json as it is written, with unit and interval."""
        value, ends = value_of(entry), (entry.get("low"), entry.get("high"))
        if value is None:
            return "not defined"
        interval = "" if None in ends else f" [{', '.join(map(self.number, ends))}]"
        if entry.get("calibrated") is not None:
            expected, most = map(self.number, (entry["calibrated"], entry["calibrated_high"]))
            interval = f" (of a calibrated network {expected}, rarely above {most})"
        return self.number(value) + self.after + interval

    def measure(self, of: Predictions) -> list[dict]:
        """Returns {"value", "low", "high", "interval"}: one, or one per class if the formula gives (B, K)."""
        return MEASURES[self.interval](self.formula, of)


def balanced_accuracy(of: Counts) -> np.ndarray:
    """The mean recall of the classes that are in the set, as scikit-learn has it; defined for every set."""
    recall = _divide(of.hits, of.true)
    return np.nansum(recall, axis=1) / np.isfinite(recall).sum(axis=1)


def matthews_correlation(of: Counts) -> np.ndarray:
    """The correlation of true and predicted class, -1 to 1: Gorodkin 2004, Comput. Biol. Chem. 28, 367.

    Not defined if all sources are of one class, or are classified as one: 0 / 0, which scikit-learn writes as 0.
    """
    covariance = of.total * of.hits.sum(axis=1) - (of.true * of.predicted).sum(axis=1)
    variance, variance_predicted = (of.total**2 - (n**2).sum(axis=1) for n in (of.true, of.predicted))
    return _divide(covariance, np.sqrt(np.maximum(variance * variance_predicted, 0)))


def brier_score(of: Predictions) -> tuple[np.ndarray, float, float]:
    """Squared error summed over classes (Brier 1950, Mon. Weather Rev. 78, 1); halved for two, as is usual now."""
    half = 2 if of.n_classes == 2 else 1
    if_class = (of.probs**2).sum(axis=1, keepdims=True) - 2 * of.probs + 1
    return of.squared_error / half, of.if_wrong(if_class) / half, 2 / half


def calibration_error(of: Predictions) -> float:
    """Of the most probable class, in 15 equal bins (low, high]: Guo et al. 2017, arXiv:1706.04599.

    It is biased upward for few sources.
    """
    return float(binned_gaps(of.preds == of.labels, of.probs.max(axis=1)))


def debiased_calibration_error(of: Predictions) -> float:
    """The calibration error less the mean that a calibrated network of as many sources shows.

    It is 0 on average for a calibrated network, so it may be below 0, and understates that of one far from calibrated,
    by that mean at most.
    """
    return calibration_error(of) - float(of.calibrated_errors.mean())


def f1_score(of: Counts) -> np.ndarray:
    """Of each class, (B, K); not defined for one that is neither in the set nor ever predicted."""
    return _divide(2 * of.hits, of.predicted + of.true)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)


UP = (UPRIGHT,)
SHOWN_UPRIGHT = {"on_console": UP, "side_by_side": UP, "in_table": UP}
PER_CENT = {"unit": "%", "decimals": 2}
SCORES = (
    Score(
        "accuracy",
        "accuracy",
        "accuracy",
        lambda of: (of.hits.sum(axis=1), of.total),
        WILSON,
        **PER_CENT,
        on_console=(UPRIGHT, ROTATED, AVERAGED),
        side_by_side=(UPRIGHT, ROTATED, AVERAGED),
        in_table=(UPRIGHT, ROTATED),
        in_csv=(UPRIGHT, ROTATED, AVERAGED, DROPOUT),
    ),
    Score(
        "error",
        "error",
        "error",
        lambda of: (of.total - of.hits.sum(axis=1), of.total),
        WILSON,
        **PER_CENT,
        larger_is_better=False,
        in_table=(ROTATED, AVERAGED),
        in_csv=(UPRIGHT, ROTATED, AVERAGED),
    ),
    Score("balanced_accuracy", "balanced accuracy", "balanced accuracy", balanced_accuracy, **PER_CENT, on_console=UP),
    Score("mcc", "Matthews correlation coefficient", "MCC", matthews_correlation, on_console=UP),
    Score("roc_auc", "ROC area", "ROC area", roc_influences, DELONG, **SHOWN_UPRIGHT),
    Score(
        "nll",
        "negative log-likelihood",
        "NLL",
        lambda of: (of.nll, of.if_wrong(-of.log_probs), np.inf),
        STUDENTIZED,
        unit="nats",
        larger_is_better=False,
        has_temperature=True,
        **SHOWN_UPRIGHT,
    ),
    Score(
        "brier",
        "Brier score",
        "Brier score",
        brier_score,
        STUDENTIZED,
        larger_is_better=False,
        has_temperature=True,
    ),
    Score(
        "ece",
        "expected calibration error",
        "ECE",
        calibration_error,
        CALIBRATED,
        larger_is_better=False,
        has_temperature=True,
        on_console=UP,
        side_by_side=UP,
    ),
    Score(
        "ece_debiased",
        "debiased calibration error",
        "debiased ECE",
        debiased_calibration_error,
        NONE,
        larger_is_better=False,
        has_temperature=True,
        in_table=UP,
    ),
)
BY_KEY = {score.key: score for score in SCORES}
ACCURACY, ERROR, ROC_AREA, ECE = (BY_KEY[key] for key in ("accuracy", "error", "roc_auc", "ece"))
CLASS_SCORES = (  # of each class
    Score("precision", "precision", "precision", lambda of: (of.hits, of.predicted), WILSON, unit="%", decimals=1),
    Score("recall", "recall", "recall", lambda of: (of.hits, of.true), WILSON, unit="%", decimals=1),
    Score("f1", "F1", "F1", f1_score),
)


@dataclass(frozen=True)
class Reading:
    """A score under one of the conditions of a test, as the tables show it and as metrics.json has it."""

    score: Score
    condition: str

    @property
    def key(self) -> str:
        """Its name in the files of ``repeat``."""
        return IN_KEYS[self.condition] + self.score.key

    def name(self, of_score: str) -> str:
        """Returns the score's name or short name with the condition."""
        return ", ".join(filter(None, (of_score, IN_WORDS[self.condition])))

    @property
    def heading(self) -> str:
        """The head of its column."""
        return self.name(self.score.short) + (f" ({self.score.unit})" if self.score.unit else "")

    def entry(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what metrics.json has of it; nothing if it was written before there was this score."""
        return (metrics.get(self.condition) or {}).get(self.score.key) or {}


def readings(place: Callable[[Score], Sequence[str]]) -> list[Reading]:
    """Returns what a place shows, such as ``lambda score: score.on_console``."""
    return [Reading(score, condition) for score in SCORES for condition in place(score)]


def value_of(entry: Mapping[str, Any]) -> float | None:
    """Returns the value of an entry of metrics.json, which under rotations is a mean; None if it is not defined."""
    return entry.get("value", entry.get("mean"))


def score_predictions(logits: np.ndarray, labels: np.ndarray, classes: Sequence[str], *, seed: int = 0) -> dict:
    """Returns every score of a set of predictions; JSON-able, None wherever a score is not defined.

    A score is {"value", "low", "high", "interval"}, where the last says of what kind the 95 % interval is; proportions
    (accuracy, error, precision, recall) also have a binomial "standard_error", and the calibration error has
    "calibrated" and "calibrated_high", mean and 95 % quantile of what a calibrated network would show.

    Args:
        logits: (N, K).
        labels: (N,) of 0..K-1.
        classes: K names.
        seed: of what is drawn for the intervals.
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    check_predictions(logits, labels, len(classes))
    of = Predictions(logits, labels, seed)
    confusion = of.counts.confusion[0].astype(int)
    by_class = {score.key: score.measure(of) for score in CLASS_SCORES}
    return {
        "n_sources": len(labels),
        **{score.key: score.measure(of)[0] for score in SCORES},
        "confusion": confusion.tolist(),
        "per_class": {
            name: {
                "n_sources": int(confusion[k].sum()),
                "n_missed": int(confusion[k].sum() - confusion[k, k]),
                **{key: entries[k] for key, entries in by_class.items()},
            }
            for k, name in enumerate(classes)
        },
    }
