"""Figures of a training run and its test, drawn from numbers that are saved elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radgal.figures.style import GRAY, color_of, legend_below, line_of, new_figure, new_panels, save_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def save_training_curves(
    history: Sequence[Mapping[str, Any]], kept_epoch: int, loss_path: Path, error_path: Path
) -> None:
    """Writes loss and error of a run by epoch, its kept epoch marked.

    Args:
        history: a row per epoch: epoch, train_loss, train_accuracy, test_loss and test_accuracy ("test" is the
            validation set here, as in the csv; None without one).
        kept_epoch: epoch whose weights the run kept.
        loss_path, error_path: of the two figures.
    """
    if not history:
        return
    epochs = [row["epoch"] for row in history]
    loss = {"training": _column(history, "train_loss"), "validation": _column(history, "test_loss")}
    error = {
        "training": 100 * (1 - _column(history, "train_accuracy")),
        "validation": 100 * (1 - _column(history, "test_accuracy")),
    }
    for path, ylabel, curves in ((loss_path, "cross-entropy (nats)", loss), (error_path, "error (%)", error)):
        figure = new_figure(6, 3.6)
        axes = style(figure.add_subplot(), "", "epoch", ylabel)
        axes.xaxis.get_major_locator().set_params(integer=True)
        for k, (label, values) in enumerate(curves.items()):
            if np.isfinite(values).any():
                look = {"color": color_of(k), "linestyle": line_of(k), "marker": _dot(epochs)}
                axes.plot(epochs, values, label=label, linewidth=1.2, **look)
        axes.axvline(kept_epoch, color=GRAY, linestyle=":", linewidth=1, label=f"kept: epoch {kept_epoch}")
        if curves is loss and _spans_decades(np.concatenate(list(curves.values()))):
            axes.set_yscale("log")
        elif curves is error:
            axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        save_figure(figure, path)


def _column(history: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    return np.array([np.nan if row.get(key) is None else row[key] for row in history], dtype=float)


def _dot(epochs: Sequence[int]) -> str | None:
    return "." if len(epochs) < 3 else None


def _spans_decades(values: np.ndarray) -> bool:
    values = values[np.isfinite(values)]
    return len(values) > 0 and values.min() > 0 and values.max() / values.min() > 20


def save_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str], path: str | Path) -> None:
    """Writes the confusion matrix, rows true and columns predicted; shades are fractions of a row."""
    counts = np.asarray(confusion)
    n = counts.sum(axis=1, keepdims=True)
    fractions = np.divide(counts, n, out=np.zeros(counts.shape), where=n > 0)
    size = 1.7 + 0.9 * len(classes)
    figure = new_figure(size + 0.7, size)
    axes = figure.add_subplot()
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*counts.shape):
        text = f"{counts[i, j]}\n{100 * fractions[i, j]:.0f} %" if n[i, 0] else "-"
        shade = "white" if fractions[i, j] > 0.6 else "black"
        axes.text(
            j, i, text, ha="center", va="center", color=shade, fontsize="medium" if len(classes) < 5 else "x-small"
        )
    axes.set_xticks(range(len(classes)), classes, rotation=0 if len(classes) < 4 else 60, parse_math=False)
    counted = [f"{name} ({k})" for name, k in zip(classes, n[:, 0], strict=True)]
    axes.set_yticks(range(len(classes)), counted, parse_math=False)
    axes.set(xlabel="predicted class", ylabel="true class (sources)")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    save_figure(figure, path)


def save_roc(path: str | Path, title: str, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Writes receiver operating characteristics.

    Args:
        curves: (false, true) positive rates, by what the legend says of them.
    """
    figure = new_figure(4.4, 4.2)
    axes = style(figure.add_subplot(), title, "false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle=":", linewidth=1, label="chance")
    for k, (label, (false, true)) in enumerate(curves.items()):
        axes.plot(false, true, color=color_of(k), linestyle=line_of(k), linewidth=1.4, label=label)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.legend(frameon=False, loc="lower right", fontsize="small")
    save_figure(figure, path)


def save_reliability(
    path: str | Path, title: str, bins: Sequence[Mapping[str, float]], ends: Sequence[tuple[float, float]]
) -> None:
    """Writes the reliability diagram: accuracy against confidence in each bin, and how many sources are in it.

    Args:
        bins: that are not empty: low, high, n, mean confidence and accuracy.
        ends: of the 95 % interval of the accuracy of each bin.
    """
    figure = new_figure(4.4, 4.8)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    style(top, title, "", "accuracy")
    style(bottom, "", "confidence of the predicted class", "sources")
    middle = np.array([(one["low"] + one["high"]) / 2 for one in bins])
    width = bins[0]["high"] - bins[0]["low"]
    accuracy = np.array([one["accuracy"] for one in bins])
    top.bar(middle, accuracy, width, color=color_of(0), alpha=0.35, edgecolor=color_of(0))
    top.errorbar(
        [one["confidence"] for one in bins],
        accuracy,
        yerr=np.abs(np.transpose(ends) - accuracy),
        color=color_of(1),
        marker="o",
        markersize=4,
        linestyle="",
        capsize=2,
        label="mean of a bin, 95 % interval",
    )
    lowest = min(one["low"] for one in bins)
    top.plot([lowest, 1], [lowest, 1], color=GRAY, linestyle="--", linewidth=1, label="calibrated")
    top.set(xlim=(lowest, 1), ylim=(0, 1.02))
    top.legend(frameon=True, framealpha=0.8, edgecolor="none", loc="lower right", fontsize="small")
    counts = bottom.bar(middle, [one["n"] for one in bins], width, color=GRAY, edgecolor="white")
    bottom.bar_label(counts, fontsize="x-small")
    bottom.margins(y=0.25)
    save_figure(figure, path)


def save_learning_curves(path: str | Path, histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> None:
    """Writes validation loss and error by epoch: the mean over seeds, and a band of one standard deviation.

    Args:
        histories: by config name, one history per seed. At each epoch the seeds that got that far count;
            epochs that only one seed reached have no band.
    """
    figure, (left, right) = new_panels(9.6, 3.8, 1, 2)
    style(left, "", "epoch", "validation loss (nats)")
    style(right, "", "epoch", "validation error (%)")
    for k, (name, runs) in enumerate(histories.items()):
        label = f"{name} ({len(runs)} seeds)" if len(runs) > 1 else name
        _draw_mean(left, [_column(run, "test_loss") for run in runs], label, k)
        _draw_mean(right, [100 * (1 - _column(run, "test_accuracy")) for run in runs], label, k)
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    right.set_ylim(bottom=0)
    several = any(len(runs) > 1 for runs in histories.values())
    legend_below(figure, left, "mean and one standard deviation over seeds" if several else "")
    save_figure(figure, path)


def _draw_mean(axes: Axes, curves: Sequence[np.ndarray], label: str, k: int) -> None:
    """Draws the mean over curves that begin at epoch 1, each as long as it is, and their band, as the k-th of all."""
    n_epochs = max(map(len, curves), default=0)
    values = np.full((len(curves), n_epochs), np.nan)
    for row, curve in zip(values, curves, strict=True):
        row[: len(curve)] = curve
    there = np.isfinite(values).any(axis=0)
    epochs, values = np.arange(1, n_epochs + 1)[there], np.ma.masked_invalid(values[:, there])
    mean = values.mean(axis=0).filled(np.nan)
    look = {"color": color_of(k), "linestyle": line_of(k), "marker": _dot(epochs)}
    axes.plot(epochs, mean, linewidth=1.3, label=label, **look)
    if (values.count(axis=0) > 1).any():
        sd = values.std(axis=0, ddof=1).filled(np.nan)
        axes.fill_between(epochs, mean - sd, mean + sd, color=color_of(k), alpha=0.2, linewidth=0)
