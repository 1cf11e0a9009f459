"""What more training sources would bring: error against their number, with its spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radgal.figures.style import color_of, legend_below, new_figure, save_figure, spared, style
from radgal.files.tables import write_table
from radgal.repeats.plan import Recipe


def write_train_sizes(folder: Path, recipes: Sequence[Recipe], runs: Sequence[dict], summary: Mapping) -> str:
    """Writes train_sizes.csv and train_sizes.png; returns their names.

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
        save_train_sizes(folder / "train_sizes.png", rows, summary["part"])
    return "train_sizes.csv, train_sizes.png"


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


def save_train_sizes(path: Path, rows: Sequence[Mapping[str, Any]], part: str) -> None:
    """Draws the rows of :func:`size_rows`; ``part`` is whose error it is, 'test' or 'validation'."""
    figure = new_figure(6.0, 4.2)
    axes = style(figure.add_subplot(), "", "training sources", f"{part} error (%)")
    for k, name in enumerate(sorted({row["recipe"] for row in rows})):
        own = [row for row in rows if row["recipe"] == name]
        sizes = [row["n_train"] for row in own]
        error, sd = (100 * np.array([row[key] or 0.0 for row in own]) for key in ("error", "sd"))
        label = f"{name} ({own[0]['n_seeds']} seed{'s' * (own[0]['n_seeds'] != 1)})"
        axes.errorbar(sizes, error, sd, color=color_of(k), marker="o", markersize=4, capsize=3, label=label)
    sizes = sorted({row["n_train"] for row in rows})
    axes.set_xscale("log")
    axes.set_xticks(sizes, list(map(str, sizes)))
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    legend_below(figure, axes, "mean and standard deviation over seeds")
    save_figure(figure, path)
