"""The small helpers, where no other test needs them for itself."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path

import pytest

from utils import UserError, atomic_write, counted, reason_of, remove_if_dead, without_warnings


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("wrong"), "wrong"),
        (ValueError("\n\n  the   first\tline \nthe second"), "the first line"),
        (ValueError(), "ValueError"),
        (KeyError(), "KeyError"),
        (ValueError("\n \n"), "ValueError"),
        (OSError(2, "No such file or directory", "/some/where"), "No such file or directory"),
        (OSError("cut off"), "cut off"),
        (ValueError("x" * 1000), "x" * 197 + "..."),
    ],
)
def test_the_reason_of_an_error_is_one_short_line(error, said) -> None:
    assert reason_of(error) == said


def test_the_reason_of_a_missing_file_does_not_repeat_its_path(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        (tmp_path / "absent").read_text()
    assert reason_of(caught.value) == "No such file or directory"


def test_warnings_are_kept_away_and_come_back() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with without_warnings():
            warnings.warn("not this", stacklevel=1)
        warnings.warn("this", stacklevel=1)
    assert [str(one.message) for one in seen] == ["this"]


def test_one_is_counted_as_one() -> None:
    said = [counted(n, "row", verb) for n in (0, 1, 2000) for verb in ("", "are", "have")]
    assert said[:3] == ["0 rows", "0 rows are", "0 rows have"]
    assert said[3:6] == ["1 row", "1 row is", "1 row has"] and said[6] == "2,000 rows"
    assert [counted(n, "class", several="classes") for n in (1, 2)] == ["1 class", "2 classes"]


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What a process leaves that is killed while it writes ``a.csv``."""
    if not hasattr(os, "fork"):
        pytest.skip("forks, which this system cannot")
    if (child := os.fork()) == 0:
        try:
            with atomic_write(tmp_path / "a.csv") as temporary:
                temporary.write_text("half")
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".a.csv.part"]
    return tmp_path / ".a.csv.part"


def test_what_a_killed_writer_left_goes_away_with_the_next_one(left: Path) -> None:
    left.chmod(0o600)
    with atomic_write(left.with_name("a.csv")) as temporary:
        temporary.write_text("whole")
    written = left.with_name("a.csv")
    assert [path.name for path in left.parent.iterdir()] == ["a.csv"] and written.read_text() == "whole"
    (left.parent / "plain").touch()
    assert written.stat().st_mode == (left.parent / "plain").stat().st_mode


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
def test_what_a_living_writer_has_is_left_to_it(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a") as first:
        with atomic_write(tmp_path / "a") as second:
            for part in (first, second):
                remove_if_dead(part, or_unknown=True)
                assert part.exists()
            second.write_text("second")
        assert (tmp_path / "a").read_text() == "second"
        first.write_text("first")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "first"


def test_where_there_are_no_locks_only_who_holds_the_folder_removes_what_is_left(left: Path, monkeypatch) -> None:
    monkeypatch.setattr("utils.lock_file", lambda handle: None)
    with atomic_write(left.with_name("a.csv")) as temporary:
        temporary.write_text("whole")
    assert left.exists() and left.with_name("a.csv").read_text() == "whole"
    remove_if_dead(left)
    assert left.exists()
    remove_if_dead(left, or_unknown=True)
    assert [path.name for path in left.parent.iterdir()] == ["a.csv"]


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system cannot tell links when it opens them")
@pytest.mark.parametrize("kind", ["symlink_to", "hardlink_to", "folder", "pipe"])
def test_what_stands_where_the_temporary_file_goes_is_no_way_to_another_file(kind: str, tmp_path: Path) -> None:
    precious, part, out = tmp_path / "precious", tmp_path / ".a.part", tmp_path / "a"
    precious.write_text("kept")
    if kind == "folder":
        part.mkdir()
    elif kind == "pipe":
        os.mkfifo(part)
    else:
        getattr(part, kind)(precious)
    with atomic_write(out) as temporary:
        temporary.write_text("whole")
    assert precious.read_text() == "kept" and out.read_text() == "whole" and not out.is_symlink()


def test_a_failed_write_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    for error in (ValueError, OSError, KeyboardInterrupt):
        with pytest.raises(UserError if error is OSError else error), atomic_write(tmp_path / "a") as temporary:
            temporary.write_text("half")
            raise error("cut off")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "before"
