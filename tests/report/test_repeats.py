"""What a ``repeat`` found stands in the reports of its runs: on the page of one, and where they are compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from radgal.report.page import write_report
from radgal.report.paper.figures import drawings_of
from radgal.report.questionviews import answered
from radgal.report.savedrun import read_run
from tests.report.tools import HOSTILE, check_page

ROW = {"rank": 1, "name": "a source", "label_name": "FRI", "rather": "FRII", "prob_label": 0.02, "prob_rather": 0.98}


def size(n: int, error: float) -> dict:
    more = {"recipe": "small", "n_train": n, "n_seeds": 2, "error": error, "sd": 0.01}
    return more | {"low": error / 2, "high": 2 * error}


def answers(**recipes: list[dict]) -> dict:
    found = {name: {"n": 100, "n_seeds": 2, "n_doubted": len(most), "most": most} for name, most in recipes.items()}
    sizes = {"part": "test", "recipes": {"small": [size(50, 0.2), size(800, 0.0371)]}}
    return {"questions": {"learning_curves": sizes, "doubted_labels": {"recipes": found}}}


@pytest.fixture
def repeat(finished_run: Path, tmp_path: Path) -> Path:
    """The folder of a repeat with two seeds of ``small`` and one of ``other``, which doubts nothing."""
    out = tmp_path / "rep"
    for place in ("small/seed_0", "small/seed_1", "other/seed_0"):
        folder = out / place
        folder.mkdir(parents=True)
        for name in ("metrics.json", "sources.csv"):
            shutil.copyfile(finished_run / name, folder / name)
    (out / "repeat.json").write_text(json.dumps(answers(small=[ROW], other=[])))
    Image.new("RGB", (40, 30)).save(out / "small" / "label_errors.png")
    return out


def test_the_page_of_a_run_has_the_curve_of_all_recipes_and_the_doubts_of_its_own(repeat: Path) -> None:
    write_report([repeat / "small" / "seed_1"])
    page = check_page(repeat / "small" / "seed_1" / "report.html")
    ids = {attrs.get("id") for _, attrs in page.tags}
    assert {"r0-learning_curves", "r0-doubted_labels"} <= ids and {0.0371, 0.98} <= page.values()
    assert "1 of 100 labels are doubted by small, 2 seeds of its folds." in page.text
    assert "doubted by other" not in page.text
    assert sum("whose labels small doubts most" in attrs["alt"] for attrs in page.all("img")) == 1
    assert {"learning_curves", "doubted_labels"} <= drawings_of(read_run(repeat / "small" / "seed_1")).keys()
    other = read_run(repeat / "other" / "seed_0")
    assert "0 of 100 labels are doubted by other" in answered(other)[-1][0].says(answered(other)[-1][1])
    assert "doubted_labels" not in drawings_of(other)  # there is nothing to draw


def test_runs_side_by_side_have_what_their_repeat_found_of_all(repeat: Path, finished_run: Path) -> None:
    out = repeat / "report.html"
    write_report([repeat / "small" / "seed_0", repeat / "other" / "seed_0"], out)
    text = check_page(out).text
    assert "doubted by small" in text and "0 of 100 labels are doubted by other" in text and "Learning curves" in text
    write_report([repeat / "small" / "seed_0", finished_run], out)
    assert "Learning curves" not in check_page(out).text  # one of them is of no repeat


def test_the_part_that_a_fold_is_of_is_read(repeat: Path) -> None:
    (repeat / "validation.json").write_text(json.dumps(answers(small=[])))
    for fold, n in (("fold_1_of_2", 1), ("val_fold_1_of_2", 0)):
        shutil.copytree(repeat / "small" / "seed_0", repeat / "small" / "seed_3" / fold)
        run = read_run(repeat / "small" / "seed_3" / fold)
        assert answered(run)[-1][1]["recipes"]["small"]["n_doubted"] == n


@pytest.mark.parametrize(
    "content",
    [answers(**{HOSTILE: [ROW | {"name": HOSTILE}], "small": [ROW | {"rather": HOSTILE}], "../../x": [ROW]})]
    + [{"questions": {"doubted_labels": [1]}}, {"questions": {"learning_curves": {"recipes": {"small": 3}}}}, [1]],
)
def test_files_of_a_repeat_are_not_trusted(repeat: Path, content) -> None:
    (repeat / "repeat.json").write_text(json.dumps(content))
    write_report([repeat / "small" / "seed_0", repeat / "other" / "seed_0"], repeat / "report.html")
    pages = sorted(repeat.glob("report*.html"))
    assert len(pages) == 3
    for page in pages:
        assert "<script>alert" not in page.read_text(encoding="utf-8")
        check_page(page)
