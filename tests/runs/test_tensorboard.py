"""Live curves: for those who ask for them, and an error before anything starts where they cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import main
from tests.smallrun import CONFIG
from utils import UserError


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    config = tmp_path / "small.txt"
    config.write_text(CONFIG.format(folder=(tmp_path / "runs" / "out").as_posix()))
    curves = f"output.tensorboard={(tmp_path / 'curves').as_posix()}"
    return ["--config", str(config), "--no-test", "--set", "model.quiet=True", curves]


def test_each_epoch_is_a_point_and_a_resumed_run_goes_on(words: list[str], tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard")
    main.main([*words, "training.epochs=1"])
    run = main.main([*words, "training.epochs=2", "--resume"])
    found = events.EventAccumulator(str(tmp_path / "curves" / "runs" / "out"))
    found.Reload()
    points = {point.step: point.value for point in found.Scalars("loss/validation")}
    assert points == pytest.approx({row["epoch"]: row["test_loss"] for row in run.history}, rel=1e-6)
    assert {"loss/training", "accuracy/training", "accuracy/validation", "learning rate"} <= set(
        found.Tags()["scalars"]
    )


def test_a_full_disk_is_said_and_the_run_goes_on_from_there(words: list[str], tmp_path: Path, monkeypatch) -> None:
    writer = pytest.importorskip("torch.utils.tensorboard", reason="needs tensorboard").SummaryWriter

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "flush", full)
        with pytest.raises(UserError, match=r"\[output\] tensorboard: cannot write .*curves.* No space left.*--resume"):
            main.main([*words, "training.epochs=2"])
    run = main.main([*words, "training.epochs=2", "--resume"])
    assert [row["epoch"] for row in run.history] == [1, 2]


def test_without_the_package_nothing_starts(words: list[str], tmp_path: Path, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("tensorboard", "torch.utils.tensorboard"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match="pip install tensorboard"):
        main.main(words)
    assert not (tmp_path / "runs").exists()
