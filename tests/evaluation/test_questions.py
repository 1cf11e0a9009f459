"""What surveys ask: every question is answered, drawn, and written of odd tests too, and is in the docs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from radgal.evaluation.conformal import limits_of
from radgal.evaluation.questions import listed
from radgal.evaluation.sourcetable import KINDS, make_table
from radgal.figures.panels import save_panels
from radgal.images.measured import MEASURED
from radgal.report.questionviews import questions
from radgal.report.savedrun import SavedRun
from tests.conftest import ROOT

NAMES = ("FRI", "FRII", "$x_1$", "=1+1", "Z")


def as_saved(probs: np.ndarray, labels: np.ndarray | None, **metrics) -> tuple[dict, object]:
    """Returns (metrics, table) as a test with these probabilities (N, K) leaves them."""
    classes = NAMES[: probs.shape[1]]
    entropies = {key: probs[:, 0] for key in ("predictive_entropy", "expected_entropy", "mutual_information")}
    names = [f"source {i}" for i in range(len(probs))]
    limits = limits_of({"on": "the docs", "scores": [[0.1 * i for i in range(10)]] + [[0.5]] * (len(classes) - 1)})
    metrics = {"calibration": limits} | metrics
    measured = dict.fromkeys(MEASURED, 1.0 + probs[:, 0])
    table = make_table(names, classes, dict.fromkeys(KINDS, probs), entropies, labels, measured=measured)
    return {"classes": list(classes), "n_test": len(probs), "seed": 0, **metrics}, table


def drawn(n: int, n_classes: int, seed: int = 0, sureness: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Returns random probabilities (N, K) and labels (N,), which the larger probability is right about as a rule."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n)
    logits = sureness * (rng.normal(size=(n, n_classes)) + 1.5 * np.eye(n_classes)[labels])
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    return probs / probs.sum(axis=1, keepdims=True), labels


ODD = {
    "usual": drawn(104, 2),
    "five classes": drawn(60, 5),
    "one source": (np.array([[0.2, 0.8]]), np.array([1])),
    "all right and sure": (np.eye(2)[[0, 1] * 5], np.array([0, 1] * 5)),
    "all wrong and sure": (np.eye(2)[[0, 1] * 5], np.array([1, 0] * 5)),
    "all equally sure": (np.full((12, 3), 1 / 3), np.arange(12) % 3),
    "a class is missing": (drawn(30, 3)[0], np.arange(30) % 2),
    "one class only": (drawn(30, 2)[0], np.zeros(30, dtype=int)),
}


@pytest.mark.parametrize("name", ODD)
def test_every_question_is_answered_and_shown_of_any_test(name, tmp_path: Path) -> None:
    metrics, table = as_saved(*ODD[name])
    shares = dict.fromkeys(metrics["classes"], 1 / len(metrics["classes"]))
    for priors in ({}, {"priors": {"survey": shares, "training": shares}, "run_temperature": 1.5}):
        answered(metrics | priors, table, tmp_path)


def answered(metrics: dict, table: object, tmp_path: Path) -> None:
    metrics["questions"] = listed.ask_all(metrics, table)
    metrics = json.loads(json.dumps(metrics, allow_nan=False))
    listed.save_questions(metrics, tmp_path)
    for question, answer in listed.answers_of(metrics):
        with (tmp_path / "questions" / f"{question.key}.csv").open(newline="") as stream:
            rows = list(csv.reader(stream))
        assert len(rows) > 1 and {len(row) for row in rows} == {len(rows[0])}
        assert "nan" not in question.says(answer)
    page = questions(SavedRun(tmp_path, metrics=metrics))
    assert [one["key"] for one in page] == list(metrics["questions"])
    assert all(one["charts"] and one["rows"] for one in page)
    assert len(listed.describe_questions(metrics)) == len(page)


@pytest.mark.usefixtures("drawing")
@pytest.mark.parametrize("name", ["usual", "one source"])
def test_every_question_has_a_figure(name, tmp_path: Path) -> None:
    metrics, table = as_saved(*ODD[name])
    for question, answer in listed.answers_of({"questions": listed.ask_all(metrics, table)}):
        save_panels(tmp_path / "figure.png", question.panels(answer))
        assert (tmp_path / "figure.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_sources_of_unknown_classes_are_asked_only_what_needs_no_labels() -> None:
    metrics, table = as_saved(drawn(20, 2)[0], None)
    without = {one.key for one in listed.QUESTIONS if not one.needs_labels}
    assert listed.ask_all(metrics, table).keys() <= without


def test_a_run_of_an_earlier_version_has_no_answers() -> None:
    assert questions(SavedRun(Path("."), metrics={"classes": ["FRI"]})) == []


def test_the_docs_say_of_every_question_what_it_means() -> None:
    text = (ROOT / "docs" / "science.md").read_text(encoding="utf-8")
    assert [one.title for one in listed.QUESTIONS if f"### {one.title}\n" not in text] == []
    assert len({one.key for one in listed.QUESTIONS}) == len(listed.QUESTIONS)
