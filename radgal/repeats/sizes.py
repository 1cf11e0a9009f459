"""What more training sources would bring: error against their number, with its spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radgal.evaluation.questions import learning
from radgal.evaluation.questions.question import Asked
from radgal.figures.panels import save_panels
from radgal.figures.style import spared
from radgal.files.tables import write_table
from radgal.repeats.plan import Recipe


def write_train_sizes(
    folder: Path, recipes: Sequence[Recipe], runs: Sequence[dict], summary: Mapping
) -> list[dict[str, Any]]:
    """Writes train_sizes.csv and train_sizes.png; returns the rows of :func:`size_rows`.

    Args:
        folder: where to write.
        recipes: of the runs; those that are others with fewer training sources stand with these on one curve.
        runs: as :func:`radgal.repeats.plan.collect` gives them.
        summary: what :func:`radgal.repeats.comparison.summarize` made of them.
    """
    from astropy.table import Table

    rows = size_rows(recipes, runs, summary)
    columns = {key: ["" if row[key] is None else str(row[key]) for row in rows] for key in rows[0]}
    write_table(Table(columns), folder / "train_sizes.csv")
    with spared(print):
        asked = Asked(Table(), {"part": summary["part"], learning.ASKED: rows})
        save_panels(folder / "train_sizes.png", learning.panels(learning.ask(asked)))
    return rows


def size_rows(recipes: Sequence[Recipe], runs: Sequence[dict], summary: Mapping) -> list[dict[str, Any]]:
    """Returns a row for each recipe and number of training sources: mean error, spread and interval.

    The number is the mean over folds and seeds; the interval of the mean is over seeds and sources.
    """
    by_name = {config["config"]: config for config in summary["configs"]}
    rows = []
    for recipe in recipes:
        config, accuracy = by_name[recipe.name], by_name[recipe.name]["accuracy_over"]["upright"]
        rows.append(
            {
                "recipe": recipe.fewer_of or recipe.name,
                "n_train": round(float(np.mean([run["n_train"] for run in runs if run["config"] == recipe.name]))),
                "n_seeds": config["n_seeds"],
                "error": 1 - config["scores"]["accuracy"]["mean"],
                "sd": config["scores"]["accuracy"]["sd"],
                "low": 1 - accuracy["high"],
                "high": 1 - accuracy["low"],
            }
        )
    return sorted(rows, key=lambda row: row["n_train"])
