"""A figure said in numbers, once: drawn here as a file, and by the report as a part of its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radgal.figures.style import GRAY, color_of, line_of, new_panels, save_figure, style


@dataclass(frozen=True)
class Curve:
    """A line, or dots, with its 95 % intervals: a band around a line, bars at dots. None: not defined there."""

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    ends: Sequence[tuple[float, float] | tuple[None, None]] | None = None  # of the interval of each y
    color: int = 0
    dots: bool = False


@dataclass(frozen=True)
class Panel:
    """Curves on a pair of axes; a range is (low, high), None: what the curves need. ``diagonal`` draws y = x."""

    title: str
    xlabel: str
    ylabel: str
    curves: Sequence[Curve]
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    diagonal: bool = False


def save_panels(path: str | Path, panels: Sequence[Panel]) -> None:
    """Writes a figure with its panels side by side, at most three in a row."""
    n_columns = min(len(panels), 3)
    n_rows = -(-len(panels) // n_columns)
    figure, places = new_panels(4.6 * n_columns, 3.8 * n_rows, n_rows, n_columns)
    for axes in places[len(panels) :]:
        axes.remove()
    for axes, panel in zip(places, panels, strict=False):
        _draw(style(axes, panel.title, panel.xlabel, panel.ylabel), panel)
    save_figure(figure, path)


def _draw(axes, panel: Panel) -> None:
    if panel.diagonal:
        axes.axline((0, 0), slope=1, color=GRAY, linestyle="--", linewidth=1)
    for curve in panel.curves:
        x, y, color = np.asarray(curve.x, dtype=float), np.array(curve.y, dtype=float), color_of(curve.color)
        ends = None if curve.ends is None else np.array(curve.ends, dtype=float).reshape(len(y), 2).T
        if curve.dots:
            sizes = None if ends is None else np.abs(ends - y)
            axes.errorbar(
                x, y, sizes, color=color, marker="o", markersize=4, linestyle="", capsize=2, label=curve.label
            )
            continue
        axes.plot(x, y, color=color, linestyle=line_of(curve.color), linewidth=1.5, label=curve.label)
        if ends is not None:
            axes.fill_between(x, *ends, color=color, alpha=0.18, linewidth=0)
    axes.set(xlim=panel.x_range, ylim=panel.y_range)
    if len(panel.curves) > 1 or panel.curves[0].label:
        axes.legend(frameon=True, framealpha=0.8, edgecolor="none", fontsize="small")
