"""Whether sets of classes hold the true class as often as they promise, and how large they are.

Legend: N sources, K classes.
"""

from __future__ import annotations

import numpy as np

from radgal.evaluation.conformal import COVERAGES, sets_of
from radgal.evaluation.intervals import proportion
from radgal.evaluation.questions.question import Asked, Question
from radgal.figures.panels import Curve, Panel

COVERAGE = 0.9
IN_TABLE = (0.8, COVERAGE, 0.95)


def ask(asked: Asked) -> dict | None:
    """Returns for each promised coverage that of each class, and the sizes of the sets; None without calibration."""
    calibration = asked.metrics.get("calibration")
    if not calibration:
        return None
    return {
        "on": calibration["on"],
        "n_calibration": dict(zip(asked.classes, calibration["n_by_class"], strict=True)),
        "sets": [_answer(asked, calibration["limits"][str(coverage)], coverage) for coverage in COVERAGES],
    }


def _answer(asked: Asked, limits: list[float | None], coverage: float) -> dict:
    labels = asked.labels
    found = sets_of(asked.probs, limits)
    right, sizes = found[np.arange(len(labels)), labels], found.sum(axis=1)
    return {
        "coverage": coverage,
        "always": [name for name, limit in zip(asked.classes, limits, strict=True) if limit is None],
        "per_class": {
            name: proportion(right[labels == k].sum(), int((labels == k).sum())) for k, name in enumerate(asked.classes)
        },
        "size": float(sizes.mean()),
        "empty": float((sizes == 0).mean()),
        "one": float((sizes == 1).mean()),
    }


def says(answer: dict) -> str:
    """Returns the answer in a sentence."""
    one = next(one for one in answer["sets"] if one["coverage"] == COVERAGE)
    held = ", ".join(
        "no test sources of " + name
        if entry["value"] is None
        else f"{100 * entry['value']:.1f} % [{100 * entry['low']:.1f}, {100 * entry['high']:.1f}] of {name}"
        for name, entry in one["per_class"].items()
    )
    always = "" if not one["always"] else f"; too few calibration sources of {', '.join(one['always'])}: always in"
    return (
        f"sets for {100 * COVERAGE:.0f} % hold the class of {held}; {one['size']:.2f} classes on average, "
        f"{100 * one['one']:.0f} % of the sets have one{always} (calibrated on {answer['on']})"
    )


def rows(answer: dict) -> list[dict]:
    """Returns a row for each promised coverage and class."""
    return [
        {
            "promised": one["coverage"],
            "class": name,
            "calibration sources": answer["n_calibration"][name],
            "held": entry["value"],
            "low": entry["low"],
            "high": entry["high"],
            "mean set size": one["size"],
            "sets of one": one["one"],
            "empty sets": one["empty"],
        }
        for one in answer["sets"]
        if one["coverage"] in IN_TABLE
        for name, entry in one["per_class"].items()
    ]


def panels(answer: dict) -> list[Panel]:
    """Returns the coverage of each class, and the mean size of the sets, against what was promised."""
    x, classes = [one["coverage"] for one in answer["sets"]], list(answer["n_calibration"])
    held = []
    for k, name in enumerate(classes):
        entries = [one["per_class"][name] for one in answer["sets"]]
        held.append(Curve(name, x, [e["value"] for e in entries], [(e["low"], e["high"]) for e in entries], k))
    size = Curve("mean over test sources", x, [one["size"] for one in answer["sets"]])
    return [
        Panel("Coverage by class", "promised coverage", "part whose class is held", held, (0.45, 1), (0.3, 1.03), True),
        Panel("Size of the sets", "promised coverage", "classes in a set", [size], (0.45, 1), (0, len(classes) + 0.1)),
    ]


QUESTION = Question(
    key="conformal_sets",
    title="Conformal sets by class",
    means="Instead of one class a source gets all that cannot be ruled out: of every class, the promised part of the "
    "sources has its class in its set, however good the network is.",
    fails="The promise holds for sources drawn as the calibration sources were, and on average over draws of those; it "
    "says nothing of sources of no class that the network knows. An empty set means that none fits.",
    ask=ask,
    says=says,
    rows=rows,
    panels=panels,
)
