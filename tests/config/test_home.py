"""``~`` is the home folder in every key, argument and function that takes a path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import main
import radgal
from radgal.config.keys import SECTIONS
from radgal.report.savedrun import read_run
from tests.prediction.tools import make_run

PATHS = {"datadir", "mirror", "table", "start_from", "csvfile", "modfile", "tensorboard", "outputdir"}
CONFIG = "[model]\nbase: 'VanillaLeNet'\n[data]\ndataset: 'FIRSTGalaxyData'\n[training]\nimsize: 18\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "c.txt").write_text(CONFIG)
    return tmp_path


@pytest.mark.parametrize(
    "section, key", [(section, key) for section in SECTIONS for key in SECTIONS[section].model_fields if key in PATHS]
)
def test_every_key_that_is_a_path(section: str, key: str, home: Path) -> None:
    base = ["data.dataset=ImageTable", "training.num_classes=2", "data.table=t.csv"] if key == "table" else []
    config = radgal.read_config("~/c.txt", [*base, f"{section}.{key}=~/x/y"])
    assert getattr(getattr(config, section), key) == str(home / "x" / "y")


def test_no_key_that_is_a_path_is_forgotten() -> None:
    words = ("folder", "file that", "address", "csv", "run to take", "where everything", "losses per", "weights of the")
    described = {
        key
        for model in SECTIONS.values()
        for key, info in model.model_fields.items()
        if any(word in info.description for word in words) and "str" in str(info.annotation)
    }
    assert described == PATHS


def test_functions_and_arguments(home: Path) -> None:
    make_run(home / "run")
    np.save(home / "image.npy", np.full((30, 30), 9, dtype=np.uint8))
    opened = radgal.open_run("~/run", device="cpu", datadir="~/data")
    assert opened.path == home / "run" / "best.pt" and opened.config.data.datadir == str(home / "data")
    assert len(radgal.predict(opened, "~/image.npy", "~/a.csv", mc_samples=0)) == 1 and (home / "a.csv").is_file()
    words = ["~/image.npy", "--out=~/b.csv", "--mc-samples", "0", "--device", "cpu", "--quiet"]
    main.main(["predict", "~/run", *words])
    assert (home / "b.csv").read_bytes() == (home / "a.csv").read_bytes()
    (home / "run" / "history.csv").write_text("epoch\n1\n")
    assert read_run("~/run").folder == home / "run"
