"""Fixtures of the tests of predictions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prediction.tools import make_run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "r")
