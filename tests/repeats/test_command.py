"""The command repeat: what is finished is skipped and the rest gone on with, by one process or by workers."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import main
from radgal.data.firstgalaxy import FIRSTGalaxyData
from tests.conftest import ROOT
from tests.smallrun import rows
from utils import UserError


def test_repeat_skips_what_is_finished_and_resumes_what_is_not(config: Path, tmp_path: Path, capsys) -> None:
    words = ["repeat", "--config", str(config), "--seeds", "2", "--out", str(tmp_path / "rep")]
    words += ["--set", "training.epochs=1", "model.quiet=True"]
    main.main(words)
    first = (tmp_path / "rep" / "repeat.md").read_text()
    (tmp_path / "rep" / "small" / "seed_1" / "metrics.json").unlink()
    capsys.readouterr()
    main.main(words)
    said = capsys.readouterr().out
    assert "seed 1: going on" in said and "seed 0:" not in said
    assert (tmp_path / "rep" / "repeat.md").read_text() == first
    with pytest.raises(UserError, match="another configuration"):
        main.main([*words, "training.lr0=0.5"])


@pytest.mark.slow
def test_folds_test_every_source_once(config: Path, tmp_path: Path) -> None:
    words = ["repeat", "--config", str(config), "--seeds", "1", "--folds", "2", "--out", str(tmp_path / "rep")]
    main.main([*words, "--set", "training.epochs=1", "model.quiet=True"])
    tables = sorted((tmp_path / "rep").glob("small/seed_0/fold_*_of_2/sources.csv"))
    names = [row["name"] for path in tables for row in csv.DictReader(path.open())]
    everything = {name for train in (True, False) for name in FIRSTGalaxyData(tmp_path, train=train).names}
    assert len(tables) == 2 and len(names) == len(set(names)) == 1419 and set(names) == everything
    assert "2-fold cross-validation" in (tmp_path / "rep" / "repeat.md").read_text()


@pytest.mark.slow
def test_variants_are_compared_on_folds_of_the_training_sources_and_tested_when_asked(config, tmp_path, monkeypatch):
    from radgal.data import splits

    words = ["repeat", "--config", str(config), "--variant", "fast", "training.lr0=1e-2", "--seeds", "1"]
    words += ["--out", str(tmp_path / "rep"), "--set", "training.epochs=1", "model.quiet=True", "training.frac_val=0"]
    with monkeypatch.context() as closed:
        closed.setattr(splits, "load_test_data", lambda *_: pytest.fail("the test set was opened"))
        closed.setattr("radgal.evaluation.results.load_test_data", splits.load_test_data)
        with pytest.raises(UserError, match="small, seed 0: there are no validation sources .*--folds 5"):
            main.main(words)
        assert not (tmp_path / "rep").exists()
        main.main([*words, "--folds", "2"])
    held_out = {}
    for name in ("small", "small_fast"):
        folders = [tmp_path / "rep" / name / "seed_0" / f"val_fold_{k}_of_2" for k in (1, 2)]
        assert not any((folder / "metrics.json").exists() for folder in folders)
        held_out[name] = [[row["name"] for row in rows(folder / "validation.csv")] for folder in folders]
    assert held_out["small"] == held_out["small_fast"]
    training = FIRSTGalaxyData(tmp_path, train=True).names
    assert sorted(sum(held_out["small"], [])) == sorted(training)
    table = (tmp_path / "rep" / "validation.md").read_text()
    assert "| small | small_fast |" in table and "test untouched" in table
    main.main([*words, "--test"])
    assert "test sources" in (tmp_path / "rep" / "repeat.md").read_text()


def test_a_run_is_scored_by_its_validation_sources(finished_run: Path, tmp_path: Path) -> None:
    from radgal import api
    from radgal.config.config import Config
    from radgal.evaluation.validation import finished_validation, validate_run

    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    run = api.open_run(folder)
    metrics = validate_run(run, folder)
    config = Config.from_dict(run.checkpoint["config"])
    found, table = finished_validation(folder, config)
    assert found == json.loads(json.dumps(metrics)) and len(table) == metrics["n_validation"] == 264
    kept = rows(folder / "history.csv")[run.epoch - 1]
    assert metrics["upright"]["accuracy"]["value"] == pytest.approx(float(kept["test_accuracy"]))
    assert {"prob_FRI", "prob_FRII", "rotated_accuracy"} <= set(table.colnames)
    with pytest.raises(UserError, match="another configuration"):
        finished_validation(folder, api.read_config(config, ["training.lr0=0.5"]))
    (folder / "last.pt").replace(folder / "best.pt")
    assert finished_validation(folder, config) is None  # the mark is of other weights


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--folds", "1"], "--folds 1"),
        (["--seeds", "0"], "--seeds 0"),
        (["--set", "training.seed=7"], "training.seed: repeat sets it .*--first-seed"),
        (["--set", "metrics.outputdir=x"], "metrics.outputdir: repeat sets it .*--out"),
        (["--folds", "2", "--set", "data.fold=1/2"], "data.fold: repeat sets it .*--folds"),
        (["--no-test", "--folds", "2", "--set", "data.val_fold=1/2"], "data.val_fold: repeat sets it .*--folds"),
        (["--variant", "a", "training.seed=1"], "--variant a training.seed: repeat sets it"),
        (["--variant", "a", "training.lr=1"], "unknown key"),
        (["--variant", "a", "training.frac_val=0.3"], "small_a would be validated on other sources .* than small,"),
        pytest.param(
            ["--variant", "a", "data.fold=1/2", "--test"],
            "small_a would be tested on other sources",
            marks=pytest.mark.slow,
        ),
        (["--set", "data.fold=6/5"], "6/5"),
        (["--set", "data.fold=half"], "'2/5'"),
    ],
)
def test_what_makes_no_table_is_refused_before_training(
    config: Path, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radgal.api.train", lambda *args, **choices: pytest.fail("it was trained"))
    with pytest.raises(UserError, match=message):
        main.main(["repeat", "--config", str(config), *words])


def test_finished_runs_that_cannot_share_a_table_are_refused_before_training(config, tmp_path, monkeypatch):
    from radgal import api
    from radgal.repeats.checks import check_tasks
    from radgal.repeats.plan import Recipe, Task, list_tasks

    tasks = list_tasks([Recipe("small", str(config))], tmp_path / "rep", seeds=[0, 1, 2])
    configs = [api.read_config(task.config, task.overrides) for task in tasks]
    check_tasks(tasks, configs)
    metrics = {"rotated": {"n_rotations": 2}, "mc_dropout": {"mc_samples": 100}, "seed": 0}
    monkeypatch.setattr(Task, "result", lambda task, config: (metrics, None) if task.seed == 1 else None)
    with pytest.raises(UserError, match="seed 1 is tested with {'rotations': 2, .* evaluate on one of them again"):
        check_tasks(tasks, configs)
    check_tasks(tasks[1:2], configs[1:2])


@pytest.mark.slow
def test_repeat_by_workers_of_which_one_is_killed_is_the_serial_run(config: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="dask is an optional requirement")
    words = [sys.executable, str(ROOT / "main.py"), "repeat", "--config", str(config), "--seeds", "3"]
    words += ["--set", "training.epochs=3"]
    # Sums depend on the number of threads in their last digits: as many here as each of the two workers has.
    options = dict(cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    threads = str(max(1, len(os.sched_getaffinity(0)) // 2))
    options["env"] = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    serial = subprocess.run([*words, "--out", str(tmp_path / "serial")], **options)
    assert serial.returncode == 0, serial.stdout
    running = subprocess.Popen([*words, "--out", str(tmp_path / "dask"), "--workers", "2"], **options)
    killed = False
    while running.poll() is None and not killed:
        time.sleep(0.2)
        for path in (tmp_path / "dask").glob("small/seed_*/history.csv"):
            if len(path.read_text().splitlines()) > 1:  # a first epoch is done: kill the worker that has the file
                killed = kill_worker(running.pid)
                break
    assert running.wait(timeout=300) == 0, running.stdout.read()
    assert killed
    for seed in range(3):
        parts = [tmp_path / way / "small" / f"seed_{seed}" for way in ("serial", "dask")]
        assert rows(parts[0] / "history.csv") == rows(parts[1] / "history.csv")
        assert (parts[0] / "sources.csv").read_text() == (parts[1] / "sources.csv").read_text()
    assert (tmp_path / "dask" / "repeat.md").is_file()


def kill_worker(parent: int) -> bool:
    """Kills the process below ``parent`` that has used most processor time: a busy worker."""
    listing = subprocess.run(["ps", "-eo", "pid,ppid,times"], capture_output=True, text=True, check=True).stdout
    rows_ = [tuple(map(int, line.split())) for line in listing.splitlines()[1:]]
    family = {parent}
    for _ in range(5):
        family |= {pid for pid, ppid, _ in rows_ if ppid in family}
    seconds, pid = max((used, pid) for pid, _, used in rows_ if pid in family - {parent})
    os.kill(pid, signal.SIGKILL)
    return seconds >= 0
