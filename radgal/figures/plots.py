"""Figures as PNG files, drawn from numbers that are saved elsewhere; nothing is computed by a network here.

Figures are made without pyplot, so that those of a notebook stay as they are. Names of classes, sources and runs are
drawn as they are (``parse_math=False``): to matplotlib, what stands between two $ is mathematics, or an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008, Color Universal Design: told apart with any kind of color vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GRAY = "#777777"


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure, inches, that belongs to no window or notebook."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a figure as PNG, atomically."""
    take_names_as_they_are(figure)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")


def take_names_as_they_are(figure: Figure) -> None:
    """Turns mathematics off in the legends, where it cannot be when they are made; to be called before a drawing."""
    from matplotlib.legend import Legend

    for legend in figure.findobj(Legend):
        for text in legend.get_texts():
            text.set_parse_math(False)


def style(axes: Axes, title: str = "", xlabel: str = "", ylabel: str = "") -> Axes:
    """Returns the axes with its labels, a light grid and no box."""
    axes.set_xlabel(xlabel, parse_math=False)
    axes.set_ylabel(ylabel, parse_math=False)
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def color_of(k: int) -> str:
    """Returns the color of the k-th class or run."""
    return COLORS[k % len(COLORS)]


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
                axes.plot(epochs, values, color=color_of(k), label=label, linewidth=1.2, marker=_dot(epochs))
        axes.axvline(kept_epoch, color=GRAY, linestyle="--", linewidth=1, label=f"kept: epoch {kept_epoch}")
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
    figure = new_figure(size + 0.4, size)
    axes = figure.add_subplot()
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*counts.shape):
        text = f"{counts[i, j]}\n{100 * fractions[i, j]:.0f} %" if n[i, 0] else "-"
        shade = "white" if fractions[i, j] > 0.6 else "black"
        axes.text(j, i, text, ha="center", va="center", color=shade, fontsize=10 if len(classes) < 5 else 7)
    axes.set_xticks(range(len(classes)), classes, rotation=0 if len(classes) < 4 else 60, parse_math=False)
    counted = [f"{name} ({k})" for name, k in zip(classes, n[:, 0], strict=True)]
    axes.set_yticks(range(len(classes)), counted, parse_math=False)
    axes.set(xlabel="predicted", ylabel="true (sources)")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    save_figure(figure, path)


def save_roc(
    path: str | Path, title: str, classes: Sequence[str], curves: Mapping[int, tuple[np.ndarray, np.ndarray]]
) -> None:
    """Writes receiver operating characteristics.

    Args:
        curves: (false, true) positive rates by the number of the class that counts as positive.
    """
    figure = new_figure(4.4, 4.2)
    axes = style(figure.add_subplot(), title, "false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle=":", linewidth=1, label="chance")
    for k, (false, true) in curves.items():
        axes.plot(false, true, color=color_of(k), linewidth=1.6, label=f"{classes[k]} as positive")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.legend(frameon=False, loc="lower right")
    save_figure(figure, path)


def save_reliability(path: str | Path, title: str, bins: Sequence[Mapping[str, float]]) -> None:
    """Writes the reliability diagram: accuracy against confidence in each bin, and how many sources are in it.

    Args:
        bins: that are not empty: low, high, n, mean confidence and accuracy.
    """
    figure = new_figure(4.4, 4.8)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    style(top, title, "", "accuracy")
    style(bottom, "", "confidence of the predicted class", "sources")
    middle = [(one["low"] + one["high"]) / 2 for one in bins]
    width = bins[0]["high"] - bins[0]["low"]
    top.bar(middle, [one["accuracy"] for one in bins], width, color=color_of(0), alpha=0.35, edgecolor=color_of(0))
    top.plot(
        [one["confidence"] for one in bins],
        [one["accuracy"] for one in bins],
        color=color_of(1),
        marker="o",
        markersize=4,
        linestyle="",
        label="mean of a bin",
    )
    top.plot([0, 1], [0, 1], color=GRAY, linestyle="--", linewidth=1, label="calibrated")
    top.set(xlim=(0, 1), ylim=(0, 1.02))
    top.legend(frameon=False, loc="upper left")
    bottom.bar(middle, [one["n"] for one in bins], width, color=GRAY, edgecolor="white")
    save_figure(figure, path)


def legend_below(figure: Figure, axes: Axes, title: str) -> None:
    """Puts the legend of ``axes`` under the whole figure, where no curve is."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 1 if max(map(len, labels), default=0) > 40 else 3
    figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels) or 1), frameon=False,
                  fontsize=8, title=title, title_fontsize=8)  # fmt: skip


def save_learning_curves(path: str | Path, histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> None:
    """Writes validation loss and error by epoch: the mean over seeds, and a band of one standard deviation.

    Args:
        histories: by config name, one history per seed. At each epoch the seeds that got that far count;
            epochs that only one seed reached have no band.
    """
    figure = new_figure(9.6, 3.8)
    left, right = figure.subplots(1, 2)
    style(left, "", "epoch", "validation loss (nats)")
    style(right, "", "epoch", "validation error (%)")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    for k, (name, runs) in enumerate(histories.items()):
        for axes, key in ((left, "test_loss"), (right, "test_accuracy")):
            n_epochs = max((len(run) for run in runs), default=0)
            values = np.full((len(runs), n_epochs), np.nan)
            for i, run in enumerate(runs):
                values[i, : len(run)] = _column(run, key) if key == "test_loss" else 100 * (1 - _column(run, key))
            there = np.isfinite(values)
            epochs = np.arange(1, n_epochs + 1)[there.any(axis=0)]
            values = np.ma.masked_invalid(values[:, there.any(axis=0)])
            mean, n_there = values.mean(axis=0).filled(np.nan), values.count(axis=0)
            label = f"{name} ({len(runs)} seed{'s' * (len(runs) != 1)})"
            axes.plot(epochs, mean, color=color_of(k), linewidth=1.3, label=label)
            if (n_there > 1).any():
                sd = values.std(axis=0, ddof=1).filled(np.nan) if len(runs) > 1 else np.full(len(mean), np.nan)
                axes.fill_between(epochs, mean - sd, mean + sd, color=color_of(k), alpha=0.2, linewidth=0)
    right.set_ylim(bottom=0)
    legend_below(figure, left, "mean and one standard deviation over seeds")
    save_figure(figure, path)
