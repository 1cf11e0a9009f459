"""What is finished: one file says so, written last; whatever is missing before it is made again, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import main
from radgal import trainingrun
from radgal.evaluation import results
from radgal.evaluation.results import finished_test
from radgal.runs import finished
from radgal.runs.checkpoint import load_run
from radgal.runs.finished import Finished
from tests.smallrun import CONFIG
from utils import UserError


@pytest.fixture
def copy(finished_run: Path, tmp_path: Path) -> Path:
    """A finished run of two epochs, and its config beside it."""
    out = Path(shutil.copytree(finished_run, tmp_path / "out"))
    (tmp_path / "small.txt").write_text(CONFIG.format(folder=out.as_posix()))
    return out


def go(out: Path, *words: str):
    options = [word for word in words if word.startswith("--")]
    sets = ["model.quiet=True", *[word for word in words if "=" in word]]
    return main.main(["--config", str(out.parent / "small.txt"), *options, "--set", *sets])


def state_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "run.lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("words", [["--resume"], ["training.resume=auto"]], ids=["resume", "auto"])
def test_a_finished_run_is_left_as_it_is(words: list[str], copy: Path, monkeypatch) -> None:
    before = state_of(copy)
    monkeypatch.setattr(results, "test_run", lambda *_, **__: pytest.fail("it is tested again"))
    run = go(copy, *words)
    assert state_of(copy) == before
    assert len(run.history) == 2 and run.metrics == json.loads((copy / "metrics.json").read_text())


def spoil_nothing_but(name: str) -> Callable[[Path], None]:
    return lambda out: (out / name).unlink()


def another_checksum(out: Path) -> None:
    path = out / "finished.json"
    path.write_text(path.read_text().replace('sha256": "', 'sha256": "0'))


def as_of_an_older_epoch(out: Path) -> None:
    """A run of one epoch that was gone on with, and killed when the row of the second was written."""
    (out / "finished.json").unlink()
    metrics = json.loads((out / "metrics.json").read_text())
    (out / "metrics.json").write_text(json.dumps(metrics | {"n_test": -1}))


@pytest.mark.usefixtures("drawing")
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(spoil_nothing_but("finished.json"), marks=pytest.mark.slow),
        as_of_an_older_epoch,
        pytest.param(spoil_nothing_but("metrics.json"), marks=pytest.mark.slow),
        pytest.param(lambda out: (out / "finished.json").write_bytes(b"{"), marks=pytest.mark.slow),
        pytest.param(another_checksum, marks=pytest.mark.slow),
    ],
    ids=["unmarked", "result of before", "no result", "damaged mark", "another best.pt"],
)
def test_what_is_not_marked_is_tested_again_and_then_whole(spoil: Callable, copy: Path) -> None:
    before = state_of(copy)
    spoil(copy)
    for name in ("report.html", "gallery.npz", "roc.png"):
        (copy / name).unlink()
    run = go(copy, "training.resume=auto")
    assert run.metrics["n_test"] == 100
    changed = {"environment.json", "config.txt", "report.html", "finished.json"}  # say when, and of what
    found, same = state_of(copy), {name for name in before if name not in changed and not name.endswith(".pt")}
    assert before.keys() <= found.keys() and [name for name in same if found[name] != before[name]] == []
    assert finished.find(copy) == Finished(2, run.classifier.epoch, tested=True)


def test_the_mark_comes_last_and_is_taken_away_first(copy: Path, monkeypatch) -> None:
    order = []
    replace = os.replace

    def noticed(source, target):
        order.append((Path(target).name, (copy / "finished.json").exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", noticed)
    go(copy, "--resume", "training.epochs=3")
    assert [name for name, marked in order if marked] == []
    assert order[-1][0] == "finished.json"


def test_a_run_that_was_looked_at_is_not_finished(copy: Path) -> None:
    """Nor is one that was looked at with evaluate when it had been killed."""
    config = load_run(copy, "cpu").config
    assert finished_test(copy, config) is not None
    finished.unmark(copy)
    assert finished_test(copy, config) is None


def test_an_untested_run_is_not_a_tested_one(copy: Path) -> None:
    go(copy, "--no-test", "training.resume=never")
    assert not finished.find(copy).tested and not (copy / "metrics.json").exists()
    assert go(copy, "training.resume=auto").metrics["n_test"] == 100
    assert finished.find(copy).tested


def test_a_refused_resume_leaves_the_run_finished(copy: Path) -> None:
    with pytest.raises(UserError, match="lr0"):
        go(copy, "--resume", "training.lr0=0.5")
    assert finished.find(copy).tested


def test_results_of_the_network_of_before_do_not_stay_beside_one_trained_further(copy: Path) -> None:
    (copy / "exported.pt").write_bytes(b"of before")
    (copy / "last").mkdir()
    kept = {name for name in state_of(copy) if name.startswith(("metrics", "rotation_", "equivariance", "exported"))}
    assert len(kept) > 5
    go(copy, "--resume", "--no-test", "training.epochs=3")
    assert not (copy / "exported.pt").exists() and not (copy / "last").exists()
    assert kept <= state_of(copy / "earlier.1").keys() and kept & state_of(copy).keys() == set()
    assert (copy / "earlier.1" / "last").is_dir()


def test_a_run_killed_while_the_earlier_one_is_put_aside_leaves_that_in_one_place(copy: Path, monkeypatch) -> None:
    before = set(state_of(copy))
    rename, left = Path.rename, [9]

    def some(path, target):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", some)
        with pytest.raises(KeyboardInterrupt):
            go(copy, "--no-test", "training.resume=never")
    assert finished.find(copy) is None
    go(copy, "--no-test", "training.resume=auto", "training.epochs=1")
    assert set(state_of(copy / "earlier.1")) == before and not (copy / "earlier.2").exists()


def test_a_report_that_breaks_costs_the_mark_nothing(copy: Path, monkeypatch) -> None:
    monkeypatch.setattr(trainingrun, "make_report", lambda *_: None)
    (copy / "finished.json").unlink()
    go(copy, "--resume")
    assert finished.find(copy).tested
