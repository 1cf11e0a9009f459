"""Fixtures of the tests of images."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def cutouts(real_data) -> list[Path]:
    found = sorted((real_data / "fits").glob("*.fits.gz"))
    assert len(found) == 22
    return found
