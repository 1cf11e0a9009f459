"""What turning the images does to a run, as plain values for the report: the rotation test, the equivariance errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from radgal.report.charts import Axis, make_chart, make_series
from radgal.report.savedrun import SavedRun, to_float
from radgal.report.values import clean, number, scientific

INDICES = {"overlap_index": "as published", "overlap_index_reflected": "corrected"}
ERRORS = {"equivariance_error": "Trunk: equivariance error", "invariance_error": "Logits: invariance error"}


def rotation(run: SavedRun) -> dict[str, Any] | None:
    """Returns the rotation test: mean overlap by angle, how two runs compare, the sources that depend on it most."""
    if not run.rotation_sources:
        return None
    order = sorted(run.rotation_sources, key=lambda row: -float(row["overlap_index"]))
    means = [float(np.mean([float(row[key]) for row in order])) for key in INDICES]
    chart = _overlap_chart(run)
    return {
        "n": number(len(order), 0),
        "many": len(run.metrics.get("classes", ())) > 2,
        "charts": [chart] if chart else [],
        "rows": [_rotated_source(row) for row in order[:10]],
        "comparisons": [_comparison(INDICES.get(key, "corrected"), one) for key, one in run.rotation_compare.items()],
        "mean": number(means[0], 4),
        "mean_corrected": number(means[1], 4),
    }


def _overlap_chart(run: SavedRun) -> dict[str, Any] | None:
    series, angles = [], [0.0]
    for k, (key, label) in enumerate(INDICES.items()):
        by_angle: dict[float, list[float]] = {}
        for row in run.rotation_poses:
            if row["flip"] != "True":
                by_angle.setdefault(float(row["angle_deg"]), []).append(float(row[key]))
        angles = sorted(by_angle)
        series.append(make_series(label, angles, [float(np.mean(by_angle[angle])) for angle in angles], k))
    return make_chart(
        "Mean overlap index by angle",
        "Mean over sources of the overlap index at each rotation angle.",
        series,
        Axis("rotation (degrees, counter-clockwise)", step=_angle_step(angles)),
        Axis("mean overlap index", from_zero=True),
    )


def _angle_step(angles: Sequence[float]) -> float | None:
    """Returns steps for the axis that angles are read from: divisors of a right angle where there are many."""
    if not angles:
        return None
    span = max(angles) - min(angles)
    return 90 if span > 180 else 45 if span > 160 else 20 if span >= 60 else max(span / 4, 1)


def _rotated_source(row: dict[str, str]) -> dict[str, Any]:
    cells = [number(row[key], 3) for key in (*INDICES, "predictive_entropy")]
    cells.append(number(row["frac_correct"], 0, 100, " %"))
    return {"name": clean(row["name"]), "key": row["name"], "true": clean(row["label_name"]), "cells": cells}


def _comparison(index: str, one: dict[str, Any]) -> dict[str, Any]:
    return {
        "index": index,
        "run": clean(one["run"]),
        "other": clean(one["other"]),
        "cells": [number(one[f"n_{kind}"], 0) for kind in ("improved", "worsened", "unchanged")],
        "threshold": f"{one['threshold']:g}",
    }


def equivariance(run: SavedRun) -> dict[str, Any] | None:
    """Returns the equivariance errors: by angle, and as a table."""
    if not run.equivariance_summary:
        return None
    charts = [_error_chart(run, key, title) for key, title in ERRORS.items()]
    rows = [
        {
            "name": clean(row["model"], 60),
            "poses": clean(row["poses"]),
            "cells": [
                *(scientific(row[f"{key}_max"]) for key in ERRORS),
                number(row["frac_preds_changed_max"], 0, 100, " %"),
            ],
        }
        for row in run.equivariance_summary
    ]
    return {"charts": [chart for chart in charts if chart], "rows": rows}


def _error_chart(run: SavedRun, key: str, title: str) -> dict[str, Any] | None:
    names, series = list(dict.fromkeys(row["model"] for row in run.equivariance)), []
    for k, name in enumerate(names):
        rows = [row for row in run.equivariance if row["model"] == name and row["flip"] == "False"]
        angles, errors = [float(row["angle_deg"]) for row in rows], [to_float(row[key]) for row in rows]
        series.append(make_series(clean(name, 40), angles, errors, k))
    return make_chart(
        title,
        f"{title} against the angle of rotation, for {len(names)} networks.",
        series,
        Axis("rotation (degrees)", step=90),
        Axis("relative error", from_zero=True),
    )
