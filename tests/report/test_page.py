"""The page of a run: made of saved files only, complete in itself, and with every number of them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

import pytest

import main
from radgal.report.page import cite
from radgal.report.savedrun import SavedRun
from tests.report.tools import check_page, read, report, rewrite, with_ten_classes
from tests.smallrun import CONFIG
from utils import UserError


def test_the_page_of_a_run_has_every_part_and_the_numbers_of_its_files(run: Path) -> None:
    page = check_page(run / "report.html")
    metrics = json.loads((run / "metrics.json").read_text())
    upright = metrics["upright"]
    wanted = {metrics["rotated"]["accuracy"]["mean"], metrics["temperature"]["temperature"]}
    for key in ("accuracy", "error", "roc_auc", "nll", "brier", "ece"):
        wanted |= {
            upright[key]["value"],
            upright[key]["low"],
            upright[key]["high"],
            metrics["mc_dropout"][key]["value"],
            metrics["averaged"][key]["high"],
        }
    for one in upright["per_class"].values():
        wanted |= {one[key]["value"] for key in ("precision", "recall", "f1")} | {one["n_sources"], one["n_missed"]}
    wanted |= {float(n) for row in upright["confusion"] for n in row}
    counted = json.loads((run / "environment.json").read_text())["class_counts"]
    wanted |= {n for counts in counted.values() for n in counts.values()}
    assert {value for value in wanted - {None} if value not in page.values()} == set()
    parts = "Test result, Training, Misclassified, Most uncertain, Rotation test, Equivariance, Class balance"
    parts += ", Configuration, Environment, How to cite, Griese et al. 2023, VanillaLeNet, kept: epoch"
    for part in f"{parts}, Confusion matrix, ROC curve, Reliability".split(", "):
        assert part in page.text, part
    assert "cannot be read" not in page.text and "left out" not in page.text


def test_a_rotation_figure_is_in_the_page_once_and_its_source_leads_to_it(run: Path) -> None:
    page = check_page(run / "report.html")
    figures = [attrs for attrs in page.all("img") if attrs.get("alt", "").startswith("Rotation test of")]
    assert len(figures) == 3
    copies = {attrs["data-copy"] for attrs in page.all("div") if attrs.get("class") == "figure-copy"}
    assert copies <= {attrs["id"] for attrs in figures}


def test_ten_classes_are_told_apart(copy: Path) -> None:
    page = check_page(report(with_ten_classes(copy)))
    drawn = [attrs["class"] for attrs in page.all("path") if attrs.get("data-label", "").endswith("as positive")]
    assert len(drawn) == len(set(drawn)) == 10
    assert "the two most probable classes" in page.text
    intervals = page.text.split("Intervals: ")[1].split(". Smaller")[0]
    assert "studentized, corrected for skewness for negative log-likelihood, Brier score" in intervals
    assert "ROC area" not in intervals  # it has none


def test_commands_that_are_printed_can_be_pasted(run: Path, tmp_path: Path, capsys) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "my run"))
    quick = ["--mc-samples", "2"]
    elsewhere = tmp_path / "some where"
    for words, named in (
        (["evaluate", folder, "--rotations", "1", *quick], folder),
        (["evaluate", folder, "--rotations", "1", *quick, "--out", elsewhere], elsewhere),
        (["rotate", folder, "--limit", "1", "--out", folder, *quick, "--angles", "0", "0", "1"], folder),
        (["equivariance", folder, "--n-images", "1", "--step", "90"], folder),
    ):
        main.main(list(map(str, words)))
        last = capsys.readouterr().out.splitlines()[-1]
        assert shlex.split(last)[-1] == str(named), last
    assert read(report(elsewhere)).text
    (folder / "metrics.json").unlink()
    text = read(report(folder)).text
    assert f"python main.py evaluate '{folder}'" in text


def test_several_runs_stand_side_by_side(run: Path, copy: Path, tmp_path: Path, capsys) -> None:
    page = check_page(report(run, copy, run, out=tmp_path / "both.html"))
    assert "2 runs side by side" in page.text and "were not tested on the same sources" not in page.text
    assert "note: " not in capsys.readouterr().out
    (copy / "metrics.json").write_text("{")
    page = check_page(report(run, copy, out=tmp_path / "both.html"))
    assert "metrics.json cannot be read" in capsys.readouterr().out and "Loss, validation" in page.text


def test_results_of_other_weights_are_told(copy: Path) -> None:
    rewrite(copy / "environment.json", lambda content: {**content, "kept_epoch": 77})
    os.utime(copy / "rotation_sources.csv", (1, 1))
    text = check_page(report(copy)).text
    assert "epoch 77 is kept now: evaluate the run again" in text
    assert "rotation_sources.csv is older than the end of the training" in text


def test_a_finished_run_that_is_resumed_has_no_new_weights(run: Path, copy: Path) -> None:
    shutil.copy2(run / "last.pt", copy)
    os.utime(copy / "environment.json", (4e9, 4e9))
    assert "older than the end of the training" not in check_page(report(copy)).text


def test_a_new_run_in_the_folder_does_not_inherit_results_of_the_old_one(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(run, out)
    config = tmp_path / "small.txt"
    config.write_text(CONFIG.format(folder=out.as_posix()))
    main.main(["--config", str(config), "--no-test", "--set", "training.epochs=1", "model.quiet=True"])
    page = check_page(out / "report.html")
    assert "Rotation test" not in page.text and "Equivariance" not in page.text and "main.py evaluate" in page.text
    kept = {path.name for path in (out / "earlier.1").iterdir()}
    assert {"report.html", "gallery.npz", "rotation_sources.csv", "rotation_figures", "equivariance.csv"} <= kept
    check_page(report(out / "earlier.1"))


def test_mistakes_are_user_errors(run: Path, tmp_path: Path) -> None:
    precious = tmp_path / "thesis.html"
    precious.write_text("<p>mine</p>")
    for words, message in (
        ([tmp_path / "nowhere"], "there is no run folder"),
        ([tmp_path], "is not the folder of a training run; it holds thesis.html"),
        ([run, "--out", tmp_path], "a report is written as .html|is a folder"),
        ([run, "--out", run / "best.pt"], "a report is written as .html|is a folder"),
        ([run, "--out", precious], "not a report of this program"),
    ):
        with pytest.raises(UserError, match=message):
            main.main(["report", *map(str, words)])
    assert precious.read_text() == "<p>mine</p>" and (run / "best.pt").stat().st_size > 1000


def test_a_report_that_cannot_be_made_does_not_lose_the_run(tmp_path: Path, monkeypatch, capsys) -> None:
    def refuse(*_):
        raise UserError("no room for a page")

    monkeypatch.setattr("radgal.report.page.write_report", refuse)
    config = tmp_path / "small.txt"
    config.write_text(CONFIG.format(folder=(tmp_path / "out").as_posix()))
    done = main.main(["--config", str(config), "--no-test", "--set", "training.epochs=1"])
    said = capsys.readouterr().out.splitlines()
    assert said[-2] == "the report was not made: no room for a page" and "written to" in said[-1]
    assert (done.folder / "environment.json").is_file()


def test_outcome_counts_what_was_trained_on(run: Path) -> None:
    environment = json.loads((run / "environment.json").read_text())
    assert environment["class_counts"] == {"train": {"FRI": 356, "FRII": 699}, "validation": {"FRI": 89, "FRII": 175}}
    assert environment["trainable_parameters"] > 10_000 and environment["kept_epoch"] in (1, 2)


def test_what_to_cite_is_what_the_run_made_use_of() -> None:
    """Of a plain network no steerable layers; of one with first weights from elsewhere also their data set."""
    plain = SavedRun(Path("a"), {"model": {"base": "VanillaLeNet"}}, {"dataset": "FIRSTGalaxyData"})
    assert "Griese et al." in " ".join(cite([plain])) and "Weiler" not in " ".join(cite([plain]))
    steerable = SavedRun(Path("b"), {"model": {"base": "DNSteerableLeNet"}}, {"dataset": "own.csv"})
    steerable.environment |= {"started_from": {"run": "c", "dataset": "MBFRConfident"}, "also": {"FIRSTGalaxyData": {}}}
    text = " ".join(cite([steerable]))
    assert "Weiler" in text and "MBFRConfident: " in text and "Griese et al." in text
