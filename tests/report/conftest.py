"""A run to be reported."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def run(finished_run: Path) -> Path:
    """The run that is reported; many tests read it, so none may change it."""
    return finished_run


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the run's saved files without its checkpoints, to be spoiled."""
    return Path(shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("*.pt")))
