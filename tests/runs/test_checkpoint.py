"""Checkpoints from others: damaged, hostile, foreign; and what a killed write leaves behind."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from radgal.runs import checkpoint
from utils import UserError, atomic_write


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hostile_was_here",)


def test_a_hostile_checkpoint_is_refused_and_runs_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": checkpoint.FORMAT, "model": Hostile()}, tmp_path / "best.pt")
    with pytest.raises(UserError, match="refused"):
        checkpoint.read(tmp_path / "best.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(UserError):
        checkpoint.read(tmp_path / "bare.pt")
    assert not (tmp_path / "hostile_was_here").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(200)])
def test_a_damaged_checkpoint_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match="best.pt"):
        checkpoint.read(path)


def test_a_cut_off_checkpoint_is_a_clear_error(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "best.pt", {"format": checkpoint.FORMAT, "model": {"w": torch.rand(1000)}})
    whole = (tmp_path / "best.pt").read_bytes()
    for share in (0.1, 0.5, 0.9):
        (tmp_path / "best.pt").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UserError, match="best.pt"):
            checkpoint.read(tmp_path / "best.pt")


def test_a_plain_state_dict_is_named_as_such(tmp_path: Path) -> None:
    torch.save({"fc1.weight": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(UserError, match="plain state dict"):
        checkpoint.read(tmp_path / "model.pt")


def test_a_folder_without_checkpoint_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"no best.pt.*notes.txt"):
        checkpoint.find(tmp_path)
    with pytest.raises(UserError, match="no run folder"):
        checkpoint.find(tmp_path / "nowhere")


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError("killed")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["best.pt"]


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write .*best.pt"):
        checkpoint.save(tmp_path / "file" / "best.pt", {})
