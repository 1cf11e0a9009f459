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
from radgal.evaluation.metrics import Reading, readings, value_of
from radgal.figures.plots import save_learning_curves
from radgal.files.tables import write_table
from radgal.repeats import tables
from radgal.repeats.differences import bootstrap_difference, mcnemar
from utils import UserError, atomic_write, write_json

COSTS = ("parameters", "multiply_adds", "seconds_per_epoch", "minutes")
PARTS = {"test": "repeat", "validation": "validation"}
"""What runs were compared by -> the stem of the files that say so."""


def in_csv() -> list[Reading]:
    """Returns the scores that are collected from every run."""
    return readings(lambda score: score.in_csv)


def collect_run(
    config: str,
    seed: int,
    metrics: Mapping[str, Any],
    table: Any,
    history: Sequence[Mapping[str, Any]],
    *,
    parameters: int | None = None,
    multiply_adds: int | None = None,
    fold: int | None = None,
    chose_epoch: bool = False,
) -> dict:
    """Returns one finished run in the form that :func:`summarize` reads.

    Args:
        config: name of the config.
        seed: of the run.
        metrics, table: as ``evaluate.evaluate_test`` returns them, or read back from metrics.json and sources.csv.
        history: a row per epoch.
        parameters, multiply_adds: of the network, the latter per image.
        fold: from 0, for cross-validation.
        chose_epoch: whether the kept epoch was chosen by these very sources.
    """
    rotated = metrics["rotated"]
    seconds = [row["seconds"] for row in history if row.get("seconds") is not None]
    return {
        "config": config,
        "seed": int(seed),
        "fold": fold,
        "names": [str(name) for name in table["name"]],
        "labels": [int(label) for label in table["label"]],
        "preds": [int(pred) for pred in table["pred"]],
        "rotated_accuracy": [float(value) for value in table["rotated_accuracy"]],
        "classes": list(metrics["classes"]),
        "tested": {
            "rotations": rotated["n_rotations"],
            "mc_samples": metrics["mc_dropout"]["mc_samples"],
            "seed": metrics["seed"],
        },
        "scores": {one.key: value_of(one.entry(metrics)) for one in in_csv()},
        "missed": {name: one["mean"] for name, one in rotated["missed_per_class"].items()},
        "history": [dict(row) for row in history],
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "seconds_per_epoch": float(np.median(seconds)) if seconds else None,
        "minutes": sum(seconds) / 60 if seconds else None,
        "chose_epoch": chose_epoch,
    }


def merge_folds(runs: Sequence[dict]) -> list[dict]:
    """Returns the runs with the folds of each (config, seed) put together to one run over all sources.

    Scores are means over folds, weighted by their test sources; missed sources and histories are those of all folds.

    Raises:
        UserError: if the folds of a config and seed test a source twice.
    """
    merged, groups = [], {}
    for run in runs:
        groups.setdefault((run["config"], run["seed"]), []).append(run)
    for (config, seed), folds in groups.items():
        folds = sorted(folds, key=lambda run: run["fold"] or 0)
        names = [name for run in folds for name in run["names"]]
        if len(set(names)) != len(names):
            raise UserError(f"{config}, seed {seed}: its folds test some sources more than once; train it again")
        weights = np.array([len(run["names"]) for run in folds], dtype=float)
        joined = {
            key: [x for run in folds for x in run[key]] for key in ("names", "labels", "preds", "rotated_accuracy")
        }
        merged.append(
            folds[0]
            | joined
            | {
                "scores": {key: _weighted(folds, key, weights) for key in folds[0]["scores"]},
                "missed": {name: sum(run["missed"][name] for run in folds) for name in folds[0]["missed"]},
                "histories": [run["history"] for run in folds],
                **{
                    key: mean_and_sd([run.get(key) for run in folds])["mean"]
                    for key in ("seconds_per_epoch", "minutes")
                },
                "n_folds": len(folds),
            }
        )
    return merged


def _weighted(runs: Sequence[dict], key: str, weights: np.ndarray) -> float | None:
    values = [run["scores"][key] for run in runs]
    return None if None in values else float(np.average(values, weights=weights))


def summarize(runs: Sequence[dict], seed: int = 0, *, part: str = "test") -> dict:
    """Returns means and spreads per config, and the paired differences between configs; JSON-able.

    Those compared by validation each stand beside the first; those that were tested, each beside each.

    A spread is the standard deviation over seeds (k - 1), None for one seed. ``binomial_error`` is what so few
    sources leave open whatever the number of seeds.

    Args:
        runs: as :func:`collect_run` makes them, any number of configs and seeds.
        seed: of the bootstrap.
        part: 'test' or 'validation', whose sources each seed may draw anew.

    Raises:
        UserError: if there are no runs, a run is there twice, configs have different seeds, or runs were tested on
            different sources or in different ways.
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
        "pairs": [_compare(a, b, by_config, seed) for a, b in pairs],
    }


def _config_names(runs: Sequence[dict]) -> list[str]:
    return list(dict.fromkeys(run["config"] for run in runs))


def check_runs(runs: Sequence[dict], part: str = "test") -> None:
    """Raises a UserError if the runs cannot be paired by seed and source, as :func:`summarize` says."""
    if not runs:
        raise UserError("there is no finished run to summarize")
    seeds = {run["config"]: sorted(one["seed"] for one in runs if one["config"] == run["config"]) for run in runs}
    keys = [(run["config"], run["seed"]) for run in runs]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise UserError(f"{min(twice)[0]} with seed {min(twice)[1]} is there more than once")
    first = runs[0]
    for config, own in seeds.items():
        if own != seeds[first["config"]]:
            raise UserError(
                f"{config} was trained with seeds {own}, {first['config']} with {seeds[first['config']]}: differences "
                "are paired by seed, so give both the same"
            )
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


def by_source(runs: Sequence[dict], key: str) -> np.ndarray:
    """Returns what each run has of each source, (k, N), NaN where a run does not have it."""
    place = {name: i for i, name in enumerate(sorted({name for run in runs for name in run["names"]}))}
    values = np.full((len(runs), len(place)), np.nan)
    for row, run in zip(values, runs, strict=True):
        row[[place[name] for name in run["names"]]] = run[key]
    return values


def _summarize_config(name: str, runs: Sequence[dict], n: int) -> dict:
    scores = {one.key: mean_and_sd([run["scores"].get(one.key) for run in runs]) for one in in_csv()}
    error = 1 - scores["accuracy"]["mean"]
    return {
        "config": name,
        "n_seeds": len(runs),
        "seeds": sorted(run["seed"] for run in runs),
        "scores": scores,
        "binomial_error": binomial_error(error * n, n),
        "missed": {key: mean_and_sd([run["missed"][key] for run in runs]) for key in runs[0]["missed"]},
        **{key: mean_and_sd([run.get(key) for run in runs])["mean"] for key in COSTS},
        "chose_epoch": any(run.get("chose_epoch") for run in runs),
    }


def _compare(a: str, b: str, by_config: Mapping[str, Sequence[dict]], seed: int) -> dict:
    """The accuracy of b less that of a, upright and rotated, on the same sources."""
    one, two = by_config[a], by_config[b]
    seeds = [run["seed"] for run in one]
    hits = [by_source(runs, "preds") == by_source(runs, "labels") for runs in (one, two)]
    there = np.isfinite(by_source(one, "labels"))
    return {
        "a": a,
        "b": b,
        "paired_seeds": seeds,
        "upright": bootstrap_difference(*(np.where(there, hit, np.nan) for hit in hits), seed=seed),
        "rotated": bootstrap_difference(*(by_source(runs, "rotated_accuracy") for runs in (one, two)), seed=seed),
        "mcnemar": [{"seed": s, **mcnemar(hits[0][i][there[i]], hits[1][i][there[i]])} for i, s in enumerate(seeds)],
    }


def write_repeat(folder: str | Path, runs: Sequence[dict], seed: int = 0, *, part: str = "test") -> dict:
    """Writes repeat.md, .tex, .csv and .json, learning_curves.png and, of several configs, repeat_pairs.csv.

    Runs that are compared by validation are written to validation.md and so on.

    Args:
        folder: where to write.
        runs: as :func:`collect_run` makes them; those with a fold are put together first.
        seed: of the bootstrap.
        part: 'test' or 'validation'.

    Returns:
        What :func:`summarize` returns, the content of repeat.json.
    """
    from astropy.table import Table

    folder, summary, stem = Path(folder), summarize(runs, seed, part=part), PARTS[part]
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
