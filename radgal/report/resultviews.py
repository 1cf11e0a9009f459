"""What the test of a run found, as plain values for the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radgal.evaluation import metrics
from radgal.evaluation.intervals import proportion
from radgal.evaluation.results import describe_poses, doubt_of_area
from radgal.evaluation.scorer import roc_curves
from radgal.files.tables import column_name
from radgal.report.charts import Axis, make_chart, make_series
from radgal.report.runviews import kept_epoch, kept_row, training_seconds, upright_scores
from radgal.report.savedrun import SavedRun, to_float
from radgal.report.values import clean, duration, number, score

ENTROPIES = {
    "predictive_entropy": "predictive entropy",
    "expected_entropy": "of it from the data",
    "mutual_information": "of it from dropout before the last layer (mutual information)",
}


def scores(run: SavedRun) -> dict[str, Any] | None:
    """Returns the tables of final numbers: of the whole test set, of each class, of dropout and calibration."""
    upright = upright_scores(run)
    if not upright:
        return None
    mc, averaged, temperature = (run.metrics.get(key) or {} for key in ("mc_dropout", "averaged", "temperature"))
    scaled = temperature["scaled"] if temperature else {}
    rows = [
        {
            "name": of.name[0].upper() + of.name[1:],
            "key": of.key,
            "upright": score(of, upright.get(of.key)),
            "mc": score(of, mc.get(of.key)),
            "averaged": score(of, averaged.get(of.key)),
            "scaled": score(of, scaled.get(of.key))["value"],
        }
        for of in metrics.SCORES
    ]
    return {
        "intervals": _intervals(rows),
        "smaller_is_better": ", ".join(of.name for of in metrics.SCORES if not of.larger_is_better),
        "rows": rows,
        "class_scores": [of.name for of in metrics.CLASS_SCORES],
        "per_class": _class_rows(run, upright["per_class"]),
        "mc_samples": mc["mc_samples"] if mc else None,
        "averaged_over": describe_poses(averaged) if averaged else None,
        "entropies": [(label, number(mc[f"mean_{key}"], 4, 1, " nats")) for key, label in ENTROPIES.items() if mc],
        "temperature": number(temperature["temperature"], 3) if temperature else None,
        "chose_epoch": bool(temperature.get("chose_epoch")),
        "one_source": f"{100 / upright['n_sources']:.2f} %",
        "error": score(metrics.ERROR, upright["error"]),
        "calibration": _calibration(upright, temperature) if temperature else None,
        "doubt": doubt_of_area(run.metrics),
    }


def _calibration(upright: Mapping[str, Any], temperature: Mapping[str, Any]) -> str:
    """Returns what calibrating the probabilities does, in a sentence."""
    before, after = (of["ece"] for of in (upright, temperature["scaled"]))
    return (
        f"Calibrated probabilities are those of the logits over {temperature['temperature']:.3f}, a temperature fitted "
        f"to {temperature.get('n_validation', 'the')} validation sources: the expected calibration error is "
        f"{metrics.ECE.number(before['value'])} without it and {metrics.ECE.number(after['value'])} with it."
    )


def _class_rows(run: SavedRun, per_class: Mapping[str, Any]) -> list[dict[str, Any]]:
    rotated = run.metrics.get("rotated")
    return [
        {
            "name": clean(name),
            "n": number(one["n_sources"], 0),
            "missed": number(one["n_missed"], 0),
            "rotated": number(rotated["missed_per_class"][name]["mean"], 2) if rotated else None,
            "scores": [score(of, one.get(of.key)) for of in metrics.CLASS_SCORES],
        }
        for name, one in per_class.items()
    ]


def _intervals(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns which kind of interval which scores have, in a sentence."""
    by_kind: dict[str, list[str]] = {}
    for of, row in zip(metrics.SCORES, rows, strict=True):
        if row["upright"]["low"]:
            by_kind.setdefault(row["upright"]["interval"], []).append(of.name)
    return "; ".join(f"{kind} for {', '.join(names)}" for kind, names in by_kind.items() if kind)


def confusion(run: SavedRun) -> dict[str, Any] | None:
    """Returns the confusion matrix: rows true, columns predicted; whether it is too wide for a third of the page."""
    upright = upright_scores(run)
    if not upright:
        return None
    classes, counts = [clean(name) for name in run.metrics["classes"]], upright["confusion"]
    rows = []
    for name, row in zip(classes, counts, strict=True):
        total = sum(row)
        shares = [n / total if total else 0.0 for n in row]
        cells = [
            {"number": number(n, 0), "percent": f"{100 * share:.0f} %" if total else "-", "shade": f"{share:.3f}"}
            for n, share in zip(row, shares, strict=True)
        ]
        rows.append({"name": name, "cells": cells, "total": number(total, 0)})
    return {"classes": classes, "rows": rows, "wide": len(classes) > 4}


def roc_series(run: SavedRun, label: str | None = None, color: int | None = None) -> list[dict[str, Any]]:
    """Returns the receiver operating characteristic: of the last of two classes, or of each against the rest."""
    classes = run.metrics.get("classes", [])
    labels = np.array([int(row["label"]) for row in run.sources], dtype=int)
    probs = np.array([[float(row[column_name("prob", name)]) for name in classes] for row in run.sources])
    return [
        make_series(
            label or f"{clean(classes[k])} as positive", false.tolist(), true.tolist(), k if color is None else color
        )
        for k, (false, true) in roc_curves(labels, probs.reshape(len(labels), len(classes))).items()
    ]


def roc(run: SavedRun) -> dict[str, Any] | None:
    """Returns the chart of the receiver operating characteristic."""
    upright = upright_scores(run)
    if not upright or not run.sources:
        return None
    area = upright["roc_auc"]["value"]
    words = "area not defined" if area is None else f"area {area:.4f}"
    return roc_chart("ROC curve", f"Receiver operating characteristic, {words}.", roc_series(run))


def roc_chart(title: str, alt: str, series: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Returns a square chart of true against false positive rates."""
    axes = (Axis(f"{which} positive rate", range=(-0.01, 1.01)) for which in ("false", "true"))
    return make_chart(title, alt, series, *axes, diagonal=True, shape="square")


def reliability(run: SavedRun) -> dict[str, Any] | None:
    """Returns the reliability diagram with the table of its bins."""
    bins = upright_scores(run).get("reliability")
    if not bins:
        return None
    edges = [(one["low"], one["high"]) for one in bins]
    lowest, ece = edges[0][0], upright_scores(run)["ece"]["value"]
    accuracy, confidence = ([one[key] for one in bins] for key in ("accuracy", "confidence"))
    intervals = [proportion(one["accuracy"] * one["n"], one["n"]) for one in bins]
    ends = [(x, one[end]) for x, one in zip(confidence, intervals, strict=True) for end in ("low", "high")]
    series = [
        make_series("accuracy in the bin", edges, accuracy, 0, "bars"),
        make_series("", *zip(*ends, strict=True), 1, "whiskers"),
        make_series("at the mean confidence, 95 % interval", confidence, accuracy, 1, "dots"),
    ]
    of_confidence = Axis("confidence of the predicted class", range=(lowest, 1.01))
    chart = make_chart(
        "Reliability",
        f"Accuracy against confidence in {len(bins)} bins; expected calibration error {ece:.4f}.",
        series,
        of_confidence,
        Axis("accuracy", range=(0, 1.03)),
        diagonal=True,
        shape="square",
    )
    counts = make_chart(
        "Sources in each bin",
        "Number of sources by confidence: " + ", ".join(f"{one['n']}" for one in bins) + ".",
        [make_series("", edges, [one["n"] for one in bins], 0, "bars")],
        of_confidence,
        Axis("sources", from_zero=True, step=_few(max(one["n"] for one in bins))),
        shape="low",
    )
    rows = [
        [f"{one['low']:.2f} to {one['high']:.2f}", number(one["n"], 0), number(one["confidence"], 3)]
        + [number(interval[key], 3) for key in ("value", "low", "high")]
        for one, interval in zip(bins, intervals, strict=True)
    ]
    return {"charts": [one for one in (chart, counts) if one], "rows": rows}


def _few(most: float) -> float:
    """Returns a round step that an axis from 0 needs at most three of."""
    power = 10.0 ** math.floor(math.log10(max(most, 1)))
    return next((m * power for m in (0.5, 1, 2, 5) if most <= 3 * m * power and m * power >= 1), power)


def comparison_columns() -> list[str]:
    """Returns the heads of the columns in the table of several runs."""
    scores = [one.name(one.score.short) for one in _side_by_side()]
    return [*scores, "validation error", "parameters", "kept epoch", "time (h:m:s)"]


def comparison_cells(run: SavedRun) -> list[dict[str, Any]]:
    """Returns a run's cells in the table of several, a cell for each of :func:`comparison_columns`."""
    row = kept_row(run)
    accuracy = to_float(row.get("test_accuracy")) if row else None
    alone = (
        number(None if accuracy is None else 1 - accuracy, 2, 100, " %"),
        number(run.environment.get("trainable_parameters"), 0),
        number(kept_epoch(run), 0),
        duration(training_seconds(run)),
    )
    scores = [score(one.score, one.entry(run.metrics)) for one in _side_by_side()]
    return scores + [{"value": value, "low": None, "high": None, "sd": None, "calibrated": None} for value in alone]


def _side_by_side() -> list[metrics.Reading]:
    return metrics.readings(lambda of: of.side_by_side)
