"""Figures of what turning the images does: dropout samples by angle, two runs compared, equivariance errors.

Legend: N sources, R poses, T dropout passes, S pixels along each side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radgal.figures.plots import (
    COLORS,
    GRAY,
    MARKERS,
    color_of,
    legend_below,
    new_figure,
    save_figure,
    style,
    take_names_as_they_are,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_TICKS = 24  # poses under which a stamp of the image still can be seen


def save_rotation(
    path: str | Path,
    title: str,
    angles_deg: np.ndarray,
    flips: np.ndarray,
    samples: np.ndarray,
    classes: Sequence[str],
    images: np.ndarray,
) -> None:
    """Writes the published style of figure: every dropout sample of two classes by angle, the images below.

    Args:
        angles_deg, flips: (R,) poses.
        samples: (R, T, 2) probabilities of the two classes.
        classes: their two names.
        images: (R, S, S) uint8, the image in each pose.
    """
    n_poses, n_passes, _ = samples.shape
    step = -(-n_poses // MAX_TICKS)
    margin = max(0.6, 0.5 * step, 2.5 - 0.5 * n_poses)  # a single pose is not spread over the whole width
    width = min(max(5.0, 2.2 + 0.75 * n_poses), 20)
    stamp = 0.94 * step * (width - 0.8) / (n_poses - 1 + 2 * margin)  # inches, if it is to be square
    figure = new_figure(width, 4.4 + 1.1 * stamp)
    top, bottom = figure.subplots(2, 1, height_ratios=(2.9, 1.1 * stamp), sharex=True)
    style(top, title, "", "softmax output")
    x = np.arange(n_poses)
    for k, name in enumerate(classes):
        where = np.repeat(x + (-0.16, 0.16)[k], n_passes)
        top.scatter(where, samples[..., k].ravel(), s=90, marker="_", color=color_of(k), alpha=0.35, linewidth=0.8)
        top.plot(x + (-0.16, 0.16)[k], samples[..., k].mean(axis=1), color=color_of(k), linestyle="", marker="o",
                 markersize=4, markeredgecolor="white", markeredgewidth=0.6, label=f"{name} (dot: mean)")  # fmt: skip
    top.set(ylim=(-0.03, 1.03))
    top.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.02), handletextpad=0.2)
    labels = [f"{angle:g}" + ("\nflip" if flip else "") for angle, flip in zip(angles_deg, flips, strict=True)]
    bottom.set_xticks(x[::step], labels[::step])
    bottom.set(xlim=(-margin, n_poses - 1 + margin), yticks=[])
    bottom.set_xlabel("rotation (degrees, counter-clockwise)")
    bottom.spines[:].set_visible(False)
    bottom.tick_params(length=0)
    top.tick_params(labelbottom=False, length=0)
    _add_stamps(figure, bottom, images, step)
    save_figure(figure, path)


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


def save_comparison(
    path: str | Path, overlap: np.ndarray, other: np.ndarray, names: tuple[str, str], labels: np.ndarray,
    classes: Sequence[str], threshold: float,
) -> None:  # fmt: skip
    """Writes the mean overlap index of each source in one run against another, and the changes in order.

    Args:
        overlap, other: (N,) of the run, and of the run that it is compared with.
        names: of the two runs.
        labels: (N,).
        threshold: a smaller change is no change.
    """
    change = overlap - other
    n_improved, n_worsened = int((change < -threshold).sum()), int((change > threshold).sum())
    figure = new_figure(8.4, 4.1)
    left, right = figure.subplots(1, 2)
    style(left, "mean overlap index per source", names[1], names[0])
    for k in np.unique(labels):
        rows = labels == k
        left.plot(other[rows], overlap[rows], linestyle="", marker=MARKERS[k % len(MARKERS)], markersize=4.5,
                  color=color_of(k), alpha=0.7, label=classes[k])  # fmt: skip
    limit = max(1e-3, float(max(overlap.max(), other.max()))) * 1.05
    left.plot([0, limit], [0, limit], color=GRAY, linewidth=1, linestyle="--")
    left.set(xlim=(-0.02 * limit, limit), ylim=(-0.02 * limit, limit), aspect="equal")
    left.legend(frameon=False)
    style(right, f"{n_improved} improved, {n_worsened} worsened, {len(change) - n_improved - n_worsened} neither",
          "source, in order of change", "change of the mean overlap index")  # fmt: skip
    place, order = np.arange(len(change)), np.sort(change)
    # Colors that stand for no class on the left.
    for name, color, chosen in (
        ("improved", COLORS[2], order < -threshold),
        ("worsened", COLORS[3], order > threshold),
        ("neither", GRAY, np.abs(order) <= threshold),
    ):
        right.bar(place[chosen], order[chosen], width=1.0, color=color, label=name)
    right.legend(frameon=False, loc="upper left")
    right.axhline(0, color="black", linewidth=0.6)
    save_figure(figure, path)


def save_equivariance(path: str | Path, curves: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Writes the error of the trunk's equivariance and of the logits' invariance against angle, model by model.

    Args:
        curves: by model name: ``angle_deg``, ``equivariance_error`` and ``invariance_error`` (R,), NaN where
            not defined, and ``is_element``, whether the angle is one of the model's own group.
    """
    figure = new_figure(9.6, 4.0)
    panels = figure.subplots(1, 2, sharex=True)
    titles = {"equivariance_error": "trunk: equivariance error", "invariance_error": "logits: invariance error"}
    for axes, (key, title) in zip(panels, titles.items(), strict=True):
        style(axes, title, "rotation (degrees)", "relative error")
        for k, (name, curve) in enumerate(curves.items()):
            own = np.flatnonzero(curve["is_element"]).tolist()
            axes.plot(curve["angle_deg"], curve[key], color=color_of(k), linewidth=1.3, label=name, clip_on=False,
                      marker=MARKERS[k % len(MARKERS)], markersize=4, markevery=own)  # fmt: skip
        axes.set_xticks(range(0, 361, 45))
        axes.set_ylim(bottom=0)
    legend_below(figure, panels[0], "markers: elements of its group")
    save_figure(figure, path)
