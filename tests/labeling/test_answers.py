"""The table of answers loses nothing, whatever is killed, and says what holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from radgal.data.labeltable import read_labels
from radgal.labeling.answers import Meanwhile, opened
from utils import UserError

MORE = {"order": "random", "labeler": "=me|x", "ra": "10.5", "dec": "1.5"}


def fill(path: Path) -> None:
    with opened(path) as answers:
        answers.add("a.npy", "FRI", 0, **MORE)
        answers.add("b.npy", "", 0, **MORE)
        answers.add("c.npy", "FRII", 0, **MORE)
        answers.add("a.npy", "FRII", 1, **MORE)


def held(path: Path) -> dict[str, str]:
    with opened(path) as answers:
        return {one.path: one.label for one in answers.all()}


def test_lines_are_only_added_and_the_last_of_an_image_counts(tmp_path) -> None:
    table = tmp_path / "labels.csv"
    fill(table)
    before = table.read_bytes()
    with opened(table) as answers:
        assert answers.all()[-1].labeler == "=me|x"  # which a spreadsheet would run, and so is disguised in the file
        answers.undo("a.npy", 4, **MORE)
        assert table.read_bytes()[: len(before)] == before  # on disk as soon as it is answered
    assert held(table) == {"a.npy": "FRI", "b.npy": "", "c.npy": "FRII"}
    rows, classes, findings = read_labels(table)
    assert [(row.name, row.label, row.position) for row in rows] == [
        ("c", "FRII", (10.5, 1.5)),
        ("a", "FRI", (10.5, 1.5)),
    ]
    assert findings.problems == [] and classes == ("FRI", "FRII")
    with opened(table) as answers:
        answers.undo("a.npy", 1, **MORE)
        answers.undo("b.npy", 2, **MORE)
    assert held(table) == {"c.npy": "FRII"}
    assert [row.name for row in read_labels(table)[0]] == ["c"]


def test_an_answer_that_does_not_know_of_another_is_refused(tmp_path) -> None:
    table = tmp_path / "labels.csv"
    fill(table)
    before = table.read_bytes()
    with opened(table) as answers:
        for wrong in (lambda: answers.add("a.npy", "FRI", 1), lambda: answers.undo("a.npy", 1)):
            with pytest.raises(Meanwhile):
                wrong()
        with pytest.raises(Meanwhile):
            answers.undo("new.npy", 0)
    assert table.read_bytes() == before


@pytest.mark.parametrize("cut", [1, 2, 25, 60])
def test_cut_anywhere_in_the_last_line_the_others_are_kept(tmp_path, cut: int) -> None:
    table = tmp_path / "labels.csv"
    fill(table)
    content = table.read_bytes()
    table.write_bytes(content[:-cut])
    whole = cut == 1  # only the end of the line is missing, as some editors leave it off
    assert held(table) == {"a.npy": "FRII" if whole else "FRI", "b.npy": "", "c.npy": "FRII"}
    with opened(table) as answers:
        answers.add("d.npy", "FRI", 0, **MORE)
    assert held(table)["d.npy"] == "FRI" and table.read_bytes().startswith(content[: content.rfind(b"a.npy")])


def test_what_cannot_be_written_is_not_taken_and_the_file_stays_whole(tmp_path, monkeypatch) -> None:
    table = tmp_path / "labels.csv"
    fill(table)
    before = table.read_bytes()
    with opened(table) as answers:
        with monkeypatch.context() as full:
            write = os.write

            def half(handle, content):
                full.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
                return write(handle, content[:7])

            full.setattr(os, "write", half)
            with pytest.raises(UserError, match="No space left.*not saved"):
                answers.add("d.npy", "FRI", 0, **MORE)
        assert table.read_bytes() == before and answers.of("d.npy") is None
        answers.add("d.npy", "FRII", 0, **MORE)
    assert held(table)["d.npy"] == "FRII"


def test_another_table_or_a_second_process_is_refused(tmp_path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,label\na.npy,FRI\n")
    with pytest.raises(UserError, match="no table that label wrote"), opened(table):
        pass
    assert table.read_text() == "path,label\na.npy,FRI\n"
    table.unlink()
    fill(table)
    with opened(table), pytest.raises(UserError, match="is in use by another run"), opened(table):
        pass
    table.write_bytes(table.read_bytes() + b"one,cell\n")
    with pytest.raises(UserError, match="line 6 has not 8 cells"), opened(table):
        pass
