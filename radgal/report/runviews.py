"""What a run was: its head, class balance, curves, configuration and environment, as plain values for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from radgal.config.keys import SECTIONS
from radgal.data.datasets import DATASETS
from radgal.data.leakage import describe_leak
from radgal.evaluation.metrics import ACCURACY
from radgal.evaluation.results import describe_poses
from radgal.report.charts import Axis, make_chart, make_series
from radgal.report.savedrun import SavedRun, to_float
from radgal.report.values import clean, duration, number, score
from utils import counted

TOLD_ELSEWHERE = (
    "class_counts kept_epoch has_test_set trainable_parameters training_seconds test_sources_trained_on".split()
)


def upright_scores(run: SavedRun) -> Mapping[str, Any]:
    """Returns the upright scores of the test set, empty without a test."""
    return run.metrics.get("upright", {})


def kept_epoch(run: SavedRun) -> int | None:
    """Returns the epoch whose weights were kept, if a file says so."""
    epoch = to_float(run.environment.get("kept_epoch", run.metrics.get("epoch")))
    return None if epoch is None else int(epoch)


def kept_row(run: SavedRun) -> dict[str, str] | None:
    """Returns the row of the kept epoch in history.csv."""
    kept = kept_epoch(run)
    return next((row for row in run.history if kept is not None and to_float(row["epoch"]) == kept), None)


def network(run: SavedRun) -> str:
    """Returns the network in words."""
    base, nrot = run.option("model", "base"), run.option("model", "nrot")
    return clean(base or "unknown network") + (f", N\u00a0=\u00a0{clean(nrot)}" if nrot is not None else "")


def dataset(run: SavedRun) -> str:
    """Returns the data set and its version in words."""
    name = run.environment.get("dataset") or run.metrics.get("dataset") or run.option("data", "dataset")
    version = run.environment.get("dataset_version") or run.metrics.get("version")
    return clean(name or "unknown data set") + (f" {clean(version)}" if version else "")


def pixel_scale(run: SavedRun) -> float | None:
    """Returns what a pixel of the test images measures, arcsec; None if no file says it."""
    name = run.metrics.get("dataset") or run.environment.get("dataset") or run.option("data", "dataset")
    kind = DATASETS.get(str(name).partition(":")[0])
    known = None if kind is None else kind.pixel_scale_arcsec
    return known or to_float(run.option("data", "pixel_scale"))


def training_seconds(run: SavedRun) -> float | None:
    """Returns how long the epochs took, in all."""
    seconds = [to_float(row.get("seconds")) for row in run.history]
    return sum(s for s in seconds if s is not None) if any(s is not None for s in seconds) else None


def summary(run: SavedRun) -> dict[str, Any]:
    """Returns the head of the report: one sentence, and the few numbers that matter most."""
    classes = " against ".join(clean(name) for name in run.metrics.get("classes", ()))
    side = run.option("training", "imsize")
    side = None if side is None else side + (run.option("data", "pad") or 0)
    words = [f"{network(run)}, trained on {dataset(run)}", classes, f"{side} px" if side else ""]
    if "trained_on" in run.metrics or "members" in run.metrics:  # a folder that `evaluate` made, without a config
        words = [clean(run.name), f"tested on {dataset(run)}", classes]
    finished = clean(run.environment.get("finished", "")).replace("T", " ").replace("+00:00", " UTC")
    return {
        "sentence": ", ".join(word for word in words if word) + ".",
        "learned": [clean(line, 1000) for line in learned_from(run)],
        "cards": [*_test_cards(run), *_training_cards(run)],
        "finished": finished,
        "has_test_set": run.environment.get("has_test_set", True),
        "leak": _leak(run),
    }


def learned_from(run: SavedRun) -> list[str]:
    """Returns what the network was trained and tested on, as sentences, as far as the files say it."""
    lines = []
    for part, words in (("train", "Trained on"), ("validation", "validated on")):
        if counts := run.environment.get("class_counts", {}).get(part):
            lines.append(f"{words} {counted(sum(counts.values()), 'source')} ({_by_class(counts)})")
    lines = ["; ".join(lines) + "."] if lines else []
    for name, one in (run.environment.get("also") or {}).items():
        lines.append(f"Of these, {one['trained_on']} are of {name} {one['version']}, which has {one['sources']}.")
    if left_out := run.environment.get("sources_left_out"):
        lines.append(
            f"{counted(left_out, 'source')} of the data set itself are not trained on, as [data] leave_out says."
        )
    if start := run.environment.get("started_from"):
        of = f", trained on {start['dataset']} {start.get('version') or ''}".rstrip() if start.get("dataset") else ""
        lines.append(f"Its first weights are those of {start.get('run', 'another network')}{of}.")
    if of := run.metrics.get("trained_on"):
        lines.append(f"The network learned from {of['dataset']} {of['version']}.")
    if members := run.metrics.get("members"):
        lines.append(f"The mean probability of {len(members)} networks: {', '.join(map(str, members))}.")
    if "left_out" in run.metrics:
        n = len(run.metrics["left_out"])
        lines.append(f"{counted(n, 'source')} of the tested data that it learned from are left out.")
    return lines


def _by_class(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items())


def _leak(run: SavedRun) -> str | None:
    """Returns a warning if test sources were trained on."""
    leak = run.metrics.get("test_sources_trained_on")
    warning = describe_leak(leak) if leak else None
    return clean(warning, 1000) if warning else None


def _test_cards(run: SavedRun) -> list[dict[str, Any]]:
    """Returns the cards of the test result, upright and rotated."""
    cards = []
    if upright := upright_scores(run):
        accuracy = score(ACCURACY, upright["accuracy"])
        note = f"{counted(upright['n_sources'], 'source')}, 95 % interval"
        cards.append(_card("Test accuracy, upright", accuracy["value"], note) | {"interval": accuracy})
    if rotated := run.metrics.get("rotated"):
        accuracy = score(ACCURACY, rotated["accuracy"])
        note = f"95 % interval; mean over {rotated['n_rotations']} random rotations"
        more = {"interval": accuracy, "spread": accuracy["sd"]}
        cards.append(_card("Test accuracy, rotated", accuracy["value"], note) | more)
    if averaged := run.metrics.get("averaged"):
        accuracy = score(ACCURACY, averaged["accuracy"])
        note = f"of the mean probability over {describe_poses(averaged)}; 95 % interval"
        cards.append(_card("Test accuracy, averaged over poses", accuracy["value"], note) | {"interval": accuracy})
    return cards


def _training_cards(run: SavedRun) -> list[dict[str, Any]]:
    """Returns the cards of the training: what is not known has none."""
    row, kept, cards = kept_row(run), kept_epoch(run), []
    accuracy = to_float(row.get("test_accuracy")) if row else None
    if accuracy is not None:
        n_val = sum(run.environment.get("class_counts", {}).get("validation", {}).values())
        of = f"{counted(n_val, 'source')}, " if n_val else ""
        note = f"{of}at the kept epoch" + (", which it chose: optimistic" if chose_epoch(run) else "")
        cards.append(_card("Validation error", number(1 - accuracy, 2, 100, " %"), note))
    if run.history:
        note = f"kept: epoch {kept}" if kept else "the kept epoch was not recorded"
        cards.append(_card("Epochs", number(len(run.history), 0), note))
    where = clean(run.environment.get("cuda_device") or run.environment.get("processor") or "", 60)
    for label, value, note in (
        ("Training time (h:m:s)", duration(training_seconds(run)), where),
        ("Trainable parameters", number(run.environment.get("trainable_parameters"), 0), ""),
    ):
        cards += [_card(label, value, note)] if value is not None else []
    return cards


def chose_epoch(run: SavedRun) -> bool:
    """Returns whether validation chose the kept epoch, as it does if no file says otherwise."""
    keep = run.option("training", "keep")
    return keep != "last" and (keep == "best" or run.option("model", "early_stopping") is not False)


def _card(label: str, value: dict | None, note: str) -> dict[str, Any]:
    return {"label": label, "number": value, "note": note}


def balance(run: SavedRun) -> dict[str, Any] | None:
    """Returns how many sources of each class each part of the data has."""
    parts = {name: dict(counts) for name, counts in run.environment.get("class_counts", {}).items()}
    if upright := upright_scores(run):
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


def curves(run: SavedRun) -> list[dict[str, Any]]:
    """Returns the charts of loss and error by epoch."""
    return epoch_charts({"": run}, kept_epoch(run))


def epoch_charts(runs: Mapping[str, SavedRun], kept: int | None = None) -> list[dict[str, Any]]:
    """Returns the charts of loss and error by epoch, of one run (training too) or of several (validation only)."""
    charts = (
        _epoch_chart("Loss", "loss", Axis("cross-entropy (nats)", log=True), runs, kept),
        _epoch_chart("Error", "accuracy", Axis("error (%)", from_zero=True), runs, kept),
    )
    return [chart for chart in charts if chart]


def _epoch_chart(
    title: str, quantity: str, y: Axis, runs: Mapping[str, SavedRun], kept: int | None
) -> dict[str, Any] | None:
    several = len(runs) > 1
    parts = (("test", "validation"),) if several else (("train", "training"), ("test", "validation"))
    series = []
    for i, (name, run) in enumerate(runs.items()):
        epochs = [to_float(row["epoch"]) or 0.0 for row in run.history]
        for k, (prefix, part) in enumerate(parts):
            values = [to_float(row.get(f"{prefix}_{quantity}")) for row in run.history]
            if quantity == "accuracy":
                values = [None if v is None else 100 * (1 - v) for v in values]
            series.append(make_series(name or part, epochs, values, color=i if several else k))
    points = [point for one in series for point in one["points"]]
    epochs, above_zero = [x for x, _ in points], [y for _, y in points if y > 0]
    few_epochs = bool(epochs) and max(epochs) - min(epochs) < 5  # of more, round numbers are whole numbers
    spans_decades = bool(above_zero) and max(above_zero) / min(above_zero) > 20
    ends = [(one["label"], one["points"][0][1], one["points"][-1][1]) for one in series if one["points"]]
    reached = "; ".join(f"{label} {first:.3g} to {last:.3g}" for label, first, last in ends)
    return make_chart(
        title + (", validation" if several else ""),
        f"{title} by epoch: {reached}." + (f" Epoch {kept} was kept." if kept else ""),
        series,
        Axis("epoch", step=1 if few_epochs else None),
        replace(y, log=y.log and spans_decades),
        mark=(kept, f"kept: epoch {kept}") if kept else None,
    )


def configuration(run: SavedRun) -> list[dict[str, Any]]:
    """Returns the configuration, section by section: key, value, whether it is not the default, meaning."""
    sections = []
    for section, values in run.config.items():
        known = SECTIONS[section].model_fields if section in SECTIONS else {}
        rows = [
            {
                "key": clean(key),
                "value": clean(repr(value)),
                "meaning": known[key].description if key in known else "",
                "changed": key in known and known[key].default != value,
            }
            for key, value in values.items()
        ]
        sections.append({"name": clean(section), "rows": rows})
    return sections


def environment(run: SavedRun) -> list[tuple[str, str]]:
    """Returns what the run was made with."""
    shown = []
    for key, value in run.environment.items():
        if key in TOLD_ELSEWHERE:
            continue
        if isinstance(value, dict):
            shown += [(clean(name), clean(v)) for name, v in value.items() if v is not None]
        elif value is not None:
            shown.append((clean(key).replace("_", " "), clean(value)))
    return shown
