"""The figures of a run for a paper: drawn anew from its saved files, by the functions that drew them at first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from radgal.evaluation.results import save_evaluation_figures
from radgal.evaluation.rotation import IMPROVED_BY
from radgal.evaluation.scorer import roc_curves
from radgal.figures.panels import save_panels
from radgal.figures.plots import save_learning_curves, save_roc, save_training_curves
from radgal.figures.poseplots import Overlaps, save_comparison, save_equivariance
from radgal.figures.style import COLUMNS, on_paper
from radgal.files.tables import column_name
from radgal.progress import progress
from radgal.report.paper.tables import typed
from radgal.report.questionviews import answered
from radgal.report.runviews import kept_epoch
from radgal.report.savedrun import SavedRun, to_float
from radgal.report.values import attempt
from radgal.runs.files import RunFile

CAPTIONS = {
    "loss": "Cross-entropy by epoch; the kept epoch is marked.",
    "error": "Error by epoch; the kept epoch is marked.",
    "confusion": "Confusion matrix of the upright test images; shades are fractions of a row.",
    "roc": "Receiver operating characteristic of the upright test images.",
    "reliability": "Accuracy against confidence in bins, with 95 per cent intervals, and the sources in each bin.",
    "equivariance": "Relative errors of equivariance and invariance by angle.",
    "rotation_compare": "Mean overlap index of each source in two runs, and its changes in order.",
    "learning_curves": "Validation loss and error of the runs by epoch.",
    "roc_curves": "Receiver operating characteristics of the runs on their test sources.",
}


def draw_all(drawings: Mapping[str, Callable[[Path], Any]], folder: Path) -> tuple[list[str], list[str]]:
    """Draws figures in the widths of all columns, each width in a folder of its own.

    Args:
        drawings: by a name, what draws figures into a folder, or raises if the saved files do not hold what it needs.
        folder: where to.

    Returns:
        The stems of the figures, and what could not be drawn, a line each.
    """
    problems: dict[str, None] = {}
    for column in COLUMNS:
        (folder / column).mkdir(parents=True, exist_ok=True)
    kinds = dict.fromkeys(column.rpartition("_")[2] for column in COLUMNS)
    for kind, name in progress(list(product(kinds, drawings)), "drawing the figures", quiet=False):
        columns = [column for column in COLUMNS if column.endswith(kind)]
        with on_paper(*columns):
            _, problem = attempt(drawings[name], folder / columns[0])
        if problem:
            problems[f"{name} is not drawn, its files hold something unexpected: {problem}"] = None
    return sorted({path.stem for path in (folder / next(iter(COLUMNS))).glob("*.pdf")}), list(problems)


def drawings_of(run: SavedRun) -> dict[str, Callable[[Path], Any]]:
    """Returns what draws the figures that the files of a run have the numbers of."""
    found: dict[str, Callable[[Path], Any]] = {}
    if run.history:
        found["training"] = lambda place: draw_training(run, place)
    if run.metrics.get("upright") and run.sources:
        found["test"] = lambda place: save_evaluation_figures(run.metrics, typed(run.sources), place)
    for question, answer in answered(run):
        if attempt(question.panels, answer) == ([], None):
            continue  # nothing was found that could be drawn
        found[question.key] = lambda place, q=question, a=answer: save_panels(place / f"{q.key}.png", q.panels(a))
    if run.equivariance:
        found["equivariance"] = lambda place: draw_equivariance(run, place)
    if run.rotation_changes and run.rotation_sources:
        found["rotation_compare"] = lambda place: draw_rotation_changes(run, place)
    return found


def draw_training(run: SavedRun, place: Path) -> None:
    """Draws loss and error by epoch."""
    history = [{key: to_float(cell) for key, cell in row.items()} for row in run.history]
    save_training_curves(history, kept_epoch(run), RunFile.LOSS.at(place), RunFile.ERROR.at(place))


def draw_equivariance(run: SavedRun, place: Path) -> None:
    """Draws the errors by angle."""
    curves = {}
    for name in dict.fromkeys(row["model"] for row in run.equivariance):
        rows = [row for row in run.equivariance if row["model"] == name and row["flip"] == "False"]
        curves[name] = {
            key: np.array([np.nan if (value := to_float(row[key])) is None else value for row in rows])
            for key in ("angle_deg", "equivariance_error", "invariance_error")
        }
        curves[name]["is_element"] = np.array([row["is_element"] == "True" for row in rows])
    save_equivariance(RunFile.EQUIVARIANCE_PNG.at(place), curves)


def draw_rotation_changes(run: SavedRun, place: Path) -> None:
    """Draws how the mean overlap index of each source changed against another run."""
    label_of = {row["name"]: row["label_name"] for row in run.rotation_sources}
    rows = [row for row in run.rotation_changes if row["name"] in label_of]
    classes = sorted(set(label_of.values()))
    ours, theirs = (np.array([float(row[key]) for row in rows]) for key in ("overlap_index", "overlap_index_other"))
    labels = np.array([classes.index(label_of[row["name"]]) for row in rows])
    one = run.rotation_compare.get("overlap_index") or {}
    names = (str(one.get("run", run.name)), str(one.get("other", "other run")))
    shown = Overlaps(ours, theirs, names, labels, classes, to_float(one.get("threshold")) or IMPROVED_BY)
    save_comparison(RunFile.ROTATION_COMPARE_PNG.at(place), shown)


def drawings_of_several(runs: Sequence[SavedRun], names: Sequence[str]) -> dict[str, Callable[[Path], Any]]:
    """Returns what draws several runs into one figure."""
    histories = {
        name: [[{key: to_float(cell) for key, cell in row.items()} for row in run.history]]
        for name, run in zip(names, runs, strict=True)
        if run.history
    }
    curves = {}
    for name, run in zip(names, runs, strict=True):
        if run.sources and len(run.metrics.get("classes") or ()) == 2:
            table = typed(run.sources)
            columns = [column_name("prob", one) for one in run.metrics["classes"]]
            probs = np.stack([np.asarray(table[column], dtype=float) for column in columns], axis=1)
            of_two = roc_curves(np.asarray(table["label"]), probs)  # one curve, or none if the test lacks a class
            curves |= dict(zip([name], of_two.values(), strict=False))
    found: dict[str, Callable[[Path], Any]] = {}
    if histories:
        found["learning_curves"] = lambda place: save_learning_curves(place / "learning_curves.png", histories)
    if curves:
        found["roc_curves"] = lambda place: save_roc(place / "roc_curves.png", "", curves)
    return found
