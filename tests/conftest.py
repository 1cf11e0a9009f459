"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("RADGAL_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the published archives; skips with a reason where it is absent, never where it is there."""
    if not DATA.is_dir():
        pytest.skip(f"published archives not found at {DATA}; set RADGAL_DATA to the folder that holds them")
    return DATA
