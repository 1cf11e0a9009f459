"""Which labels a cross-validation doubts, as ``repeat --folds`` finds them."""

from __future__ import annotations

from radgal.evaluation.questions.question import Asked, Question
from radgal.figures.panels import Curve, Panel
from utils import counted

ASKED = "doubted_labels"  # where a repeat has what ``repeats.labels`` found, by recipe


def ask(asked: Asked) -> dict | None:
    """Returns how many labels are doubted, and the most doubted ones, by recipe; None of a single test."""
    return {"recipes": asked.metrics[ASKED]} if asked.metrics.get(ASKED) else None


def says(answer: dict) -> str:
    """Returns the answer in a sentence."""
    return "; ".join(
        f"{one['n_doubted']} of {counted(one['n'], 'label')} are doubted by {name}, "
        f"{counted(one['n_seeds'], 'seed')} of its folds"
        for name, one in answer["recipes"].items()
    )


def rows(answer: dict) -> list[dict]:
    """Returns a row for each of the labels that are doubted most; of a recipe that doubts none, an empty one."""
    return [
        {
            "recipe": name,
            "rank": row and row["rank"],
            "source": row and row["name"],
            "label": row and row["label_name"],
            "rather": row and row["rather"],
            "probability of the label": row and row["prob_label"],
            "of the other": row and row["prob_rather"],
        }
        for name, one in answer["recipes"].items()
        for row in one["most"] or [None]
    ]


def panels(answer: dict) -> list[Panel]:
    """Returns how little the networks believe the doubted labels, in order."""
    curves = []
    for k, (name, one) in enumerate(answer["recipes"].items()):
        if most := one["most"]:
            own = [row["prob_label"] for row in most]
            curves.append(Curve(name, [row["rank"] for row in most], own, color=k, dots=True))
    last = max((curve.x[-1] for curve in curves), default=0)
    highest = max((value for curve in curves for value in curve.y), default=0)
    axes = ("rank among the doubted labels", "probability of the label")
    return (
        [Panel("Doubted labels", *axes, curves, (0, last + 1), (0, min(1.2 * highest + 0.01, 1.01)))] if curves else []
    )


QUESTION = Question(
    key="doubted_labels",
    title="Doubted labels",
    means="Which labels to look at first: those that networks which were not trained on the source hold for wrong.",
    fails="A network is wrong more often than a label: where it errs in 2 % of the sources, most of what is doubted "
    "are its own mistakes. Look at each source before a label is changed, and never choose test labels so.",
    ask=ask,
    says=says,
    rows=rows,
    panels=panels,
    needs_labels=False,
)
