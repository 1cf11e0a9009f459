"""What more training sources would bring: error against their number, of recipes that ``repeat`` trained on fewer."""

from __future__ import annotations

from itertools import groupby

from radgal.evaluation.questions.question import Asked, Question
from radgal.figures.panels import Curve, Panel
from utils import counted

ASKED = "train_sizes"  # where a repeat has the rows


def ask(asked: Asked) -> dict | None:
    """Returns the rows of ``repeats.sizes.size_rows`` by recipe; None of a single test."""
    if not asked.metrics.get(ASKED):
        return None
    rows = sorted(asked.metrics[ASKED], key=lambda row: (row["recipe"], row["n_train"]))
    recipes = {name: list(own) for name, own in groupby(rows, lambda row: row["recipe"])}
    return {"part": asked.metrics["part"], "recipes": recipes}


def says(answer: dict) -> str:
    """Returns the answer in a sentence."""
    of_recipes = []
    for name, own in answer["recipes"].items():
        sizes = ", ".join(
            f"{100 * one['error']:.2f} % [{100 * one['low']:.2f}, {100 * one['high']:.2f}] of {one['n_train']}"
            for one in own
        )
        of_recipes.append(f"{name} ({counted(own[0]['n_seeds'], 'seed')}): {sizes}")
    return f"{answer['part'].capitalize()} error by number of training sources: " + "; ".join(of_recipes)


def rows(answer: dict) -> list[dict]:
    """Returns a row for each recipe and number of sources."""
    return [
        {
            "recipe": name,
            "training sources": one["n_train"],
            "seeds": one["n_seeds"],
            "error": one["error"],
            "sd over seeds": one["sd"],
            "low": one["low"],
            "high": one["high"],
        }
        for name, own in answer["recipes"].items()
        for one in own
    ]


def panels(answer: dict) -> list[Panel]:
    """Returns the error against the number of sources, with its intervals over seeds and sources."""
    curves, most, largest = [], 0.0, 0
    for k, (name, own) in enumerate(answer["recipes"].items()):
        sizes, errors = [one["n_train"] for one in own], [100 * one["error"] for one in own]
        ends = [(100 * one["low"], 100 * one["high"]) for one in own]
        most, largest = max(most, *(high for _, high in ends)), max(largest, *sizes)
        label = f"{name}, {counted(own[0]['n_seeds'], 'seed')}, 95 % intervals"
        curves += [Curve("", sizes, errors, color=k), Curve(label, sizes, errors, ends, color=k, dots=True)]
    title, error = "Error against training sources", f"{answer['part']} error (%)"
    return [Panel(title, "training sources", error, curves, (0, 1.05 * largest), (0, min(1.1 * most, 100) or 1.0))]


QUESTION = Question(
    key="learning_curves",
    title="Learning curves",
    means="Whether more labels would help: if the error still falls from the second largest number of training sources "
    "to the largest by more than the intervals are wide, it would.",
    fails="The number of epochs is right for one size only, since fewer sources are fewer steps in as many epochs; a "
    "curve must not be drawn on beyond its last point; the sources left out are of the same survey.",
    ask=ask,
    says=says,
    rows=rows,
    panels=panels,
    needs_labels=False,
)
