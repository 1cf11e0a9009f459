"""Whether large, near or bright sources are classified better: answered by ``evaluation.trends``.

Legend: N sources.
"""

from __future__ import annotations

import numpy as np

from radgal.evaluation.questions.question import Asked, Question
from radgal.evaluation.trends import QUANTITIES, accuracy_trends
from radgal.figures.panels import Curve, Panel


def ask(asked: Asked) -> dict | None:
    """Returns the accuracy in bins of each quantity that is known of the sources, and its trend; None: none is."""
    known = {
        key: np.ma.filled(np.ma.asarray(asked.table[key], dtype=float), np.nan)
        for key in QUANTITIES
        if key in asked.table.colnames
    }
    return accuracy_trends(asked.probs.argmax(axis=1) == asked.labels, known) or None


def says(answer: dict) -> str:
    """Returns the answer in a sentence."""
    asked = [one for one in answer.values() if one["p"] is not None]
    if not asked:
        return "too few sources are wrong, or right, to see a trend"
    least = min(asked, key=lambda one: one["p"])
    value, low, high = (f"{least['odds_ratio'][key]:.2f}" for key in ("value", "low", "high"))
    return (
        f"of {len(asked)} quantities the trend of {least['name']} is the clearest: odds of being right times {value} "
        f"[{low}, {high}] for twice as much, p = {least['p_holm']:.2g} after Holm's correction"
    )


def rows(answer: dict) -> list[dict]:
    """Returns a row for each bin of each quantity; the trend, for twice as much of it, stands in the first."""
    found = []
    for one in answer.values():
        for k, part in enumerate(one["bins"]):
            accuracy, ratio = part["accuracy"], (one["odds_ratio"] or {}) if k == 0 else {}
            found.append(
                {
                    "quantity": one["name"],
                    "from": part["low"],
                    "to": part["high"],
                    "sources": part["n"],
                    "accuracy": accuracy["value"],
                    "low": accuracy["low"],
                    "high": accuracy["high"],
                    "odds ratio": ratio.get("value"),
                    "ratio low": ratio.get("low"),
                    "ratio high": ratio.get("high"),
                    "p (Holm)": one["p_holm"] if k == 0 else None,
                }
            )
    return found


def panels(answer: dict) -> list[Panel]:
    """Returns the accuracy against each quantity: a dot for each bin, at the middle one of its sources."""
    found = []
    for one in answer.values():
        bins = one["bins"]
        counts = ", ".join(str(part["n"]) for part in bins)
        dots = Curve(
            f"bins of {counts} sources",
            [part["median"] for part in bins],
            [part["accuracy"]["value"] for part in bins],
            [(part["accuracy"]["low"], part["accuracy"]["high"]) for part in bins],
            dots=True,
        )
        lowest, (first, *_, last) = min(part["accuracy"]["low"] for part in bins), dots.x
        x_range = (first - 0.06 * (last - first), last + 0.06 * (last - first))
        p = "" if one["p_holm"] is None else f", p = {one['p_holm']:.2g}"
        found.append(
            Panel(f"{one['name']}{p}", one["name"], "accuracy", [dots], x_range, (max(0, lowest - 0.05), 1.02))
        )
    return found


QUESTION = Question(
    key="trends",
    title="Accuracy against size, redshift and brightness",
    means="Whether the network is right more often for some kinds of sources: accuracy in quarters of them, and what "
    "the odds of being right are multiplied by where a source has twice as much of something.",
    fails="A few mistakes show strong trends only; quantities go together (near sources are large), so none is a "
    "cause; images are scaled to their brightest pixel, so brightness is known only against noise and peak.",
    ask=ask,
    says=says,
    rows=rows,
    panels=panels,
)
