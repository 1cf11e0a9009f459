"""A network that comes along, made of a small run as the maintainers make theirs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from benchmarks.pretrained import pack
from radgal.pretrained import registry
from radgal.runs import checkpoint
from tests.pretrained.tools import CARD
from utils import write_json


@pytest.fixture(scope="session")
def packed(finished_run: Path, tmp_path_factory) -> Path:
    """A folder with one network, ``fr-small``, its card, and the list."""
    folder = tmp_path_factory.mktemp("pretrained")
    path = folder / "fr-small.pt"
    checkpoint.save(path, pack(checkpoint.read(finished_run / "best.pt"), "fr-small") | {"temperature": 1.75})
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / registry.LIST).write_text(f"{sha256}  fr-small.pt\n")
    write_json(folder / "fr-small.json", CARD | {"file": CARD["file"] | {"sha256": sha256}})
    return folder


@pytest.fixture
def comes_along(packed: Path, tmp_path: Path, monkeypatch) -> Path:
    """The folder of ``packed`` in the place of the program's own; the user is in an empty folder of theirs."""
    monkeypatch.setattr(registry, "FOLDER", packed)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return packed
