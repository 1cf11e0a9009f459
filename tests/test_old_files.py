"""What an earlier version wrote is read as then: runs, tables, half a catalog, configs; see old_files/README.md."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import main
import models
from radgal.config.config import load_config
from radgal.data.datasets import class_counts
from radgal.runs import checkpoint
from tests.conftest import ROOT

OLD = ROOT / "tests" / "old_files"
RUNS = {"plain": Path("runs/plain/seed_0"), "steerable": Path("runs/steerable/seed_0")}
PREDICT = f"{RUNS['plain']} images --ensemble {RUNS['steerable']} --mc-samples 5 --rotations 2 --part-rows 3"
IMAGES_OF = 1_700_000_000  # seconds since 1970

each_run = pytest.mark.parametrize("name", RUNS)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch) -> Path:
    """A copy of the old files as they were, and the working folder."""
    copy = Path(shutil.copytree(OLD, tmp_path / "old"))
    for run in RUNS.values():
        shutil.copy2(copy / run / "best.pt", copy / run / "last.pt")  # with its time
    for path in (copy / "images").iterdir():
        os.utime(path, (IMAGES_OF, IMAGES_OF))
    monkeypatch.chdir(copy)
    return copy


def go(line: str) -> object:
    return main.main(line.split())


def rows(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def expected(name: str) -> dict:
    return json.loads(Path("expected.json").read_text())[name]


def check_rows(found: list[dict], before: list[dict], **tolerance: float) -> None:
    """Texts must be equal; numbers nearly so, as rounding depends on the processor and on the version of torch.

    An error may be said in other words, where there was one.
    """
    assert len(found) == len(before)
    for now, then in zip(found, before, strict=True):
        for key, value in then.items():
            try:
                assert float(now[key]) == pytest.approx(float(value), **tolerance), key
            except ValueError:
                assert now[key] == value or (key == "error" and now[key] and value), key


def check_same(now: object, then: object, place: str = "") -> None:
    """All that was there is there, with the same value to rounding; what is new since then may be added."""
    if isinstance(then, dict):
        if then.get("interval") == "bootstrap":  # other intervals are made now
            then = {"value": then["value"]}
        for key, value in then.items():
            check_same(now[key], value, f"{place}/{key}")
    elif isinstance(then, list):
        assert len(now) == len(then), place
        for i, value in enumerate(then):
            check_same(now[i], value, f"{place}/{i}")
    elif isinstance(then, float):
        assert now == pytest.approx(then, rel=1e-3, abs=1e-4), place
    else:
        assert now == then, place


@each_run
def test_networks_give_the_logits_of_then(name: str) -> None:
    run = checkpoint.load_run(RUNS[name], torch.device("cpu"))
    images = torch.linspace(-1, 3, 200).reshape(2, 1, 10, 10).sin()
    with torch.no_grad():
        logits = run.model(images).numpy()
    np.testing.assert_allclose(logits, expected(name)["logits"], atol=1e-5)
    assert run.epoch == 2 and run.classes == ("FRI", "FRII")


@each_run
def test_evaluate_finds_the_metrics_of_then(name: str) -> None:
    then = json.loads((RUNS[name] / "metrics.json").read_text())
    del then["temperature"]["temperature"], then["temperature"]["scaled"]  # it has a prior now
    go(f"evaluate {RUNS[name]} --out again --device cpu")
    check_same(json.loads(Path("again/metrics.json").read_text()), then)
    check_rows(rows("again/sources.csv"), rows(RUNS[name] / "sources.csv"), rel=1e-3, abs=1e-4)


@each_run
def test_a_run_goes_on_as_it_would_have(name: str) -> None:
    before = rows(RUNS[name] / "history.csv")
    go(f"--config {RUNS[name]}/config.txt --resume --no-test --set training.epochs=3")
    *kept, third = rows(RUNS[name] / "history.csv")
    assert kept == before
    check_same({key: float(value) for key, value in third.items()}, expected(name)["third_epoch"])


def test_finished_runs_of_repeat_are_not_trained_again(capsys) -> None:
    go("repeat --config plain.txt steerable.txt --seeds 1 --out runs")
    assert "training in" not in capsys.readouterr().out
    check_rows(rows("runs/repeat.csv"), rows(OLD / "runs" / "repeat.csv"))


def test_a_report_shows_everything_that_is_there(capsys) -> None:
    go(f"report {RUNS['plain']} {RUNS['steerable']} --out both.html")
    text = "".join(page.read_text(encoding="utf-8") for page in Path().glob("both*.html"))  # and of each beside it
    assert "Not everything could be shown" not in text and "note:" not in capsys.readouterr().out
    for part in ("Test result", "Training", "Misclassified", "Rotation test", "Equivariance", "Configuration"):
        assert part in text, part


def test_half_a_catalog_is_finished_as_it_would_have_been() -> None:
    go(f"predict {PREDICT} --out half.csv --resume --device cpu")
    found, then = rows("half.csv"), rows("finished.csv")
    check_rows(found[:6], then[:6], rel=1e-5)  # from the parts of then, in the digits of now
    assert list(found[0]) == list(then[0])
    check_rows(found, then, rel=1e-4)
    assert not Path("half.csv.parts").exists()


def test_a_finished_catalog_is_known(capsys) -> None:
    before = Path("finished.csv").read_bytes()
    go(f"predict {PREDICT} --out finished.csv --resume --device cpu")
    assert "finished already" in capsys.readouterr().out
    assert Path("finished.csv").read_bytes() == before


@pytest.mark.parametrize(
    "name, network, data, training",
    [
        ("config_first_lenet", ("VanillaLeNet", None, True), ("FIRSTGalaxyData", 0, "stratified", None), (40, 1e-3)),
        ("config_fr_cn16lenet", ("CNSteerableLeNet", 16, True), ("FRDEEPF", 0, "stratified", 0.0019), (600, 1e-4)),
        ("config_paper_mb_lenet", ("VanillaLeNet", None, True), ("MBFRConfident", 1, "first", 0.0031), (600, 1e-4)),
    ],
)
def test_configs_mean_what_they_meant(name: str, network: tuple, data: tuple, training: tuple) -> None:
    config = load_config(OLD / "configs" / f"{name}.txt", models=models.needs_nrot(), datasets=class_counts())
    assert (config.model.base, config.model.nrot, config.model.mask) == network
    assert (config.data.dataset, config.data.pad, config.data.split, config.data.datamean) == data
    assert (config.training.epochs, config.training.lr0) == training
    assert (config.training.batch_size, config.training.decay, config.training.frac_val) == (50, 1e-6, 0.2)
    assert (config.name, str(config.output_dir)) == (name, str(Path("runs", name)))
