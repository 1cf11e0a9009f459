"""What surveys and referees ask of a test, as plain values for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from radgal.evaluation.questions.listed import answers_of
from radgal.evaluation.questions.question import Question
from radgal.figures.panels import Curve, Panel
from radgal.report.charts import Axis, make_chart, make_series
from radgal.report.savedrun import SavedRun, to_float
from radgal.report.values import clean


def questions(run: SavedRun) -> list[dict[str, Any]]:
    """Returns for each question that was answered its title, words, charts and table."""
    return [_question(*one) for saved in (run.metrics, run.against) for one in answers_of(saved)]


def _question(one: Question, answer: dict) -> dict[str, Any]:
    rows = one.rows(answer)
    return {
        "key": one.key,
        "title": one.title,
        "means": one.means,
        "fails": one.fails,
        "says": clean(one.says(answer), 1000),
        "charts": [chart for panel in one.panels(answer) if (chart := _chart(panel))],
        "columns": [clean(name) for name in rows[0]],
        "rows": [[_cell(value) for value in row.values()] for row in rows],
    }


def _cell(value: Any) -> dict[str, str]:
    """Returns a text, or a number of four digits, as shown and as saved; "–" for None."""
    if value is None or isinstance(value, str):
        return {"text": "–" if value is None else clean(value), "value": ""}
    number = to_float(value)
    return {"text": f"{value:d}" if isinstance(value, int) else f"{number:.4g}", "value": repr(value)}


def _chart(panel: Panel) -> dict[str, Any] | None:
    return make_chart(
        clean(panel.title),
        clean(f"{panel.title}: {panel.ylabel} against {panel.xlabel}."),
        [series for curve in panel.curves for series in _series(curve)],
        Axis(clean(panel.xlabel), range=panel.x_range),
        Axis(clean(panel.ylabel), range=panel.y_range),
        diagonal=panel.diagonal,
        shape="square",
    )


def _series(curve: Curve) -> Sequence[dict[str, Any]]:
    """Returns a curve, and its intervals before it."""
    line = make_series(clean(curve.label), curve.x, curve.y, curve.color, "dots" if curve.dots else "line")
    if curve.ends is None:
        return [line]
    there = [(x, ends) for x, ends in zip(curve.x, curve.ends, strict=True) if None not in ends]
    if curve.dots:
        points, kind = [(x, end) for x, ends in there for end in ends], "whiskers"
    else:
        points, kind = [(x, high) for x, (_, high) in there] + [(x, low) for x, (low, _) in reversed(there)], "band"
    return [make_series("", *zip(*points, strict=True), curve.color, kind), line] if points else [line]
