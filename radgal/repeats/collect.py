"""One finished run as the tables read it, and the folds of a seed put together to one run.

Legend: N sources, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radgal.evaluation.intervals import mean_and_sd
from radgal.evaluation.metrics import (
    AVERAGED,
    DROPOUT,
    ROTATED,
    UPRIGHT,
    Reading,
    readings,
    score_predictions,
    value_of,
)
from radgal.files.tables import column_name
from utils import UserError

COSTS = ("parameters", "multiply_adds", "seconds_per_epoch", "minutes")
PROBABILITIES = {UPRIGHT: "prob", DROPOUT: "mc_prob", AVERAGED: "averaged_prob"}
"""Condition of a test -> the prefix of its columns in the table of sources."""
BY_SOURCE = ("labels", "rotated_accuracy", *PROBABILITIES)


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
        **columns(table, metrics["classes"]),
        "classes": list(metrics["classes"]),
        "tested": tested_with(metrics),
        "scores": {one.key: value_of(one.entry(metrics)) for one in in_csv()},
        "missed": {name: one["mean"] for name, one in rotated["missed_per_class"].items()},
        "history": [dict(row) for row in history],
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "seconds_per_epoch": float(np.median(seconds)) if seconds else None,
        "minutes": sum(seconds) / 60 if seconds else None,
        "chose_epoch": chose_epoch,
    }


def columns(table: Any, classes: Sequence[str]) -> dict[str, Any]:
    """Returns what a table of sources says of each: its name, its label and what the network said of it."""
    return {
        "names": [str(name) for name in table["name"]],
        "labels": [int(label) for label in table["label"]],
        **{condition: _probabilities(table, prefix, classes) for condition, prefix in PROBABILITIES.items()},
        "rotated_accuracy": [float(value) for value in table["rotated_accuracy"]],
    }


def tested_with(metrics: Mapping[str, Any]) -> dict[str, int]:
    """Returns the options of ``evaluate`` that a run was tested with."""
    return {
        "rotations": metrics["rotated"]["n_rotations"],
        "mc_samples": metrics["mc_dropout"]["mc_samples"],
        "seed": metrics["seed"],
    }


def _probabilities(table: Any, prefix: str, classes: Sequence[str]) -> list[list[float]] | None:
    """Returns the (N, K) probabilities of a table of sources; None if it is older than they are."""
    columns = [column_name(prefix, name) for name in classes]
    if not set(columns) <= set(table.colnames):
        return None
    return np.stack([np.asarray(table[column], dtype=float) for column in columns], axis=1).tolist()


def merge_folds(runs: Sequence[dict]) -> list[dict]:
    """Returns the runs with the folds of each (config, seed) put together to one run over all sources.

    Scores are of the probabilities of all folds together; accuracies under rotations are means over sources, missed
    sources sums, costs means over folds.

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
        joined = {
            key: None if any(run[key] is None for run in folds) else [x for run in folds for x in run[key]]
            for key in ("names", *BY_SOURCE)
        }
        merged.append(
            folds[0]
            | joined
            | {
                "scores": pooled_scores(joined, folds[0]["classes"]),
                "missed": {name: sum(run["missed"][name] for run in folds) for name in folds[0]["missed"]},
                "histories": [run["history"] for run in folds],
                **{key: mean_and_sd([run.get(key) for run in folds])["mean"] for key in COSTS},
                "n_folds": len(folds),
            }
        )
    return merged


def pooled_scores(sources: Mapping[str, Any], classes: Sequence[str]) -> dict[str, float | None]:
    """Returns the scores of sources, as :func:`columns` gives them, by the names of :func:`in_csv`."""
    accuracy = float(np.mean(sources["rotated_accuracy"]))
    metrics = {ROTATED: {"accuracy": {"mean": accuracy}, "error": {"mean": 1 - accuracy}}}
    for condition in PROBABILITIES:
        if sources[condition] is not None:
            metrics[condition] = scores_of(sources[condition], sources["labels"], classes)
    return {one.key: value_of(one.entry(metrics)) for one in in_csv()}


def scores_of(probs: Sequence[Sequence[float]], labels: Sequence[int], classes: Sequence[str]) -> dict[str, Any]:
    """Returns the scores of (N, K) probabilities."""
    # log of a probability that underflowed to 0 would be infinite
    return score_predictions(np.log(np.maximum(probs, np.finfo(np.float64).tiny)), np.array(labels), classes)
