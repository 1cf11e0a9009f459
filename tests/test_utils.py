"""The small helpers, where no other test needs them for itself."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from utils import counted, reason_of, without_warnings


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
