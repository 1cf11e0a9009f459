"""The page of several runs: what differs, paired by the names of sources, and who disagrees where."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from radgal.report.comparison import common_sources, compare_runs, names_of
from radgal.report.differing import differences
from radgal.report.page import write_report
from radgal.report.savedrun import SavedRun, read_run
from tests.report.tools import HOSTILE, check_page, report, rewrite


@pytest.fixture(autouse=True)
def quick_images(monkeypatch) -> None:
    """Images are not encoded, which takes most of the time; the tests of the gallery look at them."""
    for name in ("page.encode_source", "page.encode_figure", "comparison.encode_source"):
        monkeypatch.setattr(f"radgal.report.{name}", lambda _: "data:image/png;base64,iVBORw0KGgo=")


def turn_some(folder: Path, n: int = 3) -> list[str]:
    """Makes a run call its first sources by the other class; returns their names."""
    names = []

    def change(rows):
        for row in rows[:n]:
            names.append(row["name"])
            row["prob_FRI"], row["prob_FRII"] = row["prob_FRII"], row["prob_FRI"]
            row["correct"] = str(row["correct"] == "False")

    rewrite(folder / "sources.csv", change)
    return names


def test_the_page_opens_with_what_differs_and_tells_where_the_runs_disagree(run: Path, copy: Path, tmp_path: Path):
    names = turn_some(copy)
    (copy / "config.txt").write_text((copy / "config.txt").read_text().replace("dropout: 0.5", "dropout: 0.25"))
    page = check_page(report(run, copy, out=tmp_path / "both.html"))
    assert page.text.index("[model] dropout") < page.text.index("Scores side by side") < page.text.index("Paired")
    assert "3 of 100 sources are not called the same" in page.text and "outputdir" not in page.text
    for name in names:
        assert name in page.text
    links = {attrs["href"] for attrs in page.all("a") if not attrs["href"].startswith("#")}
    assert links == {"both_out.html", "both_run.html"}  # called by their folders, since their names are the same
    for link in links:
        assert "Sources to look at" in check_page(tmp_path / link).text
    assert (tmp_path / "both.html").stat().st_size < 300_000


def test_differences_are_paired_by_name_whatever_the_order_of_the_rows(run: Path, copy: Path) -> None:
    names = turn_some(copy)
    runs = [read_run(run), read_run(copy)]
    before = compare_runs(runs, ["a", "b"], ["a", "b"])
    rewrite(copy / "sources.csv", lambda rows: rows[::-1])
    after = compare_runs([runs[0], read_run(copy)], ["a", "b"], ["a", "b"])
    assert after["pairs"] == before["pairs"] and after["note"] is None
    assert {row["name"] for row in after["disagreements"]["rows"]} == set(names)
    with (run / "sources.csv").open(newline="") as stream:
        right = sum(row["correct"] == "True" for row in csv.DictReader(stream))
    both, only_first, only_second, _ = (int(float(one["value"])) for one in after["pairs"][0]["counts"])
    assert only_first + only_second == 3 and both + only_first == right


def test_only_sources_of_both_tests_are_paired_and_it_is_said(run: Path, copy: Path, tmp_path: Path) -> None:
    rewrite(copy / "sources.csv", lambda rows: [*rows[:40], *({**row, "name": f"x{row['name']}"} for row in rows[40:])])
    page = check_page(report(run, copy, out=tmp_path / "both.html"))
    assert "were not tested on the same sources" in page.text and "40 sources of the same name and class" in page.text
    rewrite(copy / "sources.csv", lambda rows: [{**row, "name": f"y{row['name']}"} for row in rows])
    page = check_page(report(run, copy, out=tmp_path / "both.html"))
    assert "no source was tested by all of these runs" in page.text and "Paired differences" not in page.text


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("sources.csv", b"name,label_name\nx,FRI\n", "cannot be compared"),
        ("metrics.json", b"{", "holds no scores of single sources"),
        ("config.txt", b"no section", "Paired differences"),
    ],
)
def test_a_damaged_run_costs_its_part_only(run, copy, tmp_path, name, content, reason) -> None:
    (copy / name).write_bytes(content)
    page = check_page(report(run, copy, out=tmp_path / "both.html"))
    assert reason in page.text and "Confusion matrices" in page.text


def test_what_the_files_of_compared_runs_hold_cannot_become_markup(run: Path, copy: Path, tmp_path: Path) -> None:
    rewrite(copy / "metrics.json", lambda metrics: {**metrics, "run": HOSTILE})
    rewrite(copy / "environment.json", lambda content: {**content, "dataset": HOSTILE, "packages": {HOSTILE: HOSTILE}})
    (copy / "config.txt").write_text(f"[model]\nbase: {HOSTILE!r}\n")
    text = report(run, copy, out=tmp_path / "both.html").read_text(encoding="utf-8")
    check_page(tmp_path / "both.html")
    assert text.count("<script") == 1 and "<img src=http" not in text and "&lt;script&gt;alert" in text


def test_a_key_that_an_older_config_lacks_is_at_its_default() -> None:
    new = {"training": {"lr0": 0.001, "ema": None}, "output": {"csvfile": "a"}, "metrics": {"outputdir": "x"}}
    runs = [SavedRun(Path("a"), config=new), SavedRun(Path("b"), config={"training": {"lr0": 0.002}})]
    assert [(row["name"], row["cells"]) for row in differences(runs)] == [("[training] lr0", ["0.001", "0.002"])]


def test_runs_of_one_name_are_called_by_their_folders() -> None:
    folders = ("r/lenet/seed_0", "r/lenet/seed_1", "r/d4/seed_0", "r/other")
    runs = [SavedRun(Path(folder), metrics={"run": name}) for folder, name in zip(folders, "aaab", strict=True)]
    assert names_of(runs) == ["lenet/seed_0", "seed_1", "d4/seed_0", "b"]


def test_probabilities_that_are_no_numbers_are_not_paired(run: Path, copy: Path) -> None:
    rewrite(copy / "sources.csv", lambda rows: [{**row, "prob_FRI": "nan"} for row in rows])
    with pytest.raises(ValueError, match="no numbers"):
        common_sources([read_run(run), read_run(copy)])


def test_an_image_is_cut_to_its_source_and_has_a_bar_of_round_length() -> None:
    from radgal.report.thumbnails import field_of, scale_bar

    image = np.zeros((150, 150), np.uint8)
    image[60:91, 70:81] = 200
    near = field_of(image, 1.8)
    assert float(near["zoom"]) == pytest.approx(4.0, abs=0.3) and near["near"][1] == "20″"
    image[5, 140] = 200  # noise, or a neighbor
    assert field_of(image, 1.8) == near
    image[0:20, 130:150] = 200
    assert float(field_of(image, None)["zoom"]) == 1.0 and field_of(image, None)["near"] is None
    assert scale_bar(270.0) == ("22.2", "1′")


def test_too_many_runs_are_said(run: Path, copy: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("radgal.report.page.MAX_PAGE_BYTES", 1000)
    _, problems = write_report([run, copy], tmp_path / "both.html")
    assert len([one for one in problems if "MB" in one]) == 3
