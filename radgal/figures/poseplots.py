"""Figures of what turning the images does: dropout samples by angle, two runs compared, equivariance errors.

Legend: N sources, R poses, T dropout passes, S pixels along each side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radgal.figures.style import (
    COLORS,
    GRAY,
    MARKERS,
    color_of,
    legend_below,
    line_of,
    new_figure,
    new_panels,
    save_figure,
    style,
    take_names_as_they_are,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_TICKS = 24  # poses under which a stamp of the image still can be seen


@dataclass(frozen=True)
class PoseSamples:
    """The dropout samples of one source in R poses.

    Args:
        title: of the figure.
        angles_deg, flips: (R,) poses.
        samples: (R, T, 2) probabilities of two classes.
        classes: their names.
        images: (R, S, S) uint8, the image in each pose.
    """

    title: str
    angles_deg: np.ndarray
    flips: np.ndarray
    samples: np.ndarray
    classes: Sequence[str]
    images: np.ndarray


def save_rotation(path: str | Path, shown: PoseSamples) -> None:
    """Writes the published style of figure: every dropout sample of two classes by angle, the images below."""
    n_poses = len(shown.angles_deg)
    step = -(-n_poses // MAX_TICKS)
    margin = max(0.6, 0.5 * step, 2.5 - 0.5 * n_poses)  # a single pose is not spread over the whole width
    width = min(max(5.0, 2.2 + 0.75 * n_poses), 20)
    stamp = 0.94 * step * (width - 0.8) / (n_poses - 1 + 2 * margin)  # inches, if it is to be square
    figure = new_figure(width, 4.4 + 1.1 * stamp)
    top, bottom = figure.subplots(2, 1, height_ratios=(2.9, 1.1 * stamp), sharex=True)
    style(top, shown.title, "", "softmax output")
    _draw_samples(top, shown)
    labels = [
        f"{angle:g}" + ("\nflip" if flip else "") for angle, flip in zip(shown.angles_deg, shown.flips, strict=True)
    ]
    bottom.set_xticks(range(0, n_poses, step), labels[::step])
    bottom.set(xlim=(-margin, n_poses - 1 + margin), yticks=[])
    bottom.set_xlabel("rotation (degrees, counter-clockwise)")
    bottom.spines[:].set_visible(False)
    bottom.tick_params(length=0)
    top.tick_params(labelbottom=False, length=0)
    _add_stamps(figure, bottom, shown.images, step)
    save_figure(figure, path)


def _draw_samples(axes: Axes, shown: PoseSamples) -> None:
    """Draws a dash for each sample and a dot for their mean, the two classes beside each other."""
    n_poses, n_passes, _ = shown.samples.shape
    dot = {"linestyle": "", "marker": "o", "markersize": 4, "markeredgecolor": "white", "markeredgewidth": 0.6}
    for k, name in enumerate(shown.classes):
        x, probs = np.arange(n_poses) + (-0.16, 0.16)[k], shown.samples[..., k]
        where = np.repeat(x, n_passes)
        axes.scatter(where, probs.ravel(), s=90, marker="_", color=color_of(k), alpha=0.35, linewidth=0.8)
        axes.plot(x, probs.mean(axis=1), color=color_of(k), label=f"{name} (dot: mean)", **dot)
    axes.set(ylim=(-0.03, 1.03))
    axes.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.02), handletextpad=0.2)


def _add_stamps(figure: Figure, axes: Axes, images: np.ndarray, step: int) -> None:
    """Draws every ``step``-th image (R, S, S) at its number on the x axis, square."""
    half = 0.47 * step
    for i in range(0, len(images), step):
        axes.imshow(_stretch(images[i]), cmap="gray", extent=(i - half, i + half, -half, half), aspect="auto")
    take_names_as_they_are(figure)
    figure.draw_without_rendering()  # finds the size of the axes, so that a unit can be made as high as wide
    frame, (left, right) = axes.get_window_extent(), axes.get_xlim()
    height = (right - left) * frame.height / frame.width
    axes.set(xlim=(left, right), ylim=(-height / 2, height / 2))


def _stretch(image: np.ndarray) -> np.ndarray:
    """Returns the square root of brightness, in which faint lobes show beside bright cores."""
    return np.sqrt(np.asarray(image, dtype=float))


@dataclass(frozen=True)
class Overlaps:
    """The mean overlap index of N sources in two runs.

    Args:
        run, other: (N,) of the run, and of the run that it is compared with.
        names: of the two runs.
        labels: (N,).
        classes: the names of the classes.
        threshold: a smaller change is no change.
    """

    run: np.ndarray
    other: np.ndarray
    names: tuple[str, str]
    labels: np.ndarray
    classes: Sequence[str]
    threshold: float


def save_comparison(path: str | Path, shown: Overlaps) -> None:
    """Writes the mean overlap index of each source in one run against another, and the changes in order."""
    figure, (left, right) = new_panels(8.4, 4.1, 1, 2)
    style(left, "mean overlap index per source", shown.names[1], shown.names[0])
    for k in np.unique(shown.labels):
        rows, look = shown.labels == k, {"marker": MARKERS[k % len(MARKERS)], "markersize": 4.5, "alpha": 0.7}
        x, y = shown.other[rows], shown.run[rows]
        left.plot(x, y, linestyle="", color=color_of(k), label=shown.classes[k], **look)
    limit = max(1e-3, float(max(shown.run.max(), shown.other.max()))) * 1.05
    left.plot([0, limit], [0, limit], color=GRAY, linewidth=1, linestyle="--")
    left.set(xlim=(-0.02 * limit, limit), ylim=(-0.02 * limit, limit), aspect="equal")
    _legend_under(left, 2)
    _draw_changes(right, np.sort(shown.run - shown.other), shown.threshold)
    save_figure(figure, path)


def _legend_under(axes: Axes, columns: int) -> None:
    """Puts the legend under the label of the x axis, which is as far away as letters are high."""
    where = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 4.4}
    axes.legend(frameon=False, ncols=columns, fontsize="small", columnspacing=1, handletextpad=0.4, **where)


def _draw_changes(axes: Axes, change: np.ndarray, threshold: float) -> None:
    """Draws sorted changes as bars, in colors that stand for no class."""
    kinds = {
        "improved": (COLORS[2], change < -threshold),
        "worsened": (COLORS[3], change > threshold),
        "neither": (GRAY, np.abs(change) <= threshold),
    }
    counts = ", ".join(f"{chosen.sum()} {name}" for name, (_, chosen) in kinds.items())
    style(axes, counts, "source, in order of change", "change of the mean overlap index")
    place = np.arange(len(change))
    for name, (color, chosen) in kinds.items():
        if chosen.any():  # bars that are none would have another color in the legend
            axes.bar(place[chosen], change[chosen], width=1.0, color=color, label=name)
    _legend_under(axes, 3)
    axes.axhline(0, color="black", linewidth=0.6)


def save_equivariance(path: str | Path, curves: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Writes the error of the trunk's equivariance and of the logits' invariance against angle, model by model.

    Args:
        curves: by model name: ``angle_deg``, ``equivariance_error`` and ``invariance_error`` (R,), NaN where
            not defined, and ``is_element``, whether the angle is one of the model's own group.
    """
    figure, panels = new_panels(9.6, 4.0, 1, 2)
    titles = {"equivariance_error": "trunk: equivariance error", "invariance_error": "logits: invariance error"}
    for axes, (key, title) in zip(panels, titles.items(), strict=True):
        style(axes, title, "rotation (degrees)", "relative error")
        for k, (name, curve) in enumerate(curves.items()):
            own = np.flatnonzero(curve["is_element"]).tolist()
            marks = {"marker": MARKERS[k % len(MARKERS)], "markersize": 4, "markevery": own, "clip_on": False}
            look = {"color": color_of(k), "linestyle": line_of(k), "linewidth": 1.3}
            axes.plot(curve["angle_deg"], curve[key], label=name, **look, **marks)
        axes.set_xticks(range(0, 361, 45))
        axes.set_ylim(bottom=0)
    legend_below(figure, panels[0], "markers: elements of its group")
    save_figure(figure, path)
