"""The whole program: through ``main([...])``, as a command from another folder, and in a notebook kernel."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import main
from radgal.api import Run
from radgal.data.firstgalaxy import FIRSTGalaxyData
from tests.conftest import ROOT
from tests.smallrun import CONFIG, WRITTEN
from utils import UserError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.txt"
    path.write_text(CONFIG.format(folder=(tmp_path / "out").as_posix()))
    return path


def train(config: Path, *options: str) -> Run:
    return main.main(["--config", str(config), *options])


def rows(path: Path) -> list[dict]:
    with path.open(newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def command(*words: str, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(ROOT / "main.py"), *words], cwd=folder, capture_output=True, text=True)


def test_a_run_writes_everything_and_ends_with_the_result(config: Path, tmp_path: Path, capsys) -> None:
    run = train(config)
    assert {name for name in WRITTEN.split() if not (tmp_path / "out" / name).is_file()} == set()
    last_line = capsys.readouterr().out.strip().splitlines()[-1]
    for part in ("best epoch", "validation error", "test error", "+-", str(tmp_path / "out")):
        assert part in last_line
    header = (tmp_path / "out" / "history.csv").read_text().splitlines()[0]
    assert header.startswith("epoch,train_loss,test_loss,test_accuracy,")
    assert len(run.history) == len(rows(tmp_path / "out" / "history.csv")) == 2
    assert 0 < run.metrics["upright"]["error"]["value"] < 1 and not run.model.training
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    run.model.load_state_dict(state)


def test_same_command_twice_same_csv_and_the_first_run_is_kept(config: Path, tmp_path: Path, capsys) -> None:
    train(config)
    first = rows(tmp_path / "out" / "history.csv")
    train(config)
    assert rows(tmp_path / "out" / "history.csv") == first
    assert rows(tmp_path / "out" / "earlier.1" / "history.csv") == first
    assert {name for name in WRITTEN.split() if not (tmp_path / "out" / "earlier.1" / name).is_file()} == set()
    assert "earlier.1" in capsys.readouterr().out


def test_two_epochs_and_two_resumed_are_four(config: Path, tmp_path: Path) -> None:
    four = train(config, "--no-test", "--set", "training.epochs=4", f"metrics.outputdir={tmp_path / 'four'}")
    train(config, "--no-test")
    resumed = train(config, "--no-test", "--resume", "--set", "training.epochs=4")
    assert rows(tmp_path / "out" / "history.csv") == rows(tmp_path / "four" / "history.csv")
    for a, b in zip(four.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_resuming_with_another_config_is_refused_with_the_difference(config: Path) -> None:
    train(config, "--no-test", "--set", "training.epochs=1")
    with pytest.raises(UserError, match=r"\[training\] lr0: was 0.001, is 0.01"):
        train(config, "--resume", "--set", "training.lr0=0.01")


def test_dry_run_builds_everything_and_writes_nothing(config: Path, tmp_path: Path, capsys) -> None:
    run = train(config, "--dry-run", "--set", "model.base=DNSteerableLeNet", "model.nrot=2")
    assert not (tmp_path / "out").exists()
    assert run.model.symmetry == ("D", 2)
    assert "Linear" in capsys.readouterr().out


def test_quiet_prints_one_line(config: Path, capsys) -> None:
    train(config, "--set", "model.quiet=True", "training.epochs=1")
    assert len(capsys.readouterr().out.strip().splitlines()) == 1


def test_bars_are_shown_on_a_terminal_only_and_never_when_quiet(monkeypatch) -> None:
    import utils

    assert utils.progress([1], "x", quiet=False).disable  # under pytest, nobody is watching
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert not utils.progress([1], "x", quiet=False).disable and utils.progress([1], "x", quiet=True).disable


def test_without_validation_the_last_epoch_is_kept_and_said(config: Path, capsys) -> None:
    run = train(config, "--set", "training.frac_val=0", "training.epochs=2")
    assert "no validation images" in capsys.readouterr().out.strip().splitlines()[-1]
    assert run.history[-1]["test_accuracy"] is None and run.metrics is not None


def test_csv_and_weights_elsewhere_are_kept_under_numbers(config: Path, tmp_path: Path) -> None:
    there = ["--set", f"output.csvfile={tmp_path / 'mine.csv'}", f"output.modfile={tmp_path / 'mine.pt'}"]
    for _ in range(2):
        train(config, "--no-test", *there, "training.epochs=1")
    assert {"mine.csv", "mine.1.csv", "mine.pt", "mine.1.pt"} <= {p.name for p in tmp_path.iterdir()}


def test_a_side_that_spoils_the_symmetry_is_warned_about(config: Path, capsys) -> None:
    train(config, "--dry-run", "--set", "model.base=CNSteerableLeNet", "model.nrot=4", "data.pad=1")
    assert "50 and 54" in capsys.readouterr().out


def test_help_answers_without_loading_torch() -> None:
    code = (
        "import sys, main\n"
        "try: main.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip().endswith("False False"), done.stderr


def test_a_mistake_is_one_line_and_an_exit_code_from_any_folder(tmp_path: Path) -> None:
    done = command("--config", "configs/config_mb_lenett.txt", folder=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") and "config_mb_lenet" in done.stderr


def test_runs_as_a_command_from_another_folder(config: Path, tmp_path: Path) -> None:
    done = command("--config", config.name, "--no-test", "--set", "training.epochs=1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "best epoch 1 of 1" in done.stdout


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("base, nrot", [("CNSteerableLeNet", 4), ("DNSteerableLeNet", 4)])
@pytest.mark.parametrize("dataset", ["MBFRConfident", "FRDEEPF"])
def test_steerable_nets_train_on_the_published_archives(
    base: str, nrot: int, dataset: str, config: Path, tmp_path: Path, real_data: Path
) -> None:
    run = train(
        config,
        "--no-test",
        "--set",
        f"model.base={base}",
        f"model.nrot={nrot}",
        f"data.dataset={dataset}",
        f"data.datadir={tmp_path / 'data'}",
        f"data.mirror={real_data}",
        "training.imsize=30",
        "training.epochs=1",
    )
    assert run.model.symmetry == (base[0], nrot)
    assert run.history[0]["train_loss"] < 5.0 and 0.2 < run.history[0]["test_accuracy"] <= 1.0


def test_percent_run_twice_in_one_kernel(config: Path, tmp_path: Path) -> None:
    """As on Kaggle: the project is a folder below the notebook's, and ``run`` is there afterwards."""
    manager = pytest.importorskip("jupyter_client.manager")
    manager_, client = manager.start_new_kernel(kernel_name="python3", cwd=str(tmp_path))

    def cell(code: str) -> str:
        said = []
        reply = client.execute_interactive(code, timeout=120, output_hook=lambda m: said.append(str(m["content"])))
        assert reply["content"]["status"] == "ok", said
        return "".join(said)

    try:
        line = f"%run {ROOT / 'main.py'} --config {config.name} --no-test --set training.epochs=1"
        for _ in range(2):
            assert "best epoch 1 of 1" in cell(line)
            assert "VanillaLeNet" in cell("print(type(run.model).__name__, len(run.history), run.config.name)")
    finally:
        client.stop_channels()
        manager_.shutdown_kernel(now=True)


def test_the_commands_for_trained_runs(config: Path, tmp_path: Path, capsys) -> None:
    train(config, "--no-test", "--set", "training.epochs=1")
    out = str(tmp_path / "out")
    main.main(["evaluate", out, "--rotations", "2", "--mc-samples", "3"])
    table = rows(tmp_path / "out" / "sources.csv")
    assert len(table) == 100 and {row["label_name"] for row in table} == {"FRI", "FRII"}
    main.main(["rotate", out, "--limit", "2", "--mc-samples", "3", "--compare", out])
    assert len(rows(tmp_path / "out" / "rotation_sources.csv")) == 2
    assert "0 improved, 0 worsened, 2 within 0.01" in capsys.readouterr().out
    main.main(["equivariance", out, str(config), "--step", "90", "--n-images", "2", "--out", str(tmp_path / "eq")])
    assert (tmp_path / "eq" / "equivariance.png").is_file()


def test_what_was_trained_on_is_no_test(config: Path, tmp_path: Path, monkeypatch) -> None:
    from radgal.data import splits
    from radgal.evaluation import results

    train(config, "--no-test", "--set", "training.epochs=1")
    monkeypatch.setattr(results, "load_test_data", lambda cfg: splits.load_training_data(cfg).train)
    with pytest.raises(UserError, match="both the training and the test set"):
        main.main(["evaluate", str(tmp_path / "out")])


def test_evaluate_says_each_result_with_its_interval(config: Path, tmp_path: Path, capsys) -> None:
    train(config, "--no-test", "--set", "training.epochs=1")
    main.main(["evaluate", str(tmp_path / "out"), "--rotations", "3", "--mc-samples", "3"])
    said = capsys.readouterr().out
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    for score, factor, decimals, unit in (
        (metrics["upright"]["accuracy"], 100, 2, " %"),
        (metrics["upright"]["roc_auc"], 1, 3, ""),
        (metrics["upright"]["ece"], 1, 3, ""),
        (metrics["temperature"]["scaled"]["nll"], 1, 3, ""),
    ):
        value, low, high = (f"{factor * score[key]:.{decimals}f}" for key in ("value", "low", "high"))
        assert f" {value}{unit}  [{low}, {high}]" in said
    assert f"spread by {100 * metrics['rotated']['accuracy']['sd']:.2f} %" in said


def test_a_checkpoint_of_other_classes_is_refused(config: Path, tmp_path: Path) -> None:
    train(config, "--no-test", "--set", "training.epochs=1")
    content = torch.load(tmp_path / "out" / "best.pt", weights_only=True)
    torch.save(content | {"classes": ["FRII", "FRI"]}, tmp_path / "out" / "best.pt")
    for command_ in ("evaluate", "rotate"):
        with pytest.raises(UserError, match="tells FRII, FRI apart, but FIRSTGalaxyData has the classes FRI, FRII"):
            main.main([command_, str(tmp_path / "out")])


def test_wrong_choices_are_refused_before_anything_is_computed(config: Path, tmp_path: Path) -> None:
    train(config, "--no-test", "--set", "training.epochs=1")
    for words, message in (
        (["--index", "100"], "rows 0 to 99"),
        (["--source", "nowhere"], "no test source"),
        (["--compare", "nowhere"], "no run folder or checkpoint nowhere"),
        (["--figures", "-1"], "--figures -1"),
        (["--seed", "-1"], "--seed -1"),
        (["--device", "gpu"], "device: 'gpu'"),
    ):
        with pytest.raises(UserError, match=message):
            main.main(["rotate", str(tmp_path / "out"), *words])
    assert not list((tmp_path / "out").glob("rotation_*"))


def test_results_of_another_epoch_are_not_put_in_the_place_of_the_kept_ones(config: Path, tmp_path: Path) -> None:
    train(config)
    kept = (tmp_path / "out" / "metrics.json").read_text()
    main.main(["evaluate", str(tmp_path / "out" / "last.pt"), "--rotations", "2", "--mc-samples", "3"])
    assert (tmp_path / "out" / "metrics.json").read_text() == kept
    assert (tmp_path / "out" / "last" / "metrics.json").is_file()
    main.main(["equivariance", str(tmp_path / "out" / "last.pt"), "--step", "90", "--n-images", "2"])
    assert (tmp_path / "out" / "last" / "equivariance.csv").is_file()


@pytest.mark.slow
@pytest.mark.real_data
def test_only_runs_that_were_tested_alike_are_compared(tmp_path: Path, config: Path, real_data: Path, capsys) -> None:
    common = ["training.epochs=1", f"data.mirror={real_data}", f"data.datadir={tmp_path / 'data'}"]
    for name, more in (
        ("v1", ["data.dataset=MBFRConfident"]),
        ("v2", ["data.dataset=MBFRConfident_v2"]),
        ("ten", ["data.dataset=MiraBest_full", "training.num_classes=10"]),
    ):
        train(config, "--no-test", "--set", *common, *more, f"metrics.outputdir={tmp_path / name}")
    words = ["rotate", str(tmp_path / "v1"), "--mc-samples", "2", "--angles", "0", "90", "90", "--compare"]
    main.main([*words, str(tmp_path / "v2")])
    said = capsys.readouterr().out
    assert f"{tmp_path / 'v1'} against {tmp_path / 'v2'}" in said and "of 18 sources" in said
    with pytest.raises(UserError, match="--compare .*ten: its classes are 100, .*those of .*v1 are FRI, FRII"):
        main.main([*words, str(tmp_path / "ten")])
    with pytest.raises(UserError, match="none of its test sources is among those of"):
        main.main([*words, str(tmp_path / "v2"), "--index", "1"])


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--folds", "1"], "--folds 1"),
        (["--seeds", "0"], "--seeds 0"),
        (["--set", "training.seed=7"], "training.seed: repeat sets it .*--first-seed"),
        (["--set", "metrics.outputdir=x"], "metrics.outputdir: repeat sets it .*--out"),
        (["--folds", "2", "--set", "data.fold=1/2"], "data.fold: repeat sets it .*--folds"),
        (["--set", "data.fold=6/5"], "6/5"),
        (["--set", "data.fold=half"], "'2/5'"),
    ],
)
def test_folds_and_seeds_that_make_no_sense_are_refused(config: Path, words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        main.main(["repeat", "--config", str(config), *words])


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
