"""Several processes under torchrun: the run of one process, to float accuracy, and an end when one of them dies."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from radgal.training.team import Team
from tests.conftest import ROOT
from tests.runs.test_resume import RECIPE
from utils import UserError

CONFIG = """
[model]
base: 'CNSteerableLeNet'
nrot: 4
[data]
dataset: 'FIRSTGalaxyData'
augment: 'rotate+flip'
[training]
imsize: 18
epochs: 2
batch_size: 8
lr0: 1e-3
device: 'cpu'
"""


def start(folder: Path, out: str, n: int, *options: str, **environment: str) -> subprocess.CompletedProcess:
    """Trains in ``folder / out`` with ``n`` processes."""
    (folder / "tiny.txt").write_text(CONFIG)
    words = [sys.executable, "-m"]
    if n > 1:
        words += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(n), "-m"]
    words += ["tests.training.team_driver", "--config", str(folder / "tiny.txt")]
    words += ["--set", f"metrics.outputdir={folder / out}", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "history.csv").open(newline="") as stream:
        return [{k: float(v) for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    done = start(folder, "out", 1)
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3])
def test_the_curve_of_several_processes_is_that_of_one(n: int, tmp_path: Path, alone: Path) -> None:
    """With dropout, random poses, shares of unequal size, and a last batch of one image."""
    done = start(tmp_path, "out", n)
    assert done.returncode == 0, done.stderr
    assert len(rows(alone)) == 2
    for one, several in zip(rows(alone), rows(tmp_path / "out"), strict=True):
        assert several == pytest.approx(one, rel=1e-5, abs=1e-7)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {p.name for p in alone.iterdir()}
    assert done.stdout.count("best epoch") == 1 and done.stdout.count("[training]") == 1
    one, several = (json.loads((path / "metrics.json").read_text())["upright"] for path in (alone, tmp_path / "out"))
    assert several["accuracy"] == one["accuracy"]
    assert several["nll"]["value"] == pytest.approx(one["nll"]["value"], rel=1e-4)


@pytest.mark.slow
def test_every_way_of_training_can_be_shared(tmp_path: Path) -> None:
    for n in (1, 2):
        done = start(tmp_path, f"out_{n}", n, *RECIPE)
        assert done.returncode == 0, done.stderr
    for one, several in zip(rows(tmp_path / "out_1"), rows(tmp_path / "out_2"), strict=True):
        assert several == pytest.approx(one, rel=1e-5, abs=1e-7)
    one, several = (torch.load(tmp_path / f"out_{n}" / "model.pt", weights_only=True) for n in (1, 2))
    for name, value in one.items():
        torch.testing.assert_close(several[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_process_that_dies_ends_the_job_with_a_message(tmp_path: Path) -> None:
    done = start(tmp_path, "out", 2, RADGAL_TEST_KILL="1:9")
    assert done.returncode != 0
    assert "lost the others" in done.stderr and "--resume goes on" in done.stderr
    assert torch.load(tmp_path / "out" / "last.pt", weights_only=True)["epoch"] == 1


@pytest.mark.slow
def test_sigterm_to_one_process_stops_all_and_one_alone_goes_on(tmp_path: Path, alone: Path) -> None:
    done = start(tmp_path, "out", 2, RADGAL_TEST_KILL="1:3:SIGTERM")
    assert done.returncode != 0 and "stopped by SIGTERM after epoch 0 and 3 batches of the next" in done.stderr
    assert torch.load(tmp_path / "out" / "unfinished.pt", weights_only=True)["epoch"] == 0
    resumed = start(tmp_path, "out", 1, "training.resume=auto")
    assert "3 batches into the next" in resumed.stdout, resumed.stderr
    for one, several in zip(rows(alone), rows(tmp_path / "out"), strict=True):
        assert several == pytest.approx(one, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("n_batch", [1, 2, 7, 50])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_every_row_of_a_batch_is_one_processs(n_batch: int, size: int) -> None:
    seen, weight = [], 0.0
    for rank in range(size):
        own, share = Team(rank, size).share(n_batch)
        mine = list(range(n_batch))[own]
        assert mine and share == pytest.approx(size * len(mine) / n_batch) or share == 0
        seen += mine if share else []
        weight += share / size
    assert seen == list(range(n_batch)) and weight == pytest.approx(1)


def test_what_cannot_be_shared_is_refused() -> None:
    with pytest.raises(UserError, match="batch normalization"):
        Team(0, 2).share_model(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)))
    with pytest.raises(UserError, match="compile"):
        Team(0, 2).share_model(torch.nn.Linear(2, 2), compiled=True)
    with pytest.raises(UserError, match="one device"):
        Team(0, 2).pick_device("cuda:1")
