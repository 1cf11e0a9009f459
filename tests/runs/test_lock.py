"""Two runs in one folder: the second is refused, unless the first is dead."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from radgal.runs import lock as runlock
from tests.conftest import ROOT
from utils import UserError

HOLDER = """
import sys, time
from radgal.runs import lock as runlock
with runlock.hold(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["flock", "no flock"])
def any_file_system(request, monkeypatch) -> None:
    if request.param == "no flock":
        monkeypatch.setattr(runlock, "lock_file", lambda handle: None)
    elif os.name == "nt":
        pytest.skip("Windows has no flock")


@pytest.fixture
def other(tmp_path: Path):
    """Another process that holds the lock of the folder."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path)]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_run_is_refused_with_the_first_ones_id_and_time(any_file_system, other, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused, runlock.hold(tmp_path):
        pass
    text = str(refused.value)
    assert f"process {other.pid} on " in text and re.search(r"started \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)
    assert "outputdir" in text and other.poll() is None


def test_the_lock_of_a_killed_run_is_taken_over(any_file_system, other, tmp_path: Path) -> None:
    other.kill()
    other.wait()
    with runlock.hold(tmp_path) as lock:
        assert lock.left_by["pid"] == other.pid and lock.is_held
    assert list(tmp_path.iterdir()) == []


def test_a_process_id_that_is_used_again_is_not_the_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(runlock, "lock_file", lambda handle: None)
    mine = runlock._myself()
    (tmp_path / runlock.NAME).write_text(json.dumps(mine))
    with pytest.raises(UserError, match=f"process {os.getpid()}"), runlock.hold(tmp_path):
        pass
    (tmp_path / runlock.NAME).write_text(json.dumps(mine | {"process_start": "long ago"}))
    with runlock.hold(tmp_path) as lock:
        assert lock.left_by["process_start"] == "long ago"


def test_a_run_on_another_host_is_refused_with_the_way_out(any_file_system, tmp_path: Path) -> None:
    path = tmp_path / runlock.NAME
    path.write_text(json.dumps({"pid": 1, "host": "node17", "started": "2026-01-01 00:00:00 UTC"}))
    with pytest.raises(UserError, match=r"process 1 on node17, started 2026-01-01.*delete .*run\.lock"):
        with runlock.hold(tmp_path):
            pass
    path.unlink()
    with runlock.hold(tmp_path):
        pass


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system cannot tell links when it opens them")
def test_a_lock_that_is_a_link_does_not_lead_to_another_file(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / runlock.NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="leads out of"), runlock.hold(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[1]", b'{"pid": "no"}'])
def test_a_damaged_lock_is_no_traceback(content: bytes, tmp_path: Path) -> None:
    (tmp_path / runlock.NAME).write_bytes(content)
    try:
        with runlock.hold(tmp_path):
            pass
    except UserError as error:
        assert "delete" in str(error)


def test_a_lock_that_was_removed_is_noticed_and_another_ones_left_alone(tmp_path: Path) -> None:
    with runlock.hold(tmp_path) as first:
        (tmp_path / runlock.NAME).unlink()
        assert not first.is_held
        (tmp_path / runlock.NAME).write_text("of another run")
    assert (tmp_path / runlock.NAME).read_text() == "of another run"


def test_only_the_lock_of_a_run_that_has_died_is_removed(tmp_path: Path) -> None:
    path, dead = tmp_path / runlock.NAME, runlock._myself() | {"process_start": "long ago"}
    with runlock.hold(tmp_path):
        runlock.remove_dead(tmp_path)
        assert path.exists()
    path.write_text(json.dumps(dead | {"host": "elsewhere"}))
    runlock.remove_dead(tmp_path)
    assert path.exists()
    path.write_text(json.dumps(dead))
    runlock.remove_dead(tmp_path)
    assert not path.exists()
    runlock.remove_dead(tmp_path / "not there")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"[" * 4096, b'{"a":' * 800, b'["host"]', b"\xff", b"null"])
def test_a_lock_that_says_nothing_is_taken_over(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_bytes(content)
    with runlock.hold(tmp_path) as held:
        assert held.is_held


def test_what_a_lock_says_is_shown_without_what_steers_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text(json.dumps({"pid": 1, "host": "elsewhere\x1b[31m", "started": "\u202e"}))
    with pytest.raises(UserError) as refused, runlock.hold(tmp_path):
        pass
    assert str(refused.value).isprintable() and "elsewhere" in str(refused.value)
