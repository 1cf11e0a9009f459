"""All questions, and what evaluation does with them: a new one is a module of this folder and a name in the list."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radgal.evaluation.questions import classwise, conformal, doubted, learning, odd, purity, selective, trends
from radgal.evaluation.questions.question import Asked, Question
from radgal.figures.panels import save_panels
from radgal.figures.style import spared, title_of, titled
from radgal.files.cells import safe_cell
from radgal.runs.files import RunFile
from utils import atomic_write

if TYPE_CHECKING:
    from astropy.table import Table

QUESTIONS: tuple[Question, ...] = tuple(
    one.QUESTION for one in (selective, purity, classwise, conformal, trends, odd, learning, doubted)
)


def ask_all(metrics: Mapping[str, Any], table: Table) -> dict[str, dict]:
    """Returns the answers to the questions that a test can be asked, by their keys: "questions" in metrics.json."""
    asked = Asked(table, metrics)
    found = {one.key: one.ask(asked) for one in QUESTIONS if asked.has_labels or not one.needs_labels}
    return {key: answer for key, answer in found.items() if answer is not None}


def answers_of(metrics: Mapping[str, Any]) -> list[tuple[Question, dict]]:
    """Returns the questions that metrics.json has answers to, which older runs lack, each with its answer."""
    answers = metrics.get("questions") or {}
    return [(one, answers[one.key]) for one in QUESTIONS if one.key in answers]


def save_questions(metrics: Mapping[str, Any], folder: Path) -> None:
    """Writes a figure and a table for each question that was answered, into the folder ``questions`` of a test."""
    for question, answer in answers_of(metrics):
        place = RunFile.QUESTIONS.at(folder)
        place.mkdir(exist_ok=True)
        rows = question.rows(answer)
        with atomic_write(place / f"{question.key}.csv") as temporary, temporary.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writerow({name: safe_cell(name) for name in rows[0]})
            writer.writerows({name: safe_cell(value) for name, value in row.items()} for row in rows)
        with spared(print), titled(title_of(metrics)):
            save_panels(place / f"{question.key}.png", question.panels(answer))


def describe_questions(metrics: Mapping[str, Any]) -> list[str]:
    """Returns a line for each question that was answered: what its sentence says up to the first semicolon."""
    found = [(question.title.lower(), question.says(answer)) for question, answer in answers_of(metrics)]
    return [f"  {title}: {text.partition('; ')[0]}" for title, text in found]
