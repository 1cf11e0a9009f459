"""What the test, the rotation test and the equivariance test of a run found, as plain values for the report.

Legend: N sources, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radgal.evaluation import metrics
from radgal.evaluation.gallery import choose_sources
from radgal.evaluation.scorer import roc_curves
from radgal.files.tables import column_name
from radgal.report.charts import make_chart, make_series
from radgal.report.runviews import clean, kept_epoch, kept_row, number, score, training_seconds, upright_scores
from radgal.report.savedrun import SavedRun, to_float
from utils import format_duration


def scores(run: SavedRun) -> dict[str, Any] | None:
    """Returns the tables of final numbers: of the whole test set, of each class, of dropout and calibration."""
    upright = upright_scores(run)
    if not upright:
        return None
    mc, rotated, temperature = (run.metrics.get(key) for key in ("mc_dropout", "rotated", "temperature"))
    scaled = temperature["scaled"] if temperature else {}
    rows = [
        {
            "name": of.name[0].upper() + of.name[1:],
            "key": of.key,
            "upright": score(of, upright.get(of.key)),
            "mc": score(of, mc.get(of.key)) if mc else None,
            "scaled": score(of, scaled.get(of.key))["value"],
        }
        for of in metrics.SCORES
    ]
    per_class = [
        {
            "name": clean(name),
            "n": number(one["n_sources"], 0),
            "missed": number(one["n_missed"], 0),
            "rotated": number(rotated["missed_per_class"][name]["mean"], 2) if rotated else None,
            "scores": [score(of, one.get(of.key)) for of in metrics.CLASS_SCORES],
        }
        for name, one in upright["per_class"].items()
    ]
    n = upright["n_sources"]
    by_kind: dict[str, list[str]] = {}
    for of, row in zip(metrics.SCORES, rows, strict=True):
        if row["upright"]["low"]:
            by_kind.setdefault(row["upright"]["interval"], []).append(of.name)
    return {
        "intervals": "; ".join(f"{kind} for {', '.join(names)}" for kind, names in by_kind.items() if kind),
        "smaller_is_better": ", ".join(of.name for of in metrics.SCORES if not of.larger_is_better),
        "rows": rows,
        "class_scores": [of.name[0].upper() + of.name[1:] for of in metrics.CLASS_SCORES],
        "per_class": per_class,
        "mc_samples": mc and mc["mc_samples"],
        "entropies": mc and [
            (label, number(mc[f"mean_{key}"], 4, 1, " nats"))
            for label, key in (
                ("predictive entropy", "predictive_entropy"),
                ("of it from the data", "expected_entropy"),
                ("of it from the model (mutual information)", "mutual_information"),
            )
        ],
        "temperature": temperature and number(temperature["temperature"], 3),
        "one_source": f"{100 / n:.2f} %",
        "standard_error": number(upright["error"].get("standard_error"), 2, 100, " %"),
    }  # fmt: skip


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
    unit = (-0.01, 1.01)
    return make_chart(title, alt, series, xlabel="false positive rate", ylabel="true positive rate",
                      x_range=unit, y_range=unit, diagonal=True, shape="square")  # fmt: skip


def reliability(run: SavedRun) -> dict[str, Any] | None:
    """Returns the reliability diagram with the table of its bins."""
    bins = upright_scores(run).get("reliability")
    if not bins:
        return None
    edges = [(one["low"], one["high"]) for one in bins]
    ece, accuracy = upright_scores(run)["ece"]["value"], [one["accuracy"] for one in bins]
    series = [
        make_series("accuracy in the bin", edges, accuracy, 0, "bars"),
        make_series("mean confidence", [one["confidence"] for one in bins], accuracy, 1, "dots"),
    ]
    chart = make_chart(
        "Reliability",
        f"Accuracy against confidence in {len(bins)} bins; expected calibration error {ece:.4f}.",
        series,
        xlabel="confidence of the predicted class", ylabel="accuracy", x_range=(0, 1.02), y_range=(0, 1.03),
        diagonal=True, shape="square",
    )  # fmt: skip
    rows = [
        [f"{one['low']:.2f} to {one['high']:.2f}", number(one["n"], 0)]
        + [number(one[key], 3) for key in ("confidence", "accuracy")]
        for one in bins
    ]
    return {"chart": chart, "rows": rows}


def gallery(run: SavedRun) -> dict[str, Any] | None:
    """Returns the misclassified and the most uncertain test sources, each with all that is known of it."""
    if not run.sources:
        return None
    classes = run.metrics.get("classes") or sorted({row["label_name"] for row in run.sources})
    probs = [[float(row[column_name("prob", name)]) for name in classes] for row in run.sources]
    correct = [row["correct"] == "True" for row in run.sources]
    entropy = [float(row["predictive_entropy"]) for row in run.sources]
    wrong, uncertain = choose_sources(correct, [max(p) for p in probs], entropy)
    cards = {i: _source(run, run.sources[i], classes) for i in sorted({*wrong, *uncertain})}
    return {
        "n_wrong": correct.count(False), "n": len(correct), "cards": cards,
        "groups": [{"title": "Misclassified", "rows": wrong}, {"title": "Most uncertain", "rows": uncertain}],
    }  # fmt: skip


def _source(run: SavedRun, row: Mapping[str, str], classes: Sequence[str]) -> dict[str, Any]:
    ra, dec = to_float(row.get("ra_deg")), to_float(row.get("dec_deg"))
    facts = [
        ("position (J2000)", "not in the name" if ra is None or dec is None else sexagesimal(ra, dec)),
        ("RA, Dec", None if ra is None or dec is None else f"{ra:.4f}°, {dec:+.4f}°"),
        ("redshift", row.get("redshift")),
        ("largest angular size", row.get("las_arcsec") and f"{row['las_arcsec']}″"),
        ("predictive entropy", number(row.get("predictive_entropy"), 4, 1, " nats")),
        ("mutual information", number(row.get("mutual_information"), 4, 1, " nats")),
        ("right under random rotations", number(row.get("rotated_accuracy"), 0, 100, " %")),
    ]
    probabilities = [
        {"name": clean(name), "prob": number(row[column_name("prob", name)], 3),
         "mc": number(row.get(column_name("mc_prob", name)), 3),
         "percent": f"{100 * float(row[column_name('prob', name)]):.1f}"}
        for name in classes
    ]  # fmt: skip
    return {
        "name": clean(row["name"]),
        "key": row["name"],
        "true": clean(row["label_name"]),
        "predicted": clean(row["pred_name"]),
        "correct": row["correct"] == "True",
        "entropy": number(row["predictive_entropy"], 3),
        "position": facts[0][1],
        "facts": [(label, value) for label, value in facts if value not in (None, "")],
        "probabilities": probabilities,
        "has_image": row["name"] in run.images,
    }


def sexagesimal(ra_deg: float, dec_deg: float) -> str:
    """Returns a position as hours, minutes, seconds and degrees, minutes, seconds."""
    tenths = round(ra_deg / 15 * 36000) % (24 * 36000)
    seconds = round(abs(dec_deg) * 3600)
    sign = "−" if dec_deg < 0 else "+"
    return (
        f"{tenths // 36000:02d}h{tenths // 600 % 60:02d}m{tenths % 600 / 10:04.1f}s "
        f"{sign}{seconds // 3600:02d}°{seconds // 60 % 60:02d}′{seconds % 60:02d}″"
    )


def rotation(run: SavedRun) -> dict[str, Any] | None:
    """Returns the rotation test: mean overlap by angle, how two runs compare, the sources that depend on it most."""
    if not run.rotation_sources:
        return None
    charts = []
    if run.rotation_poses:
        series = []
        for k, (key, label) in enumerate((("overlap_index", "as published"), ("overlap_index_reflected", "corrected"))):
            by_angle: dict[float, list[float]] = {}
            for row in run.rotation_poses:
                if row["flip"] != "True":
                    by_angle.setdefault(float(row["angle_deg"]), []).append(float(row[key]))
            angles = sorted(by_angle)
            series.append(make_series(label, angles, [float(np.mean(by_angle[angle])) for angle in angles], k))
        chart = make_chart(
            "Mean overlap index by angle", "Mean over sources of the overlap index at each rotation angle.", series,
            xlabel="rotation (degrees, counter-clockwise)", ylabel="mean overlap index", y_zero=True,
            x_step=_angle_step(angles),
        )  # fmt: skip
        charts = [chart] if chart else []
    order = sorted(run.rotation_sources, key=lambda row: -float(row["overlap_index"]))
    means = {
        key: float(np.mean([float(row[key]) for row in order])) for key in ("overlap_index", "overlap_index_reflected")
    }
    rows = [
        {"name": clean(row["name"]), "key": row["name"], "true": clean(row["label_name"]),
         "cells": [number(row["overlap_index"], 3), number(row["overlap_index_reflected"], 3),
                   number(row["predictive_entropy"], 3), number(row["frac_correct"], 0, 100, " %")]}
        for row in order[:10]
    ]  # fmt: skip
    comparisons = [
        {"index": "as published" if key == "overlap_index" else "corrected",
         "run": clean(one["run"]), "other": clean(one["other"]),
         "cells": [number(one[f"n_{kind}"], 0) for kind in ("improved", "worsened", "unchanged")],
         "threshold": f"{one['threshold']:g}"}
        for key, one in run.rotation_compare.items()
    ]  # fmt: skip
    return {
        "n": number(len(order), 0), "many": len(run.metrics.get("classes", ())) > 2,
        "charts": charts, "rows": rows, "comparisons": comparisons,
        "mean": number(means["overlap_index"], 4), "mean_corrected": number(means["overlap_index_reflected"], 4),
    }  # fmt: skip


def _angle_step(angles: Sequence[float]) -> float:
    """Returns steps for the axis that angles are read from: divisors of a right angle where there are many."""
    span = max(angles) - min(angles)
    return 90 if span > 180 else 45 if span > 160 else 20 if span >= 60 else max(span / 4, 1)


def equivariance(run: SavedRun) -> dict[str, Any] | None:
    """Returns the equivariance errors: by angle, and as a table."""
    if not run.equivariance_summary:
        return None
    charts = []
    names = list(dict.fromkeys(row["model"] for row in run.equivariance))
    for key, title in (
        ("equivariance_error", "Trunk: equivariance error"),
        ("invariance_error", "Logits: invariance error"),
    ):
        series = []
        for k, name in enumerate(names):
            rows = [row for row in run.equivariance if row["model"] == name and row["flip"] == "False"]
            series.append(make_series(clean(name, 40), [float(row["angle_deg"]) for row in rows],
                                      [to_float(row[key]) for row in rows], k))  # fmt: skip
        chart = make_chart(title, f"{title} against the angle of rotation, for {len(names)} networks.", series,
                           xlabel="rotation (degrees)", ylabel="relative error", y_zero=True, x_step=90)  # fmt: skip
        charts += [chart] if chart else []
    rows = [
        {"name": clean(row["model"], 60), "poses": clean(row["poses"]),
         "cells": [_scientific(row["equivariance_error_max"]), _scientific(row["invariance_error_max"]),
                   number(row["frac_preds_changed_max"], 0, 100, " %")]}
        for row in run.equivariance_summary
    ]  # fmt: skip
    return {"charts": charts, "rows": rows}


def _scientific(text: str) -> dict | None:
    value = to_float(text)
    return None if value is None else {"text": f"{value:.2g}", "value": repr(value)}


def comparison_columns() -> list[str]:
    """Returns the heads of the columns in the table of several runs."""
    scores = [one.name(one.score.short) for one in _side_by_side()]
    return [*scores, "validation error", "parameters", "kept epoch", "time (h:m:s)"]


def comparison_cells(run: SavedRun) -> list[dict[str, Any]]:
    """Returns a run's cells in the table of several, a cell for each of :func:`comparison_columns`."""
    row, seconds = kept_row(run), training_seconds(run)
    accuracy = to_float(row.get("test_accuracy")) if row else None
    alone = (
        number(None if accuracy is None else 1 - accuracy, 2, 100, " %"),
        number(run.environment.get("trainable_parameters"), 0),
        number(kept_epoch(run), 0),
        None if seconds is None else {"text": format_duration(seconds), "value": repr(seconds)},
    )
    scores = [score(one.score, one.entry(run.metrics)) for one in _side_by_side()]
    return scores + [{"value": value, "low": None, "high": None, "sd": None} for value in alone]


def _side_by_side() -> list[metrics.Reading]:
    return metrics.readings(lambda of: of.side_by_side)
