"""Line charts as numbers for the report's template: what stands where, with ticks that read well.

Coordinates are the data's own, with y upside down as in SVG; the page only stretches them. Every chart is complete
without a script; report.js adds zoom and hover to what is drawn here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MARK_ROOM = 0.15  # above the lines, for the label of the mark; a share of their height
N_DASHES = 4  # ways to draw a line, in report.css
MAX_TICKS = 50  # of a step that is asked for: more have no room, and a file can ask for an axis as long as it likes
MAX_POINTS = 1200  # of one line: more than a page has pixels, and few enough for a small file


def make_series(
    label: str, x: Sequence[float], y: Sequence[float | None], color: int = 0, kind: str = "line"
) -> dict[str, Any]:
    """Returns one line of a chart, or what is of another kind; points that are None are left out.

    Args:
        label: in the legend; "": none.
        x, y: of the points. Of "bars" x is [(low, high), ...]; a "band" is an area by its outline; "whiskers" are pairs
            of points, the ends of an interval each.
        color: its number.
        kind: "line", "dots", "bars", "band" or "whiskers".
    """
    points = [(where, value) for where, value in zip(x, y, strict=True) if value is not None and math.isfinite(value)]
    return {"label": label, "points": points, "color": color, "kind": kind}


@dataclass(frozen=True)
class Axis:
    """An axis of a chart.

    Args:
        label: what it measures, with its unit.
        range: its ends; None: what the points need.
        from_zero: whether it begins at 0.
        log: whether it is logarithmic, if all values are above 0.
        step: between its ticks; None: round numbers.
    """

    label: str
    range: tuple[float, float] | None = None
    from_zero: bool = False
    log: bool = False
    step: float | None = None

    def limits(self, values: Sequence[float], margin: float) -> tuple[float, float]:
        """Returns the ends; ``margin`` is the share of the range of ``values`` that is left free at each."""
        if self.range:
            return self.range
        first = [0.0] if self.from_zero else []
        low, high = _widen(min([*values, *first]), max([*values, *first]), margin)
        return (0.0 if self.from_zero else low), high


def make_chart(
    title: str,
    alt: str,
    series: Sequence[dict[str, Any]],
    x: Axis,
    y: Axis,
    *,
    diagonal: bool = False,
    mark: tuple[float, str] | None = None,
    shape: str = "wide",
) -> dict[str, Any] | None:
    """Returns a chart for the template, or None if there is nothing to draw.

    Args:
        title: of the figure.
        alt: what it shows, in words, for those who cannot see it.
        series: as ``make_series`` returns them.
        x, y: the axes; x is never logarithmic.
        diagonal: whether to draw y = x.
        mark: an x to mark, and its label.
        shape: "wide", "square" or "low".
    """
    drawn = [one for one in series if one["points"]]
    if not drawn:
        return None
    log = y.log and min(value for one in drawn for _, value in one["points"]) > 0
    scale = math.log10 if log else float
    x0, x1 = x.limits([end for one in drawn for point in one["points"] for end in _ends(point[0])], 0.0)
    y0, y1 = y.limits([scale(value) for one in drawn for _, value in one["points"]], 0.04)
    if mark:
        y1 += MARK_ROOM * (y1 - y0)
    return {
        "title": title,
        "alt": alt,
        "xlabel": x.label,
        "ylabel": y.label,
        "shape": shape,
        "log": log,
        "view": " ".join(map(_digits, (x0, -y1, x1 - x0, y1 - y0))),
        "series": [one | {"path": _path(one, scale), "dash": _dash(one, drawn)} for one in drawn],
        "diagonal": f"M{_digits(x0)} {_digits(-x0)}L{_digits(x1)} {_digits(-x1)}" if diagonal else None,
        "mark": _mark(*mark, (x0, x1), (y0, y1)) if mark else None,
        "x_ticks": [(_percent(at, x0, x1), text) for at, text in ticks(x0, x1, step=x.step)],
        "y_ticks": [(_percent(at, y0, y1), text) for at, text in ticks(y0, y1, log, y.step)],
    }


def _dash(series: dict[str, Any], drawn: Sequence[dict[str, Any]]) -> int:
    """Returns how a line is dashed, so that lines are told apart without colors: the first of a chart is not."""
    lines = [one for one in drawn if one["kind"] == "line"]
    return next((i for i, one in enumerate(lines) if one is series), 0) % N_DASHES


def _mark(at: float, label: str, x: tuple[float, float], y: tuple[float, float]) -> dict[str, str]:
    path = f"M{_digits(at)} {_digits(-y[0])}V{_digits(-y[1])}"
    return {"path": path, "x": _digits(at), "at": _percent(at, *x), "label": label}


def ticks(low: float, high: float, log: bool = False, step: float | None = None) -> list[tuple[float, str]]:
    """Returns (place, label) of about five round numbers from low to high.

    Args:
        log: whether low and high are decimal logarithms; labels are then the numbers themselves.
        step: between ticks; None, or too small for the axis: chosen.
    """
    if log and high - low < 1:
        return [(math.log10(at), text) for at, text in ticks(10**low, 10**high)]
    if log:
        inner = (1, 2, 5) if high - low < 3 else (1,)
        values = [m * 10.0**k for k in range(math.floor(low), math.ceil(high) + 1) for m in inner]
        return [(math.log10(v), f"{v:g}") for v in values if low <= math.log10(v) <= high]
    if step is None or high - low > MAX_TICKS * step:
        rough = (high - low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.8)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(k * step, f"{k * step:.6g}") for k in range(first, last + 1)]


def _ends(x: float | tuple[float, float]) -> tuple[float, ...]:
    return x if isinstance(x, tuple) else (x,)


def _widen(low: float, high: float, share: float) -> tuple[float, float]:
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-9):
        return low - 0.5, high + 0.5
    margin = share * (high - low)
    return low - margin, high + margin


def _path(series: dict[str, Any], scale) -> str:
    kept = series["points"] if series["kind"] in ("band", "whiskers") else thin(series["points"])
    points = [(x, _digits(-scale(y))) for x, y in kept]
    if series["kind"] == "whiskers":
        return "".join(f"M{_digits(x)} {y}V{end}" for (x, y), (_, end) in zip(points[::2], points[1::2], strict=True))
    if series["kind"] == "bars":
        return "".join(f"M{_digits(low)} 0H{_digits(high)}V{y}H{_digits(low)}Z" for (low, high), y in points)
    if series["kind"] == "dots" or len(points) == 1:
        return "".join(f"M{_digits(x)} {y}h0" for x, y in points)
    return "M" + "L".join(f"{_digits(x)} {y}" for x, y in points) + "Z" * (series["kind"] == "band")


def thin(points: list[tuple]) -> list[tuple]:
    """Returns the points, or of a long line the lowest and the highest in each of many equal pieces."""
    if len(points) <= MAX_POINTS:
        return points
    size = math.ceil(len(points) / (MAX_POINTS // 2))
    kept = []
    for start in range(0, len(points), size):
        piece = range(start, min(start + size, len(points)))
        kept += sorted({min(piece, key=lambda i: points[i][1]), max(piece, key=lambda i: points[i][1])})
    return [points[i] for i in kept]


def _digits(value: float) -> str:
    return f"{value:.6g}"


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * (value - low) / (high - low):.3f}"
