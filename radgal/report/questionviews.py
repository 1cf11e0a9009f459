"""What surveys and referees ask of a test, as plain values for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from radgal.evaluation.questions import doubted
from radgal.evaluation.questions.listed import answers_of
from radgal.evaluation.questions.question import Question
from radgal.figures.panels import Curve, Panel
from radgal.repeats.labels import SHEET
from radgal.report.charts import Axis, make_chart, make_series
from radgal.report.savedrun import SavedRepeat, SavedRun, to_float
from radgal.report.thumbnails import encode_figure
from radgal.report.values import clean
from radgal.runs.files import forbid_leaving
from utils import UserError

WIDE = 28  # letters of a cell: with one as long a table takes the whole width


def answered(run: SavedRun) -> list[tuple[Question, dict]]:
    """Returns all questions that a run has answers to, each with its answer.

    Of the repeat that it is part of there are those of all recipes, but for doubted labels, which are of its own.
    """
    found = [one for saved in (run.metrics, run.against) for one in answers_of(saved)]
    if run.repeat is not None:
        for question, answer in answers_of(run.repeat.answers):
            if question is doubted.QUESTION:
                own = {name: one for name, one in answer["recipes"].items() if name == run.repeat.recipe}
                answer = {"recipes": own}
            if answer["recipes"]:
                found.append((question, answer))
    return found


def questions(run: SavedRun) -> list[dict[str, Any]]:
    """Returns for each question that was answered its title, words, charts, table and sheets of images."""
    return [_question(*one, run.repeat) for one in answered(run)]


def of_repeat(runs: Sequence[SavedRun]) -> list[dict[str, Any]]:
    """Returns the same of the repeat that all runs are part of, of all its recipes; nothing if there is none."""
    repeats = [run.repeat for run in runs]
    if None in repeats or len({one.folder for one in repeats}) > 1:
        return []
    return [_question(*one, repeats[0]) for one in answers_of(repeats[0].answers)]


def _sheets(answer: dict, repeat: SavedRepeat) -> list[dict[str, str]]:
    """Returns the sheets of images of doubted labels that lie in the folders of the recipes and can be read."""
    found = []
    for name in answer["recipes"]:
        path = repeat.folder / name / SHEET
        try:
            forbid_leaving(path, repeat.folder)
            if path.is_file():
                found.append({"image": encode_figure(path), "alt": clean(f"Sources whose labels {name} doubts most")})
        except (OSError, ValueError, SyntaxError, UserError):
            continue  # it is a picture of what the table says
    return found


def _question(one: Question, answer: dict, repeat: SavedRepeat | None) -> dict[str, Any]:
    rows, says = one.rows(answer), clean(one.says(answer), 1000)
    cells = [[_cell(value) for value in row.values()] for row in rows]
    return {
        "key": one.key,
        "title": one.title,
        "means": one.means,
        "fails": one.fails,
        "says": says[:1].upper() + says[1:],
        "charts": [chart for panel in one.panels(answer) if (chart := _chart(panel))],
        "columns": [clean(name) for name in rows[0]],
        "rows": cells,
        "is_wide": len(rows[0]) > 7 or max(len(cell["text"]) for row in cells for cell in row) > WIDE,
        "sheets": _sheets(answer, repeat) if one is doubted.QUESTION and repeat is not None else [],
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
