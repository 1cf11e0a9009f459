"""A run that is killed again and again, at any moment, and started with the same line, is the run never touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, which this system cannot")


@pytest.mark.parametrize("n_kills, seed, epochs", [(3, 0, 8), pytest.param(50, 1, 24, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_as_if_never_touched(
    n_kills: int, seed: int, epochs: int, tmp_path: Path
) -> None:
    """Same csv but for the times, same files, and every number in every checkpoint bit for bit."""
    words = [sys.executable, "-m", "tests.kill.kill_driver", str(tmp_path), *map(str, (n_kills, seed, epochs))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert "error" not in result, result
    assert sum(result["kills"].values()) >= n_kills and len(result["kills"]) >= min(n_kills, 6), result
    assert result["wrong"] == [], result


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "repeat", "predict", "prepare"])
def test_a_command_that_is_killed_and_given_again_ends_in_the_very_files_of_an_untouched_one(
    command: str, tmp_path: Path
) -> None:
    """With its process group, before and after any change of a file, from its first to its last."""
    words = [sys.executable, "-m", "tests.kill.commands_driver", command, str(tmp_path), "50", "1"]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert "error" not in result, result["error"]
    assert result["kills"] == 50 and result["late"] >= 5 and result["files"] >= 2, result
    assert result["wrong"] == [], result
