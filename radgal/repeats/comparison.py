"""The same configs with several seeds: one table of means and spreads, and how sure their differences are.

Legend: k seeds, N test sources, B bootstrap resamples.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radgal.evaluation.intervals import binomial_error, mean_and_sd, percentile_interval, resample
from radgal.evaluation.metrics import Reading, readings, value_of
from radgal.figures.plots import save_learning_curves
from radgal.files.tables import write_table
from radgal.repeats import tables
from utils import UserError, atomic_write, write_json

N_RESAMPLES = 10_000
COSTS = ("parameters", "multiply_adds", "seconds_per_epoch")


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
) -> dict:
    """Returns one finished run in the form that :func:`summarize` reads.

    Args:
        config: name of the config.
        seed: of the run.
        metrics, table: as ``evaluate.evaluate_test`` returns them, or read back from metrics.json and sources.csv.
        history: a row per epoch.
        parameters, multiply_adds: of the network, the latter per image.
        fold: from 0, for cross-validation.
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
        seconds = [run["seconds_per_epoch"] for run in folds if run["seconds_per_epoch"] is not None]
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
                "seconds_per_epoch": float(np.median(seconds)) if seconds else None,
                "n_folds": len(folds),
            }
        )
    return merged


def _weighted(runs: Sequence[dict], key: str, weights: np.ndarray) -> float | None:
    values = [run["scores"][key] for run in runs]
    return None if None in values else float(np.average(values, weights=weights))


def summarize(runs: Sequence[dict], seed: int = 0) -> dict:
    """Returns means and spreads per config, and the paired differences between configs; JSON-able.

    A spread is the standard deviation over seeds (k - 1), None for one seed. ``binomial_error`` is what so few
    sources leave open whatever the number of seeds.

    Args:
        runs: as :func:`collect_run` makes them, any number of configs and seeds.
        seed: of the bootstrap.

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
    runs = check_runs(merge_folds(runs) if any(run["fold"] is not None for run in runs) else list(runs))
    by_config = {name: [run for run in runs if run["config"] == name] for name in _config_names(runs)}
    n = len(runs[0]["names"])
    return {
        "n_sources": n,
        "n_folds": runs[0].get("n_folds"),
        "n_rotations": runs[0]["tested"]["rotations"],
        "configs": [_summarize_config(name, own, n) for name, own in by_config.items()],
        "pairs": [_compare(a, b, by_config, seed) for a, b in itertools.combinations(by_config, 2)],
    }


def _config_names(runs: Sequence[dict]) -> list[str]:
    return list(dict.fromkeys(run["config"] for run in runs))


def check_runs(runs: list[dict]) -> list[dict]:
    """Returns the runs with their sources in one common order, so that they can be paired source by source.

    Raises:
        UserError: as :func:`summarize` says.
    """
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
    place = {name: i for i, name in enumerate(first["names"])}
    aligned = []
    for run in runs:
        if set(run["names"]) != set(place) or len(run["names"]) != len(place):
            raise UserError(
                f"{run['config']}, seed {run['seed']}, was tested on other sources than {first['config']}, seed "
                f"{first['seed']}; only runs on one version of one data set can share a table"
            )
        order = np.argsort([place[name] for name in run["names"]])
        columns = ("names", "labels", "preds", "rotated_accuracy")
        run = run | {key: [run[key][i] for i in order] for key in columns}
        if run["labels"] != first["labels"]:
            raise UserError(f"{run['config']}, seed {run['seed']}: labels differ from those of {first['config']}")
        aligned.append(run)
    return aligned


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
        **{key: mean_and_sd([run[key] for run in runs])["mean"] for key in COSTS},
    }


def _compare(a: str, b: str, by_config: Mapping[str, Sequence[dict]], seed: int) -> dict:
    """The accuracy of b less that of a, upright and rotated, on the same sources."""
    one, two = (sorted(by_config[name], key=lambda run: run["seed"]) for name in (a, b))
    seeds = [run["seed"] for run in one]
    labels = np.array(one[0]["labels"])
    hits = [np.array([np.array(run["preds"]) == labels for run in runs]) for runs in (one, two)]
    rotated = [np.array([run["rotated_accuracy"] for run in runs]) for runs in (one, two)]
    return {
        "a": a,
        "b": b,
        "paired_seeds": seeds,
        "upright": bootstrap_difference(*hits, seed=seed),
        "rotated": bootstrap_difference(*rotated, seed=seed),
        "mcnemar": [{"seed": s, **mcnemar(hits[0][i], hits[1][i])} for i, s in enumerate(seeds)],
    }


def mcnemar(a: np.ndarray, b: np.ndarray) -> dict:
    """Returns the exact two-sided McNemar test of two classifiers on the same sources.

    Under the null hypothesis, of the sources that only one of the two gets right either has each with probability
    one half: McNemar 1947, Psychometrika 12, 153, in its exact, binomial form. p is 1 if there are none.

    Args:
        a, b: (N,) bool, whether each source is classified rightly.
    """
    from scipy.stats import binomtest

    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return {"only_a": only_a, "only_b": only_b, "p": p}


def bootstrap_difference(a: np.ndarray, b: np.ndarray, *, seed: int = 0, n_resamples: int = N_RESAMPLES) -> dict:
    """Returns the mean of b - a with a 95 % interval and a two-sided p, by a bootstrap over sources and seeds.

    Sources and seeds are both drawn with replacement, the same for both configs (Efron & Tibshirani 1993, An
    Introduction to the Bootstrap). With one seed only sources are drawn: the interval then holds for these very
    weights, not for the config.

    Approximate because: so few seeds understate their own spread, its variance by a factor (k - 1) / k.

    Args:
        a, b: (k, N) success of each seed and source, in [0, 1]; row by row of the same seed.

    Returns:
        ``difference``, ``low``, ``high``, ``p`` and ``resampled``, what was drawn.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    k, n = a.shape
    sources, seeds = resample(n, n_resamples, seed) / n, resample(k, n_resamples, seed + 1) / k
    drawn = ((seeds @ (b - a)) * sources).sum(axis=1)
    # Counting the observed sample as one of the draws keeps p above 0 (Davison & Hinkley 1997). Equal
    # differences up to rounding count as equal.
    below, above = (drawn <= 1e-12).sum(), (drawn >= -1e-12).sum()
    low, high = percentile_interval(drawn)
    return {
        "difference": float(b.mean() - a.mean()),
        "low": low,
        "high": high,
        "p": float(min(1.0, 2 * (1 + min(below, above)) / (1 + n_resamples))),
        "resampled": "sources and seeds" if k > 1 else "sources",
    }


def write_repeat(folder: str | Path, runs: Sequence[dict], seed: int = 0) -> dict:
    """Writes repeat.md, .tex, .csv and .json, learning_curves.png and, of several configs, repeat_pairs.csv.

    Args:
        folder: where to write.
        runs: as :func:`collect_run` makes them; those with a fold are put together first.
        seed: of the bootstrap.

    Returns:
        What :func:`summarize` returns, the content of repeat.json.
    """
    from astropy.table import Table

    folder, summary = Path(folder), summarize(runs, seed)
    (folder / "repeat_pairs.csv").unlink(missing_ok=True)  # of more configs, earlier
    write_json(folder / "repeat.json", summary)
    for suffix, text in ((".md", tables.to_markdown(summary)), (".tex", tables.to_latex(summary))):
        with atomic_write(folder / f"repeat{suffix}") as temporary:
            temporary.write_text(text, encoding="utf-8")
    for name, rows in (("repeat", tables.config_rows(summary)), ("repeat_pairs", tables.pair_rows(summary))):
        if rows:
            columns = {key: ["" if row[key] is None else str(row[key]) for row in rows] for key in rows[0]}
            write_table(Table(columns), folder / f"{name}.csv")
    histories = {name: [run["history"] for run in runs if run["config"] == name] for name in _config_names(runs)}
    save_learning_curves(folder / "learning_curves.png", histories)
    return summary
