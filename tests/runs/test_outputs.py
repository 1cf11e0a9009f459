"""Where a run writes is checked before it trains: nothing of another run, or of the user, is lost or shared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import main
from radgal import trainingrun
from radgal.config.config import Config, load_config
from radgal.data import splits
from radgal.figures import plots
from radgal.images.preparation import Preparation
from radgal.runs import lock
from radgal.runs.checkpoint import holds_weights, read
from radgal.runs.folder import RunFolder
from radgal.runs.outputs import check_outputs
from tests.kill.kill_driver import CONFIG, toy_data
from utils import UserError, atomic_write


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(splits, "load_training_data", toy_data)
    monkeypatch.setattr(plots, "save_training_curves", lambda *_: None)
    monkeypatch.setattr(trainingrun, "environment", dict)
    monkeypatch.setattr(trainingrun, "make_report", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    Path("tiny.txt").write_text(CONFIG.replace("resume: 'auto'", ""))
    return tmp_path


def config(**outputs: str) -> Config:
    where = {"outputdir": "runs/a"} | outputs
    home = {"outputdir": "metrics", "start_from": "training"}
    return load_config("tiny.txt", [f"{home.get(key, 'output')}.{key}={value!r}" for key, value in where.items()])


def go(out: str, *words: str, epochs: int = 1, config: str = "tiny.txt"):
    options = [word for word in words if word.startswith("--")]
    sets = [f"metrics.outputdir={out}"] * bool(out) + [f"training.epochs={epochs}", *[w for w in words if "=" in w]]
    return main.main(["--config", config, "--no-test", *options, "--set", *sets])


@pytest.mark.parametrize(
    "outputs, said",
    [
        (dict(modfile="runs/a/best.pt"), "modfile.*keeps something else in its best.pt"),
        (dict(modfile="runs/a/Last.PT"), "modfile.*keeps something else"),
        (dict(modfile="runs/b/../a/unfinished.pt"), "modfile.*keeps something else"),
        (dict(csvfile="runs/a/metrics.json"), "csvfile.*keeps something else"),
        (dict(csvfile="runs/a/run.lock"), "csvfile.*keeps something else"),
        (dict(csvfile="runs/a/model.pt"), "csvfile.*keeps something else"),
        (dict(csvfile="runs/a/last/x.csv"), "folder last is not for it"),
        (dict(csvfile="runs/a/earlier.1/x.csv"), "folder earlier.1 is not for it"),
        (dict(csvfile="x.out", modfile="./x.out"), "csvfile and modfile are both x.out"),
        (dict(csvfile="runs/a"), "this is a folder"),
        (dict(csvfile="runs"), "this is a folder"),
        (dict(modfile="there"), "this is a folder"),
        (dict(csvfile="tiny.txt"), "this is the config"),
        (dict(modfile="start.pt", start_from="start.pt"), "this is start_from"),
        (dict(modfile="runs/other/best.pt"), "this is a file of another run"),
        (dict(csvfile="runs/other/history.csv"), "this is a file of another run"),
        (dict(tensorboard="tiny.txt"), "tensorboard.*is a file"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_outputs_on_another_file_are_refused_before_anything_is_begun(outputs: dict, said: str) -> None:
    Path("there").mkdir()
    Path("runs/other").mkdir(parents=True)
    Path("runs/other/last.pt").touch()
    with pytest.raises(UserError, match=said):
        check_outputs(config(**outputs))


@pytest.mark.parametrize(
    "outputs",
    [
        dict(),
        dict(csvfile="runs/a/history.csv", modfile="runs/a/model.pt"),
        dict(csvfile="runs/a/mine.csv", modfile="models/best.pt"),
        dict(csvfile="runs/a.csv", modfile="runs/a.pt"),
    ],
)
def test_outputs_of_their_own_are_accepted(outputs: dict) -> None:
    check_outputs(config(**outputs))


def test_a_run_with_such_an_output_is_refused_dry_or_not(capsys) -> None:
    Path("there").mkdir()
    for words in ([], ["--dry-run"]):
        with pytest.raises(UserError, match="this is a folder"):
            go("runs/a", "output.csvfile=there", *words)
    assert Path("there").is_dir() and not Path("runs").exists()


@pytest.mark.parametrize(
    "content",
    [b"my measurements, one line", b"epoch,error\r1,0.5\r2,0.4\r", b"epoch,error\n1,0.5\n", b"\xff\x00", b"1\r\n"],
)
@pytest.mark.parametrize("key", ["csvfile", "modfile"])
def test_a_file_of_the_user_is_kept(key: str, content: bytes) -> None:
    folder = RunFolder(config(**{key: "mine.dat"}))
    for i, keep in enumerate((folder.keep_earlier, lambda: folder.keep_others([])), start=1):
        Path("mine.dat").write_bytes(content)
        assert keep() == [f"the mine.dat that was there is kept as mine.{i}.dat"]
        assert Path(f"mine.{i}.dat").read_bytes() == content and not Path("mine.dat").exists()


def test_a_csv_of_the_run_itself_is_none_of_another() -> None:
    """Whole, without its last rows, or with a row that was cut off."""
    go("runs/a", epochs=2)
    folder, history = RunFolder(config()), read(Path("runs/a/last.pt"))["history"]
    whole = folder.csv.read_bytes()
    for n_bytes in (len(whole), len(whole) - 1, len(whole) - 20, whole.index(b"\n") + 1, 20, 0):
        folder.csv.write_bytes(whole[:n_bytes])
        assert folder.keep_others(history) == [] and folder.csv.exists()
    folder.csv.write_bytes(whole.replace(b"\n2,", b"\n3,"))
    assert folder.keep_others(history) != [] and not folder.csv.exists()


def test_a_run_that_goes_on_does_not_bury_another_runs_csv_and_weights() -> None:
    shared = ["output.csvfile=shared.csv", "output.modfile=shared.pt"]
    go("runs/a", *shared, epochs=1)
    go("runs/b", *shared, "training.seed=1", epochs=2)
    of_b = Path("shared.csv").read_bytes()
    go("runs/a", "--resume", *shared, epochs=3)
    assert Path("shared.2.csv").read_bytes() == of_b
    assert holds_weights(Path("shared.2.pt"), read(Path("runs/b/best.pt"))["model"])
    assert len(Path("shared.csv").read_text().splitlines()) == 1 + 3
    go("runs/a", "--resume", *shared, epochs=4)  # its own now
    assert not Path("shared.3.csv").exists() and not Path("shared.3.pt").exists()


@pytest.mark.parametrize("key", ["csvfile", "modfile"])
def test_two_runs_at_a_time_cannot_share_a_file(key: str, monkeypatch) -> None:
    to_input, begun = Preparation.to_input, []

    def second(*args, **options):
        if not begun:
            begun.append(1)
            with pytest.raises(UserError, match=rf"shared is in use by another run.*choose another \[output\] {key}"):
                go("runs/b", f"output.{key}=./shared")
        return to_input(*args, **options)

    monkeypatch.setattr(Preparation, "to_input", second)
    go("runs/a", f"output.{key}=shared")
    assert begun and not list(Path().glob(".shared*"))


def test_the_config_of_a_run_that_was_moved_names_both_folders() -> None:
    go("runs/a")
    os.rename("runs/a", "moved here")
    before = sorted(path.name for path in Path("moved here").iterdir())
    with pytest.raises(UserError, match=r"was moved, or copied.*metrics.outputdir=moved here.*outputdir=runs/a"):
        go("", "--resume", config="moved here/config.txt", epochs=2)
    assert not Path("runs/a").exists() and sorted(path.name for path in Path("moved here").iterdir()) == before
    go("moved here", "--resume", config="moved here/config.txt", epochs=2)
    assert len(Path("moved here/history.csv").read_text().splitlines()) == 1 + 2
    go("runs/a", config="moved here/config.txt")  # asked for
    assert Path("runs/a/best.pt").is_file()


def test_a_folder_of_another_command_does_not_break_a_run() -> None:
    Path("runs/a/.prepared.x.part").mkdir(parents=True)
    Path("runs/a/.last.pt.x.part").touch()
    Path("runs/a/.results.part/new").mkdir(parents=True)  # of an evaluation that was killed
    with atomic_write("runs/a/report.html") as of_another_command:
        go("runs/a")
        assert of_another_command.exists()
    left = {path.name for path in Path("runs/a").iterdir() if path.name.startswith(".") or path.name == "run.lock"}
    assert left == {".prepared.x.part"}


def test_the_lock_of_a_file_is_beside_it(tmp_path: Path) -> None:
    with lock.hold(tmp_path, ".a.csv.lock", "[output] csvfile"):
        assert (tmp_path / ".a.csv.lock").exists()


def test_weights_are_known_by_every_bit(tmp_path: Path) -> None:
    weights = {"w": torch.tensor([0.0, float("nan")]), "n": torch.tensor(3)}
    torch.save(weights, tmp_path / "w.pt")
    assert holds_weights(tmp_path / "w.pt", weights)
    assert not holds_weights(tmp_path / "w.pt", weights | {"w": torch.tensor([-0.0, float("nan")])})
    assert not holds_weights(tmp_path / "w.pt", weights | {"n": torch.tensor([3])})
