"""The parts of a run's report as plain values: what its saved files say, put into words, tables and charts.

A number is {"text", "value"}: as shown, and as saved. Legend: N sources, K classes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from radgal.charts import make_chart, make_series
from radgal.gallery import choose_sources
from radgal.options import SECTIONS
from radgal.runfiles import RunFiles, to_float
from radgal.sources import column_name
from utils import format_duration

MAX_TEXT = 160  # of a name on the page
SCORES = {  # key in metrics.json -> (name, factor, decimals, unit)
    "accuracy": ("Accuracy", 100, 2, " %"),
    "error": ("Error", 100, 2, " %"),
    "roc_auc": ("ROC area", 1, 4, ""),
    "nll": ("Negative log-likelihood", 1, 4, " nats"),
    "brier": ("Brier score", 1, 4, ""),
    "ece": ("Expected calibration error", 1, 4, ""),
}
INTERVALS = {"wilson": "Wilson", "bootstrap": "bootstrap over sources"}


def clean(text: Any, limit: int = MAX_TEXT) -> str:
    """Returns text that cannot disturb the page: no control or direction characters, and not too long."""
    shown = "".join("\ufffd" if unicodedata.category(c)[0] == "C" else c for c in str(text))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def number(value: Any, decimals: int = 2, factor: float = 1, unit: str = "") -> dict | None:
    """Returns a number as shown and as saved; None if there is none."""
    value = to_float(value)
    if value is None:
        return None
    shown = f"{factor * value:,.{decimals}f}"
    return {"text": f"{shown}{unit}", "value": repr(int(value) if value.is_integer() and decimals == 0 else value)}


def score(of: Mapping[str, Any], decimals: int = 2, factor: float = 1, unit: str = "") -> dict[str, Any]:
    """Returns a score of metrics.json with its interval, as numbers."""
    return {
        "value": number(of["value"], decimals, factor, unit),
        "low": number(of.get("low"), decimals, factor),
        "high": number(of.get("high"), decimals, factor),
        "interval": INTERVALS.get(of.get("interval"), ""),
    }


def split_scores(run: RunFiles) -> Mapping[str, Any]:
    """Returns the upright scores of the test set, empty without a test."""
    return run.metrics.get("upright", {})


def kept_epoch(run: RunFiles) -> int | None:
    """Returns the epoch whose weights were kept, if a file says so."""
    epoch = to_float(run.environment.get("kept_epoch", run.metrics.get("epoch")))
    return None if epoch is None else int(epoch)


def kept_row(run: RunFiles) -> dict[str, str] | None:
    """Returns the row of the kept epoch in history.csv."""
    kept = kept_epoch(run)
    return next((row for row in run.history if kept is not None and to_float(row["epoch"]) == kept), None)


def network(run: RunFiles) -> str:
    """Returns the network in words."""
    base, nrot = run.option("model", "base"), run.option("model", "nrot")
    return clean(base or "unknown network") + (f", N = {clean(nrot)}" if nrot is not None else "")


def dataset(run: RunFiles) -> str:
    """Returns the data set and its version in words."""
    name = run.environment.get("dataset") or run.metrics.get("dataset") or run.option("data", "dataset")
    version = run.environment.get("dataset_version") or run.metrics.get("version")
    return clean(name or "unknown data set") + (f" {clean(version)}" if version else "")


def training_seconds(run: RunFiles) -> float | None:
    """Returns how long the epochs took, in all."""
    seconds = [to_float(row.get("seconds")) for row in run.history]
    return sum(s for s in seconds if s is not None) if any(s is not None for s in seconds) else None


def summary(run: RunFiles) -> dict[str, Any]:
    """Returns the head of the report: one sentence, and the few numbers that matter most."""
    classes = " against ".join(clean(name) for name in run.metrics.get("classes", ()))
    side = run.option("training", "imsize")
    side = None if side is None else side + (run.option("data", "pad") or 0)
    words = [f"{network(run)}, trained on {dataset(run)}", classes, f"{side} px" if side else ""]
    cards = []
    if upright := split_scores(run):
        accuracy = score(upright["accuracy"], 2, 100, " %")
        cards.append({"label": "Test accuracy, upright", "number": accuracy["value"], "interval": accuracy,
                      "note": f"{upright['n_sources']} sources, 95 % interval"})  # fmt: skip
    if rotated := run.metrics.get("rotated"):
        spread = number(rotated["accuracy"]["sd"], 2, 100)
        cards.append({"label": "Test accuracy, rotated", "number": number(rotated["accuracy"]["mean"], 2, 100, " %"),
                      "spread": spread, "note": f"mean and spread over {rotated['n_rotations']} random rotations"})  # fmt: skip
    row = kept_row(run)
    accuracy = to_float(row.get("test_accuracy")) if row else None
    if accuracy is not None:
        n_val = sum(run.environment.get("class_counts", {}).get("validation", {}).values())
        of = f"{n_val} sources, " if n_val else ""
        cards.append({"label": "Validation error", "number": number(1 - accuracy, 2, 100, " %"),
                      "note": f"{of}at the kept epoch, which it chose: optimistic"})  # fmt: skip
    if run.history:
        kept = kept_epoch(run)
        cards.append({"label": "Epochs", "number": number(len(run.history), 0),
                      "note": f"kept: epoch {kept}" if kept else "the kept epoch was not recorded"})  # fmt: skip
    seconds = training_seconds(run)
    if seconds is not None:
        where = clean(run.environment.get("cuda_device") or run.environment.get("processor") or "", 60)
        text = {"text": format_duration(seconds), "value": repr(seconds)}
        cards.append({"label": "Training time (h:m:s)", "number": text, "note": where})
    if (parameters := number(run.environment.get("trainable_parameters"), 0)) is not None:
        cards.append({"label": "Trainable parameters", "number": parameters, "note": ""})
    return {"sentence": ", ".join(word for word in words if word) + ".", "cards": cards,
            "finished": clean(run.environment.get("finished", "")).replace("T", " ").replace("+00:00", " UTC")}  # fmt: skip


def balance(run: RunFiles) -> dict[str, Any] | None:
    """Returns how many sources of each class each part of the data has."""
    parts = {name: dict(counts) for name, counts in run.environment.get("class_counts", {}).items()}
    if upright := split_scores(run):
        parts["test"] = {name: one["n_sources"] for name, one in upright["per_class"].items()}
    if not parts:
        return None
    classes = list(dict.fromkeys(name for counts in parts.values() for name in counts))
    totals = {name: sum(counts.values()) for name, counts in parts.items()}

    def cell(part: str, name: str) -> dict[str, Any]:
        n = parts[part].get(name, 0)
        return {"number": number(n, 0), "percent": f"{100 * n / totals[part]:.1f}" if totals[part] else "0"}

    return {
        "parts": list(parts),
        "rows": [{"name": clean(name), "cells": [cell(part, name) for part in parts]} for name in classes],
        "totals": [number(totals[part], 0) for part in parts],
    }


def scores(run: RunFiles) -> dict[str, Any] | None:
    """Returns the tables of final numbers: of the whole test set, of each class, of dropout and calibration."""
    upright = split_scores(run)
    if not upright:
        return None
    mc, rotated, temperature = (run.metrics.get(key) for key in ("mc_dropout", "rotated", "temperature"))
    rows = [
        {
            "name": name,
            "key": key,
            "upright": score(upright[key], decimals, factor, unit),
            "mc": score(mc[key], decimals, factor, unit) if mc else None,
            "scaled": number(temperature["scaled"][key]["value"], decimals, factor, unit)
            if temperature and key in temperature["scaled"]
            else None,
        }
        for key, (name, factor, decimals, unit) in SCORES.items()
    ]
    per_class = [
        {
            "name": clean(name),
            "n": number(one["n_sources"], 0),
            "missed": number(one["n_missed"], 0),
            "rotated": number(rotated["missed_per_class"][name]["mean"], 2) if rotated else None,
            "scores": [score(one["precision"], 1, 100, " %"), score(one["recall"], 1, 100, " %"), score(one["f1"], 3)],
        }
        for name, one in upright["per_class"].items()
    ]
    n = upright["n_sources"]
    by_kind: dict[str, list[str]] = {}
    for row in rows:
        by_kind.setdefault(row["upright"]["interval"], []).append(
            row["name"][0].lower() + row["name"][1:] if row["name"][1].islower() else row["name"]
        )
    return {
        "intervals": "; ".join(f"{kind} for {', '.join(names)}" for kind, names in by_kind.items() if kind),
        "rows": rows,
        "per_class": per_class,
        "mc_samples": mc and mc["mc_samples"],
        "entropies": mc and [
            (label, number(mc[f"mean_{key}"], 4, 1, " nats"))
            for label, key in (("predictive entropy", "predictive_entropy"), ("of it from the data", "expected_entropy"),
                               ("of it from the model (mutual information)", "mutual_information"))
        ],
        "temperature": temperature and number(temperature["temperature"], 3),
        "one_source": f"{100 / n:.2f} %",
        "standard_error": number(upright["error"].get("standard_error"), 2, 100, " %"),
    }  # fmt: skip


def curves(run: RunFiles) -> list[dict[str, Any]]:
    """Returns the charts of loss and error by epoch."""
    return epoch_charts({"": run}, kept_epoch(run))


def epoch_charts(runs: Mapping[str, RunFiles], kept: int | None = None) -> list[dict[str, Any]]:
    """Returns the charts of loss and error by epoch, of one run (training too) or of several (validation only)."""
    several = len(runs) > 1
    parts = (("test", "validation"),) if several else (("train", "training"), ("test", "validation"))
    charts = []
    for title, quantity, ylabel, log in (("Loss", "loss", "cross-entropy (nats)", True),
                                         ("Error", "accuracy", "error (%)", False)):  # fmt: skip
        series = []
        for i, (name, run) in enumerate(runs.items()):
            epochs = [to_float(row["epoch"]) or 0.0 for row in run.history]
            for k, (prefix, part) in enumerate(parts):
                values = [to_float(row.get(f"{prefix}_{quantity}")) for row in run.history]
                if quantity == "accuracy":
                    values = [None if v is None else 100 * (1 - v) for v in values]
                series.append(make_series(name or part, epochs, values, color=i if several else k))
        reached = [f"{one['label']} {one['points'][0][1]:.3g} to {one['points'][-1][1]:.3g}"
                   for one in series if one["points"]]  # fmt: skip
        low_high = [y for one in series for _, y in one["points"] if y > 0]
        wide = log and bool(low_high) and max(low_high) / min(low_high) > 20
        words = ", validation" if several else ""
        chart = make_chart(
            f"{title}{words}",
            f"{title} by epoch: {'; '.join(reached)}." + (f" Epoch {kept} was kept." if kept else ""),
            series, xlabel="epoch", ylabel=ylabel, log=wide, y_zero=not log,
            mark=(kept, f"kept: epoch {kept}") if kept else None,
        )  # fmt: skip
        charts += [chart] if chart else []
    return charts


def confusion(run: RunFiles) -> dict[str, Any] | None:
    """Returns the confusion matrix: rows true, columns predicted."""
    upright = split_scores(run)
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
    return {"classes": classes, "rows": rows}


def roc_series(run: RunFiles, label: str | None = None, color: int | None = None) -> list[dict[str, Any]]:
    """Returns the receiver operating characteristic: of the last of two classes, or of each against the rest."""
    classes = run.metrics.get("classes", [])
    labels = np.array([int(row["label"]) for row in run.sources], dtype=int)
    drawn = []
    for k in [1] if len(classes) == 2 else range(len(classes)):
        positive = labels == k
        if positive.any() and not positive.all():
            values = np.array([float(row[column_name("prob", classes[k])]) for row in run.sources])
            order = np.argsort(-values, kind="stable")
            last_of_ties = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)
            hits, misses = np.cumsum(positive[order])[last_of_ties], np.cumsum(~positive[order])[last_of_ties]
            x, y = (np.concatenate([[0], v / v[-1]]).tolist() for v in (misses, hits))
            drawn.append(make_series(label or f"{clean(classes[k])} as positive", x, y, k if color is None else color))
    return drawn


def roc(run: RunFiles) -> dict[str, Any] | None:
    """Returns the chart of the receiver operating characteristic."""
    upright = split_scores(run)
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


def reliability(run: RunFiles) -> dict[str, Any] | None:
    """Returns the reliability diagram with the table of its bins."""
    bins = split_scores(run).get("reliability")
    if not bins:
        return None
    edges = [(one["low"], one["high"]) for one in bins]
    ece = split_scores(run)["ece"]["value"]
    series = [
        make_series("accuracy in the bin", edges, [one["accuracy"] for one in bins], 0, "bars"),
        make_series(
            "mean confidence", [one["confidence"] for one in bins], [one["accuracy"] for one in bins], 1, "dots"
        ),
    ]
    chart = make_chart(
        "Reliability", f"Accuracy against confidence in {len(bins)} bins; expected calibration error {ece:.4f}.", series,
        xlabel="confidence of the predicted class", ylabel="accuracy", x_range=(0, 1.02), y_range=(0, 1.03),
        diagonal=True, shape="square",
    )  # fmt: skip
    rows = [
        [f"{one['low']:.2f} to {one['high']:.2f}", number(one["n"], 0), number(one["confidence"], 3), number(one["accuracy"], 3)]
        for one in bins
    ]  # fmt: skip
    return {"chart": chart, "rows": rows}


def gallery(run: RunFiles) -> dict[str, Any] | None:
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


def _source(run: RunFiles, row: Mapping[str, str], classes: Sequence[str]) -> dict[str, Any]:
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


def rotation(run: RunFiles) -> dict[str, Any] | None:
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
            xlabel="rotation (degrees, counter-clockwise)", ylabel="mean overlap index", y_zero=True, x_step=_angle_step(angles),
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
        {"index": "as published" if key == "overlap_index" else "corrected", "run": clean(one["run"]), "other": clean(one["other"]),
         "cells": [number(one[f"n_{kind}"], 0) for kind in ("improved", "worsened", "unchanged")],
         "threshold": f"{one['threshold']:g}"}
        for key, one in run.rotation_compare.items()
    ]  # fmt: skip
    return {
        "n": number(len(order), 0), "charts": charts, "rows": rows, "comparisons": comparisons,
        "mean": number(means["overlap_index"], 4), "mean_corrected": number(means["overlap_index_reflected"], 4),
    }  # fmt: skip


def _angle_step(angles: Sequence[float]) -> float:
    """Returns steps for the axis that angles are read from: divisors of a right angle where there are many."""
    span = max(angles) - min(angles)
    return 90 if span > 180 else 45 if span > 160 else 20 if span >= 60 else max(span / 4, 1)


def equivariance(run: RunFiles) -> dict[str, Any] | None:
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
    return None if value is None else {"text": f"{value:.1e}" if value else "0", "value": repr(value)}


def configuration(run: RunFiles) -> list[dict[str, Any]]:
    """Returns the configuration, section by section: key, value, whether it is not the default, meaning."""
    sections = []
    for section, values in run.config.items():
        known = SECTIONS[section].model_fields if section in SECTIONS else {}
        rows = [
            {"key": clean(key), "value": clean(repr(value)), "meaning": known[key].description if key in known else "",
             "changed": key in known and known[key].default != value}
            for key, value in values.items()
        ]  # fmt: skip
        sections.append({"name": clean(section), "rows": rows})
    return sections


def environment(run: RunFiles) -> list[tuple[str, str]]:
    """Returns what the run was made with."""
    shown = []
    for key, value in run.environment.items():
        if key in ("class_counts", "kept_epoch", "trainable_parameters", "training_seconds"):
            continue
        if isinstance(value, dict):
            shown += [(clean(name), clean(v)) for name, v in value.items() if v is not None]
        elif value is not None:
            shown.append((clean(key).replace("_", " "), clean(value)))
    return shown


PARTS: dict[str, Callable[[RunFiles], Any]] = {
    "summary": summary,
    "scores": scores,
    "curves": curves,
    "confusion": confusion,
    "roc": roc,
    "reliability": reliability,
    "gallery": gallery,
    "balance": balance,
    "rotation": rotation,
    "equivariance": equivariance,
    "configuration": configuration,
    "environment": environment,
}


def comparison_cells(run: RunFiles) -> list[dict[str, Any] | None]:
    """Returns the cells of a run in the table of several: accuracies, ROC area, NLL, ECE, validation error, size, time."""
    upright, rotated = split_scores(run), run.metrics.get("rotated")
    row, seconds = kept_row(run), training_seconds(run)
    accuracy = to_float(row.get("test_accuracy")) if row else None
    spread = {"value": None, "low": None, "high": None}

    def alone(value: dict | None) -> dict[str, Any]:
        return spread | {"value": value}

    return [
        score(upright["accuracy"], 2, 100, " %") if upright else None,
        alone(number(rotated["accuracy"]["mean"], 2, 100, " %")) | {"sd": number(rotated["accuracy"]["sd"], 2, 100)}
        if rotated else None,
        *[score(upright[key], 3) if upright else None for key in ("roc_auc", "nll", "ece")],
        alone(number(1 - accuracy, 2, 100, " %")) if accuracy is not None else None,
        alone(number(run.environment.get("trainable_parameters"), 0)),
        alone(number(kept_epoch(run), 0)),
        alone({"text": format_duration(seconds), "value": repr(seconds)}) if seconds is not None else None,
    ]  # fmt: skip
