"""How well odd sources are told from the usual ones: answered from the table that ``evaluate --against`` makes.

Legend: N sources.
"""

from __future__ import annotations

import numpy as np

from radgal.evaluation.metrics import ROC_AREA
from radgal.evaluation.novelty import ODDNESS, tell_apart
from radgal.evaluation.questions.question import Asked, Question
from radgal.figures.panels import Curve, Panel
from utils import counted

MAX_POINTS = 100  # of a curve


def ask(asked: Asked) -> dict | None:
    """Returns for each set of odd sources how well each score tells them; None of a table that has no sets."""
    table = asked.table
    if "set" not in table.colnames:
        return None
    names, is_odd = np.asarray(table["set"], dtype=str), np.asarray(table["odd"], dtype=bool)
    sets = {}
    for name in dict.fromkeys(names[is_odd].tolist()):
        here = is_odd & (names == name)
        scores = {}
        for key in ODDNESS:
            if key in table.colnames:
                usual, odd = (np.asarray(table[key], dtype=float)[rows] for rows in (~is_odd, here))
                scores[key] = tell_apart(usual, odd) | {"curve": _curve(usual, odd)}
        sets[name] = {"n": int(here.sum()), "scores": scores}
    return {"usual": {"name": str(names[~is_odd][0]), "n": int((~is_odd).sum())}, "sets": sets}


def _curve(usual: np.ndarray, odd: np.ndarray) -> dict[str, list[float]]:
    """Returns a ROC curve: which share of the usual and of the odd sources is above each threshold."""
    from sklearn.metrics import roc_curve

    labels = np.repeat([0, 1], [len(usual), len(odd)])
    false, true, _ = roc_curve(labels, np.concatenate([usual, odd]))
    rows = np.unique(np.linspace(0, len(false) - 1, min(len(false), MAX_POINTS)).round().astype(int))
    return {"usual": false[rows].tolist(), "odd": true[rows].tolist()}


def says(answer: dict) -> str:
    """Returns the answer in a sentence."""
    of_sets = []
    for name, one in answer["sets"].items():
        areas = ", ".join(f"{key} {ROC_AREA.text(of['roc_auc'])}" for key, of in one["scores"].items())
        of_sets.append(f"{name} ({one['n']}): {areas}")
    usual = answer["usual"]
    return f"ROC areas against {counted(usual['n'], 'source')} of {usual['name']}; " + "; ".join(of_sets)


def rows(answer: dict) -> list[dict]:
    """Returns a row for each set and score."""
    return [
        {
            "set": name,
            "sources": one["n"],
            "score": ODDNESS[key],
            "ROC area": of["roc_auc"]["value"],
            "area from": of["roc_auc"]["low"],
            "area to": of["roc_auc"]["high"],
            "odd ones that pass with 95 % of the usual": of["fpr95"]["value"],
            "pass from": of["fpr95"]["low"],
            "pass to": of["fpr95"]["high"],
        }
        for name, one in answer["sets"].items()
        for key, of in one["scores"].items()
    ]


def panels(answer: dict) -> list[Panel]:
    """Returns the ROC curves of all scores, one pair of axes for each set."""
    return [
        Panel(
            f"{name} ({one['n']}) against {answer['usual']['name']} ({answer['usual']['n']})",
            "share of the usual sources above the threshold",
            "share of the odd sources above it",
            [
                Curve(f"{key}, area {of['roc_auc']['value']:.3f}", of["curve"]["usual"], of["curve"]["odd"], color=k)
                for k, (key, of) in enumerate(one["scores"].items())
            ],
            (-0.01, 1.01),
            (-0.01, 1.01),
            diagonal=True,
        )
        for name, one in answer["sets"].items()
    ]


QUESTION = Question(
    key="odd_sources",
    title="Sources unlike those of the training",
    means="How well a score warns of sources that are none of the network's classes, or hardly any: a ROC area of 0.5 "
    "is chance, and of the odd sources that pass a threshold which 95 % of the usual ones pass, fewer are better.",
    fails="What was not among the sets asked may pass with a high probability; a score that is chosen for being best "
    "here looks better than it is; no threshold carries over to another survey.",
    ask=ask,
    says=says,
    rows=rows,
    panels=panels,
    needs_labels=False,
)
