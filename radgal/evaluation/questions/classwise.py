"""Whether the probability of each class, and the entropy, mean what they say: calibration beyond the likeliest class.

Legend: N sources, K classes, B draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from radgal.evaluation.intervals import CONFIDENCE, proportion
from radgal.evaluation.probabilities import entropy
from radgal.evaluation.questions.question import Asked, Question
from radgal.evaluation.scorer import N_BINS, N_CALIBRATED, binned_gaps, confidence_bins, positive_classes
from radgal.figures.panels import Curve, Panel


def classwise_errors(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the calibration error of each class (..., K): in 15 equal bins of its probability, not of the largest.

    The mean over bins, weighted by sources, of |share of the class - mean probability of the class|; the mean over
    classes is the classwise ECE of Kull et al. 2019, arXiv:1910.12656. Of two classes both errors are the same, but for
    sources that lie on the edge of a bin.

    Args:
        probs: (N, K).
        labels: (..., N) of 0..K-1.
    """
    classes = range(probs.shape[1])
    return np.stack([binned_gaps((labels == k).astype(float), probs[:, k]) for k in classes], axis=-1)


def uncertainty_error(probs: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Returns the uncertainty calibration error (...): in 15 equal bins of H / ln K, |error - mean of H / ln K|.

    Laves et al. 2019, arXiv:1909.13550. It is not 0 of a calibrated network, however many sources there are: an entropy
    is no probability of a mistake. (Of two classes with 0.9 and 0.1, H / ln 2 is 0.47, the error 0.1.)

    Args:
        probs: (N, K), means over dropout passes.
        wrong: (..., N).
    """
    return binned_gaps(wrong, normalized_entropy(probs))


def normalized_entropy(probs: np.ndarray) -> np.ndarray:
    """Returns H / ln K, 0 to 1, (N,)."""
    return np.clip(entropy(probs) / math.log(probs.shape[1]), 0, 1)


def labels_of_calibrated(probs: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Yields labels (b, N), 1000 rows in all, of a world in which each class is as frequent as the network says.

    Consistency resampling: Broecker & Smith 2007, Weather Forecast. 22, 651.
    """
    ends, rng = np.cumsum(probs, axis=1)[:, :-1], np.random.default_rng(seed)
    size = max(1, min(N_CALIBRATED, 1_000_000 // len(probs)))
    for start in range(0, N_CALIBRATED, size):
        drawn = rng.random((min(size, N_CALIBRATED - start), len(probs)))
        yield sum((drawn >= ends[:, k]).astype(np.int64) for k in range(ends.shape[1]))


def _beside_calibrated(value: float, drawn: np.ndarray) -> dict:
    return {
        "value": float(value),
        "calibrated": float(drawn.mean()),
        "calibrated_high": float(np.quantile(drawn, CONFIDENCE)),
    }


def _bins(x: np.ndarray, hits: np.ndarray) -> list[dict]:
    """Returns of each bin of x that is not empty the mean of x and the share of hits with Wilson's interval."""
    where = confidence_bins(x)
    return [
        {"x": float(x[where == b].mean()), **proportion(hits[where == b].sum(), n), "n": n}
        for b in range(N_BINS)
        if (n := int((where == b).sum()))
    ]


def ask(asked: Asked) -> dict:
    """Returns the calibration errors by class and of the entropy, each beside that of a calibrated network."""
    probs, labels, seed = asked.probs, asked.labels, asked.metrics["seed"]
    drawn = np.concatenate([classwise_errors(probs, some) for some in labels_of_calibrated(probs, seed)])
    found = classwise_errors(probs, labels)
    mixed = asked.of_classes("mc_prob")
    preds, unsure = mixed.argmax(axis=1), normalized_entropy(mixed)
    wrong = np.concatenate([uncertainty_error(mixed, preds != some) for some in labels_of_calibrated(mixed, seed)])
    shown = positive_classes(len(asked.classes))
    bins = _bins(unsure, preds != labels)
    expected = _bins(unsure, 1 - mixed.max(axis=1))
    return {
        "classwise_ece": _beside_calibrated(found.mean(), drawn.mean(axis=1)),
        "per_class": {
            name: _beside_calibrated(found[k], drawn[:, k])
            | {"n": int((labels == k).sum()), "bins": _bins(probs[:, k], labels == k) if k in shown else None}
            for k, name in enumerate(asked.classes)
        },
        "uce": _beside_calibrated(uncertainty_error(mixed, preds != labels), wrong)
        | {"bins": [one | {"calibrated": e["value"]} for one, e in zip(bins, expected, strict=True)]},
    }


def _text(one: dict) -> str:
    value, expected, most = (f"{one[key]:.3f}" for key in ("value", "calibrated", "calibrated_high"))
    return f"{value} (of a calibrated network {expected}, rarely above {most})"


def says(answer: dict) -> str:
    """Returns the answer in a sentence."""
    return f"classwise ECE {_text(answer['classwise_ece'])}; uncertainty calibration error {_text(answer['uce'])}"


def rows(answer: dict) -> list[dict]:
    """Returns a row for each class, for all of them, and for the entropy."""
    named = [(f"probability of {name}", one) for name, one in answer["per_class"].items()]
    named += [("mean over classes", answer["classwise_ece"]), ("entropy (UCE)", answer["uce"])]
    return [
        {
            "calibration error of": name,
            "value": one["value"],
            "calibrated network": one["calibrated"],
            "rarely above": one["calibrated_high"],
        }
        for name, one in named
    ]


def panels(answer: dict) -> list[Panel]:
    """Returns the reliability of each class, of two that of the last, and the error against the entropy."""
    shown = [(k, name, one["bins"]) for k, (name, one) in enumerate(answer["per_class"].items()) if one["bins"]]
    bins = answer["uce"]["bins"]
    x = [one["x"] for one in bins]
    calibrated = Curve("expected of a calibrated network", x, [one["calibrated"] for one in bins], color=1)
    return [
        Panel(
            "Reliability by class",
            "probability of the class",
            "share of the class",
            [_dots(name, bins, k) for k, name, bins in shown],
            (0, 1.02),
            (0, 1.03),
            diagonal=True,
        ),
        Panel(
            "Error against entropy",
            "entropy over its largest value, ln K",
            "error",
            [calibrated, _dots("bins, 95 % interval", bins, 0)],
            (0, 1.02),
            (0, 1.03),
            diagonal=True,
        ),
    ]


def _dots(label: str, bins: list[dict], color: int) -> Curve:
    x, y, ends = [b["x"] for b in bins], [b["value"] for b in bins], [(b["low"], b["high"]) for b in bins]
    return Curve(label, x, y, ends, color, dots=True)


QUESTION = Question(
    key="classwise_calibration",
    title="Calibration by class",
    means="Whether sources that are given a class with probability p are of that class in a share p of cases, for each "
    "class, and whether the entropy over dropout passes follows the error.",
    fails="Few sources make every error positive, so compare with the calibrated network beside it; the entropy is no "
    "probability of a mistake, so its error is far from 0 of a calibrated network, too.",
    ask=ask,
    says=says,
    rows=rows,
    panels=panels,
)
