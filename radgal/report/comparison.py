"""Several runs side by side, as plain values for the report: what differs, and how sure a difference of scores is.

Runs are compared on the sources that they were all tested on, which are found by name, never by place in a file.

Legend: N common sources, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radgal.evaluation import metrics
from radgal.evaluation.metrics import AVERAGED, BY_KEY, ROTATED, UPRIGHT
from radgal.evaluation.results import doubt_of_area
from radgal.files.tables import column_name
from radgal.repeats.paired import compare_networks, mcnemar
from radgal.report import questionviews, resultviews, runviews
from radgal.report.differing import differences
from radgal.report.savedrun import SavedRun
from radgal.report.thumbnails import encode_source, field_of
from radgal.report.values import attempt, clean, number, p_value
from utils import counted

MAX_CARDS = 24  # of sources on which the runs disagree
MAX_ROWS = 200  # of the table of those


@dataclass(frozen=True)
class Common:
    """What runs say of the sources that all were tested on.

    Args:
        names: N of them.
        labels: (N,).
        classes: K names.
        answers: of each run: ``upright`` and perhaps ``averaged`` probabilities (N, K), ``rotated`` successes (N,).
        n_tested: of each run, how many sources it was tested on.
    """

    names: Sequence[str]
    labels: np.ndarray
    classes: Sequence[str]
    answers: Sequence[Mapping[str, np.ndarray]]
    n_tested: Sequence[int]

    @property
    def predictions(self) -> np.ndarray:
        """(runs, N) upright."""
        return np.array([one[UPRIGHT].argmax(axis=1) for one in self.answers])

    @property
    def are_all(self) -> bool:
        """Whether all runs were tested on the same sources."""
        return set(self.n_tested) == {len(self.names)}


def names_of(runs: Sequence[SavedRun]) -> list[str]:
    """Returns what the runs are called: by their names or, those of one name, by as much of their folder as it takes.

    So the seeds of one config are config_mb_lenet/seed_0 and config_mb_lenet/seed_1, not one name with numbers.
    """
    names = [clean(run.name, 60) for run in runs]
    found = list(names)
    for i, name in enumerate(names):
        others = [runs[k].folder.resolve().parts for k, other in enumerate(names) if other == name and k != i]
        parts = runs[i].folder.resolve().parts
        if others:
            n = next((n for n in range(1, len(parts)) if all(one[-n:] != parts[-n:] for one in others)), len(parts))
            found[i] = clean("/".join(parts[-n:]), 200)
    return [name if found.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(found)]


def compare_runs(runs: Sequence[SavedRun], names: Sequence[str], pages: Sequence[str]) -> dict[str, Any]:
    """Returns all that the page says of several runs.

    Args:
        names: what they are called.
        pages: files with the pages of the single runs, beside this one.
    """
    columns, rows = resultviews.comparison_columns(), []
    for name, page, run in zip(names, pages, runs, strict=True):
        cells, _ = attempt(resultviews.comparison_cells, run)  # the run's own page tells what is malformed
        words = [runviews.network(run)] if run.config else []
        row = {"name": name, "page": page, "words": ", ".join([*words, runviews.dataset(run)])}
        rows.append(row | {"folder": clean(run.folder.as_posix()), "cells": cells or [None] * len(columns)})
    common, problem = attempt(common_sources, runs)
    pairs = [compare_pair(common, k, names) for k in range(1, len(runs))] if common else []
    differing, _ = attempt(differences, runs)
    return {
        "names": names,
        "columns": columns,
        "rows": rows,
        "differing": differing or [],
        "without_config": [name for name, run in zip(names, runs, strict=True) if not run.config],
        "without_pairs": problem,
        "doubts": [f"{name}: {doubt}" for name, run in zip(names, runs, strict=True) if (doubt := _doubt(run))],
        "note": _note(common, names) if common else None,
        "n_common": len(common.names) if common else 0,
        "pairs": pairs,
        "disagreements": _disagreements(runs, common, names) if common else None,
        "confusions": _confusions(runs, names),
        "questions": attempt(questionviews.of_repeat, runs)[0],
        "charts": _charts(runs, names),
    }


def _doubt(run: SavedRun) -> str | None:
    """Returns what is odd about the test of a run, in a sentence."""
    return attempt(doubt_of_area, run.metrics)[0] if run.metrics.get("upright") else None


def common_sources(runs: Sequence[SavedRun]) -> Common:
    """Returns what the runs say of the sources that all were tested on, by name.

    Raises:
        ValueError: if there is nothing to compare, with the reason.
    """
    classes = list(map(str, runs[0].metrics.get("classes") or ()))
    for run in runs:
        if not run.sources or not run.metrics.get("upright"):
            raise ValueError(f"{clean(run.folder.as_posix())} holds no scores of single sources")
        if list(map(str, run.metrics["classes"])) != classes:
            raise ValueError(f"{clean(run.folder.as_posix())} tells other classes apart")
    tables = [{row["name"]: row for row in run.sources} for run in runs]
    if any(len(table) < len(run.sources) for table, run in zip(tables, runs, strict=True)):
        raise ValueError("several sources of a test have the same name")
    first, *others = tables
    names = [
        name
        for name, row in first.items()
        if all(name in table and table[name]["label_name"] == row["label_name"] for table in others)
    ]
    if not names:
        raise ValueError("no source was tested by all of these runs")
    labels = np.array([classes.index(first[name]["label_name"]) for name in names])
    answers = [_answers([table[name] for name in names], classes) for table in tables]
    return Common(names, labels, classes, answers, [len(table) for table in tables])


def _answers(rows: Sequence[Mapping[str, str]], classes: Sequence[str]) -> dict[str, np.ndarray]:
    found = {}
    for condition, prefix in ((UPRIGHT, "prob"), (AVERAGED, "averaged_prob")):
        columns = [column_name(prefix, name) for name in classes]
        if all(column in rows[0] for column in columns):
            found[condition] = np.array([[float(row[column]) for column in columns] for row in rows])
    if rows[0].get("rotated_accuracy"):
        found[ROTATED] = np.array([float(row["rotated_accuracy"]) for row in rows])
    if not all(np.isfinite(values).all() for values in found.values()):
        raise ValueError("sources.csv holds probabilities that are no numbers")
    return found


def _note(common: Common, names: Sequence[str]) -> str | None:
    """Returns in a sentence that the runs were tested on different sources, if so."""
    if common.are_all:
        return None
    tested = ", ".join(f"{name} on {n}" for name, n in zip(names, common.n_tested, strict=True))
    return (
        f"Tested were {tested}. {counted(len(common.names), 'source')} of the same name and class are in all of these "
        "tests: the paired differences below are of those alone."
    )


def compare_pair(common: Common, k: int, names: Sequence[str]) -> dict[str, Any]:
    """Returns how run k differs from the first."""
    a, b = common.answers[0], common.answers[k]
    found, _ = attempt(compare_networks, a, b, common.labels)
    rows = []
    for (condition, key), entry in (found or {}).items():
        of = BY_KEY[key]
        ends = {end: number(entry[end], of.decimals, of.factor, sign=True) for end in ("low", "high")}
        value = number(
            entry["difference"], of.decimals, of.factor, " points" if of.unit == "%" else of.after, sign=True
        )
        better = None
        if None not in (entry["low"], entry["high"]) and entry["low"] * entry["high"] > 0:
            better = names[k] if (entry["low"] > 0) == of.larger_is_better else names[0]
        rows.append(
            {
                "name": metrics.Reading(of, condition).name(of.name),
                "value": value,
                **ends,
                "calibrated": None,
                "p": p_value(entry["p"]),
                "better": better,
            }
        )
    right = [common.predictions[i] == common.labels for i in (0, k)]
    counts = mcnemar(*right)
    cells = [number(counts[name], 0) for name in ("both", "only_a", "only_b", "neither")]
    return {"first": names[0], "other": names[k], "rows": rows, "counts": cells, "p": p_value(counts["p"])}


def _disagreements(runs: Sequence[SavedRun], common: Common, names: Sequence[str]) -> dict[str, Any]:
    """Returns the sources that the runs call by different classes, with images; the largest differences first."""
    predictions = common.predictions
    probs = np.stack([one[UPRIGHT] for one in common.answers])
    apart = np.flatnonzero((predictions != predictions[0]).any(axis=0))
    by_size = apart[np.argsort(-np.ptp(probs, axis=0).max(axis=1)[apart], kind="stable")].tolist()
    rows = []
    for n, i in enumerate(by_size[:MAX_ROWS]):
        answers = [
            {
                "run": name,
                "class": clean(common.classes[called]),
                "prob": number(probs[k, i, called], 3),
                "correct": bool(called == common.labels[i]),
            }
            for k, (name, called) in enumerate(zip(names, predictions[:, i].tolist(), strict=True))
        ]
        rows.append(
            {"name": clean(common.names[i]), "true": clean(common.classes[common.labels[i]]), "answers": answers}
        )
        if n < MAX_CARDS:
            rows[-1] |= _picture(runs, common.names[i])
    return {"n": len(apart), "n_cards": min(len(apart), MAX_CARDS), "rows": rows}


def _picture(runs: Sequence[SavedRun], name: str) -> dict[str, Any]:
    """Returns the image of a source from a run that saved it, with its field."""
    run = next((run for run in runs if name in run.images), None)
    if run is None:
        return {"image": None, "field": None}
    return {"image": encode_source(run.images[name]), "field": field_of(run.images[name], runviews.pixel_scale(run))}


def _confusions(runs: Sequence[SavedRun], names: Sequence[str]) -> list[dict[str, Any]]:
    found = [(name, attempt(resultviews.confusion, run)[0]) for name, run in zip(names, runs, strict=True)]
    return [{"name": name, **one} for name, one in found if one]


def _charts(runs: Sequence[SavedRun], names: Sequence[str]) -> list[dict[str, Any]]:
    roc_lines = []
    for i, (name, run) in enumerate(zip(names, runs, strict=True)):
        lines, _ = attempt(resultviews.roc_series, run, name, i)
        roc_lines += lines[:1] if lines and len(run.metrics.get("classes", ())) == 2 else []
    charts, _ = attempt(runviews.epoch_charts, dict(zip(names, runs, strict=True)))
    roc = resultviews.roc_chart("ROC curves", "Receiver operating characteristics of the runs.", roc_lines)
    return [*(charts or []), *([roc] if roc else [])]
