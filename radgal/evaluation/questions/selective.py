"""How many mistakes are left if the network may say "I do not know": error against the share that it answers.

Legend: N sources, K classes.
"""

from __future__ import annotations

import math

import numpy as np

from radgal.evaluation.intervals import proportion
from radgal.evaluation.questions.question import Asked, Question
from radgal.figures.panels import Curve, Panel

COVERAGE = 0.9  # at which the error is given first
IN_TABLE = (1.0, 0.95, COVERAGE, 0.8, 0.7, 0.5)
MAX_POINTS = 200  # of the curve


def mistakes_kept(probs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mistakes among the k surest sources, and the confidence of the k-th, for k = 1 to N: each (N,).

    The confidence is the largest probability. Of sources that are equally sure none comes first: each counts as the
    share of them that is wrong, so a number of mistakes need not be whole.

    Args:
        probs: (N, K).
        labels: (N,) of 0..K-1.
    """
    confidence, wrong = probs.max(axis=1), (probs.argmax(axis=1) != labels).astype(float)
    levels, level_of = np.unique(-confidence, return_inverse=True)
    share = np.bincount(level_of, weights=wrong) / np.bincount(level_of)
    order = np.sort(level_of)
    return np.cumsum(share[order]), -levels[order]


def area_under_risk(mistakes: np.ndarray) -> tuple[float, float]:
    """Returns AURC and excess AURC of the mistakes among the k surest, k = 1 to N.

    AURC is the mean over k of mistakes / k (Geifman & El-Yaniv 2017, arXiv:1705.08500), 0 without mistakes. It is
    small also for a network that errs rarely, so the excess is over the least that as many mistakes allow, all of them
    being the least sure (Geifman et al. 2019, arXiv:1805.08206): 0 if confidence puts every mistake last.
    """
    n = len(mistakes)
    kept = np.arange(1, n + 1)
    area, least = (float((wrong / kept).mean()) for wrong in (mistakes, np.maximum(0, kept - n + mistakes[-1])))
    return area, max(0.0, area - least)


def error_at(mistakes: np.ndarray, confidence: np.ndarray, coverage: float) -> dict:
    """Returns the error of the surest ``coverage`` of the sources with Wilson's interval, and the least confidence.

    The interval holds the sources that are kept as chosen beforehand.
    """
    kept = math.ceil(coverage * len(mistakes) - 1e-9)
    found = proportion(mistakes[kept - 1], kept)
    return {"coverage": coverage, "n": kept, "confidence": float(confidence[kept - 1]), **found}


def ask(asked: Asked) -> dict:
    """Returns the error at several coverages, the curve with a pointwise band, AURC and excess AURC."""
    mistakes, confidence = mistakes_kept(asked.probs, asked.labels)
    area, excess = area_under_risk(mistakes)
    n = len(mistakes)
    kept = np.unique(np.linspace(1, n, min(n, MAX_POINTS)).round().astype(int)).tolist()
    errors = [proportion(mistakes[k - 1], k) for k in kept]
    return {
        "aurc": area,
        "excess_aurc": excess,
        "at": [error_at(mistakes, confidence, coverage) for coverage in IN_TABLE],
        "curve": {
            "coverage": [k / n for k in kept],
            **{key: [one[key] for one in errors] for key in ("value", "low", "high")},
        },
    }


def says(answer: dict) -> str:
    """Returns the answer in a sentence."""
    one = next(one for one in answer["at"] if one["coverage"] == COVERAGE)
    value, low, high = (f"{100 * one[key]:.2f}" for key in ("value", "low", "high"))
    return (
        f"error {value} % [{low}, {high}] of the surest {100 * COVERAGE:.0f} % (confidence from "
        f"{one['confidence']:.3f}); AURC {answer['aurc']:.4f}, excess {answer['excess_aurc']:.4f}"
    )


def rows(answer: dict) -> list[dict]:
    """Returns a row for each coverage."""
    return [
        {
            "coverage": one["coverage"],
            "sources": one["n"],
            "confidence from": one["confidence"],
            "error": one["value"],
            "low": one["low"],
            "high": one["high"],
        }
        for one in answer["at"]
    ]


def panels(answer: dict) -> list[Panel]:
    """Returns the error against the coverage."""
    curve = answer["curve"]
    ends = list(zip(curve["low"], curve["high"], strict=True))
    line = Curve("error of the surest, pointwise 95 % band", curve["coverage"], curve["value"], ends)
    top = 1.15 * max(high for high, at in zip(curve["high"], curve["coverage"], strict=True) if at >= 0.2)
    return [Panel("Error against coverage", "coverage", "error", [line], (0, 1), (0, min(1.0, top)))]


QUESTION = Question(
    key="risk_coverage",
    title="Risk against coverage",
    means="The error that is left if the least sure sources are not answered, but looked at by people.",
    fails="The threshold of another test set, or of another survey, lies elsewhere; a curve that falls says that the "
    "order of the confidences is good, not that they are calibrated.",
    ask=ask,
    says=says,
    rows=rows,
    panels=panels,
)
