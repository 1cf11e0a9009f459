"""A training run: through ``main([...])``, as a command from another folder, and in a notebook kernel."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import main
from tests.conftest import ROOT
from tests.smallrun import WRITTEN, rows, train
from utils import UserError


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


def test_same_command_again_same_csv_and_the_first_run_is_kept(
    finished_run: Path, config: Path, tmp_path: Path, capsys
) -> None:
    out = Path(shutil.copytree(finished_run, tmp_path / "out"))
    train(config)
    assert rows(out / "history.csv") == rows(finished_run / "history.csv")
    assert rows(out / "earlier.1" / "history.csv") == rows(finished_run / "history.csv")
    assert {name for name in WRITTEN.split() if not (out / "earlier.1" / name).is_file()} == set()
    assert "earlier.1" in capsys.readouterr().out


def test_one_epoch_and_two_resumed_are_three(config: Path, tmp_path: Path) -> None:
    three = train(config, "--no-test", "--set", "training.epochs=3", f"metrics.outputdir={tmp_path / 'three'}")
    train(config, "--no-test", "--set", "training.epochs=1")
    resumed = train(config, "--no-test", "--resume", "--set", "training.epochs=3")
    assert rows(tmp_path / "out" / "history.csv") == rows(tmp_path / "three" / "history.csv")
    for a, b in zip(three.model.parameters(), resumed.model.parameters(), strict=True):
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
    train(
        config, "--dry-run", "--set", "model.base=CNSteerableLeNet", "model.nrot=4", "training.imsize=50", "data.pad=1"
    )
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


def test_a_mistake_is_one_line_and_an_exit_code_from_any_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["main.py", "--config", "configs/config_mb_lenett.txt"])
    with pytest.raises(SystemExit, match=r"^error: .*config_mb_lenet.*$"):  # said on stderr, and the code is 1
        main.run_as_program()


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


@pytest.mark.slow
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
