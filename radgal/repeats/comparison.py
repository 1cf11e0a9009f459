"""The same configs with several seeds: one table of means and spreads, and how sure their differences are.

Legend: k seeds, N sources.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radgal.evaluation.intervals import binomial_error, mean_and_sd
from radgal.evaluation.metrics import AVERAGED, ROTATED, UPRIGHT
from radgal.evaluation.questions.listed import answers_of, ask_all
from radgal.figures.plots import save_learning_curves
from radgal.files.tables import write_table
from radgal.repeats import tables
from radgal.repeats.collect import COSTS, in_csv, merge_folds
from radgal.repeats.differences import mean_interval, paired_difference
from radgal.repeats.place import PARTS
from utils import UserError, atomic_write, write_json


def summarize(runs: Sequence[dict], *, part: str = "test") -> dict:
    """Returns means and spreads per config, and the paired differences between configs; JSON-able.

    Those compared by validation each stand beside the first; those that were tested, each beside each.

    A spread is the standard deviation over seeds (k - 1), None for one seed. ``accuracy_over`` has the mean accuracies
    with their intervals over seeds and sources. ``binomial_error`` is what so few sources leave open whatever the
    number of seeds.

    Args:
        runs: as :func:`radgal.repeats.collect.collect_run` makes them, any number of configs and seeds.
        part: 'test' or 'validation', whose sources each seed may draw anew.

    Raises:
        UserError: if there are no runs, a run is there twice, or runs were tested on different sources or in
            different ways.
    """
    for run in runs:
        if run["tested"] != runs[0]["tested"]:
            raise UserError(
                f"{run['config']}, seed {run['seed']}, was tested with {run['tested']}, {runs[0]['config']}, seed "
                f"{runs[0]['seed']}, with {runs[0]['tested']}: run evaluate on one of them again, with equal options"
            )
    runs = merge_folds(runs) if any(run["fold"] is not None for run in runs) else list(runs)
    check_runs(runs, part)
    by_config = {
        name: sorted((run for run in runs if run["config"] == name), key=lambda run: run["seed"])
        for name in _config_names(runs)
    }
    n = len(runs[0]["names"])
    names = list(by_config)
    pairs = itertools.combinations(names, 2) if part == "test" else ((names[0], name) for name in names[1:])
    return {
        "part": part,
        "n_sources": n,
        "n_different": len({name for run in runs for name in run["names"]}),
        "n_folds": runs[0].get("n_folds"),
        "n_rotations": runs[0]["tested"]["rotations"],
        "configs": [_summarize_config(name, own, n) for name, own in by_config.items()],
        "pairs": [_compare(a, b, by_config) for a, b in pairs],
    }


def _config_names(runs: Sequence[dict]) -> list[str]:
    return list(dict.fromkeys(run["config"] for run in runs))


def check_runs(runs: Sequence[dict], part: str = "test") -> None:
    """Raises a UserError if the runs cannot be paired by seed and source, as :func:`summarize` says."""
    if not runs:
        raise UserError("there is no finished run to summarize")
    keys = [(run["config"], run["seed"]) for run in runs]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise UserError(f"{min(twice)[0]} with seed {min(twice)[1]} is there more than once")
    first = runs[0]
    verb = "tested" if part == "test" else "validated"
    for run in runs:
        like = first if part == "test" else next(one for one in runs if one["seed"] == run["seed"])
        ours, theirs = (dict(zip(one["names"], one["labels"], strict=True)) for one in (run, like))
        if ours.keys() != theirs.keys() or len(run["names"]) != len(like["names"]):
            raise UserError(
                f"{run['config']}, seed {run['seed']}, was {verb} on other sources than {like['config']}, seed "
                f"{like['seed']}; only runs on one version of one data set can share a table"
            )
        if ours != theirs:
            raise UserError(f"{run['config']}, seed {run['seed']}: labels differ from those of {like['config']}")


def successes(runs: Sequence[dict]) -> dict[str, np.ndarray]:
    """Returns how far each run has each source right, (k, N) in [0, 1] by condition; NaN where a run lacks a source."""
    place = {name: i for i, name in enumerate(sorted({name for run in runs for name in run["names"]}))}
    found = {}
    for condition in (UPRIGHT, ROTATED, AVERAGED):
        if condition != ROTATED and any(run[condition] is None for run in runs):
            continue
        values = found[condition] = np.full((len(runs), len(place)), np.nan)
        for row, run in zip(values, runs, strict=True):
            if condition == ROTATED:
                right = run["rotated_accuracy"]
            else:
                right = np.argmax(run[condition], axis=1) == np.array(run["labels"])
            row[[place[name] for name in run["names"]]] = right
    return found


def _summarize_config(name: str, runs: Sequence[dict], n: int) -> dict:
    scores = {one.key: mean_and_sd([run["scores"].get(one.key) for run in runs]) for one in in_csv()}
    error = 1 - scores["accuracy"]["mean"]
    return {
        "config": name,
        "n_seeds": len(runs),
        "seeds": sorted(run["seed"] for run in runs),
        "scores": scores,
        "accuracy_over": {condition: mean_interval(y) for condition, y in successes(runs).items()},
        "binomial_error": binomial_error(error * n, n),
        "missed": {key: mean_and_sd([run["missed"][key] for run in runs]) for key in runs[0]["missed"]},
        **{key: mean_and_sd([run.get(key) for run in runs])["mean"] for key in COSTS},
        "chose_epoch": any(run.get("chose_epoch") for run in runs),
    }


def _compare(a: str, b: str, by_config: Mapping[str, Sequence[dict]]) -> dict:
    """The accuracy of b less that of a, by condition, on the same sources."""
    one, two = (successes(by_config[name]) for name in (a, b))
    both = [condition for condition in one if condition in two]
    differences = {condition: paired_difference(one[condition], two[condition]) for condition in both}
    return {"a": a, "b": b, "n_seeds": min(len(by_config[name]) for name in (a, b))} | differences


def write_repeat(folder: str | Path, runs: Sequence[dict], *, part: str = "test") -> dict:
    """Writes repeat.md, .tex, .csv and .json, learning_curves.png and, of several configs, repeat_pairs.csv.

    Runs that are compared by validation are written to validation.md and so on.

    Args:
        folder: where to write.
        runs: as :func:`radgal.repeats.collect.collect_run` makes them; those with a fold are put together first.
        part: 'test' or 'validation'.

    Returns:
        What :func:`summarize` returns, the content of repeat.json but for what :func:`add_answers` adds.
    """
    from astropy.table import Table

    folder, summary, stem = Path(folder), summarize(runs, part=part), PARTS[part]
    (folder / f"{stem}_pairs.csv").unlink(missing_ok=True)  # of more configs, earlier
    write_json(folder / f"{stem}.json", summary)
    for suffix, text in ((".md", tables.to_markdown(summary)), (".tex", tables.to_latex(summary))):
        with atomic_write(folder / f"{stem}{suffix}") as temporary:
            temporary.write_text(text, encoding="utf-8")
    for name, rows in ((stem, tables.config_rows(summary)), (f"{stem}_pairs", tables.pair_rows(summary))):
        if rows:
            columns = {key: ["" if row[key] is None else str(row[key]) for row in rows] for key in rows[0]}
            write_table(Table(columns), folder / f"{name}.csv")
    histories = {name: [run["history"] for run in runs if run["config"] == name] for name in _config_names(runs)}
    save_learning_curves(folder / "learning_curves.png", histories)
    return summary


def add_answers(folder: str | Path, summary: Mapping, **found: Any) -> list[str]:
    """Writes what surveys ask of a repeat into its repeat.json; returns a line for each answer.

    Args:
        folder: of the repeat.
        summary: what :func:`write_repeat` returned.
        found: by the ``ASKED`` of :mod:`radgal.evaluation.questions.learning` and ``doubted``.
    """
    from astropy.table import Table

    answers = {"questions": ask_all({"part": summary["part"], **found}, Table())}
    write_json(Path(folder, f"{PARTS[summary['part']]}.json"), {**summary, **answers})
    return [f"{question.title.lower()}: {question.says(answer)}" for question, answer in answers_of(answers)]
