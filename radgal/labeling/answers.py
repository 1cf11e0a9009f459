"""The table of answers: a csv that only grows, a line for each answer, on the disk before anything else happens.

It is a table that ``ImageTable`` reads: the last line of an image counts. Taking an answer back is a line, too, which
says what holds again.
"""

from __future__ import annotations

import csv
import io
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from radgal.files.cells import plain_cell, safe_cell
from radgal.runs import lock
from utils import UserError

COLUMNS = ("path", "label", "ra", "dec", "answer", "order", "labeler", "labeled_at")
MAX_HEAD = 10_000  # characters
CLASS, UNSURE, UNDO = "class", "unsure", "undo"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")  # ends a line, so that one that was cut off is known by it


@dataclass(frozen=True)
class Answer:
    """One answer that holds, or held, of an image."""

    line: int  # of the file, from 1; the head is line 0
    path: str
    label: str  # '' where the labeler was unsure
    labeler: str
    labeled_at: str


class Answers:
    """The answers of a table, in memory and on disk; several threads may ask and write. See :func:`opened`."""

    def __init__(self, path: Path, handle: int, rows: Sequence[dict[str, str]]):
        self.path, self._handle, self._lock = path, handle, threading.RLock()
        self._held: dict[str, list[Answer]] = {}  # of each image those that hold or would if the later were undone
        self.n_lines = 0
        for row in rows:
            self._take(row)

    def of(self, path: str) -> Answer | None:
        """Returns the answer that holds of an image, None if there is none."""
        with self._lock:
            held = self._held.get(path)
            return held[-1] if held else None

    def all(self) -> list[Answer]:
        """Returns the answers that hold, in the order in which they were given."""
        with self._lock:
            return sorted((held[-1] for held in self._held.values() if held), key=lambda answer: answer.line)

    def add(self, path: str, label: str, seen: int, **more: str) -> Answer:
        """Writes an answer, and returns it once it is on disk.

        Args:
            path: of the image.
            label: a class, or '' for unsure.
            seen: the line of the answer that whoever answers saw, 0 for none.
            more: the other columns.

        Raises:
            Meanwhile: if another answer holds than the one that was seen.
        """
        with self._lock:
            self._check(path, seen)
            self._append({"path": path, "label": label, "answer": CLASS if label else UNSURE, **more})
            return self._held[path][-1]

    def undo(self, path: str, seen: int, **more: str) -> None:
        """Writes that the answer of line ``seen`` is taken back; what held before it holds again.

        Raises:
            Meanwhile: if another answer holds.
        """
        with self._lock:
            if not seen:
                raise Meanwhile(path)
            self._check(path, seen)
            before = self._held[path][:-1]
            self._append({"path": path, "label": before[-1].label if before else "", "answer": UNDO, **more})

    def _check(self, path: str, seen: int) -> None:
        now = self.of(path)
        if (now.line if now else 0) != seen:
            raise Meanwhile(path)

    def _append(self, row: dict[str, str]) -> None:
        row |= {"labeled_at": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")}
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerow(safe_cell(row.get(name, "")) for name in COLUMNS)
        content, start = stream.getvalue().encode(), os.fstat(self._handle).st_size
        try:
            while content:
                content = content[os.write(self._handle, content) :]
            os.fsync(self._handle)
        except OSError as error:
            os.ftruncate(self._handle, start)  # half a line would make the next one unreadable
            raise UserError(f"cannot write {self.path}: {error.strerror}; the answer is not saved") from None
        self._take(row)

    def _take(self, row: dict[str, str]) -> None:
        self.n_lines += 1
        held = self._held.setdefault(row["path"], [])
        if row["answer"] == UNDO:
            held[-1:] = []
        elif row["answer"] or row["label"]:  # a line without either says nothing
            held.append(Answer(self.n_lines, row["path"], row["label"], row["labeler"], row["labeled_at"]))


class Meanwhile(Exception):
    """The image has been answered since by another window; its text is the path."""


@contextmanager
def opened(path: Path) -> Iterator[Answers]:
    """Yields the answers of a table, which is made if it is not there; no other process may have it open.

    A last line that a broken disk or a power cut left half written is removed: it was never confirmed.

    Raises:
        UserError: if it is another table, cannot be written, or another process labels into it.
    """
    with lock.hold(path.parent, f".{path.name}.lock", "--table"):
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}; choose another --table") from None
        try:
            yield Answers(path, handle, _read(path, handle))
        finally:
            os.close(handle)


def check_table(path: Path) -> None:
    """Raises a UserError if there is a table by this name that ``label`` did not write."""
    if path.is_file():
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            head = stream.readline(MAX_HEAD)
        if head:
            _check_head(path, next(csv.reader([head]), []))


def _check_head(path: Path, head: Sequence[str]) -> None:
    if tuple(head) != COLUMNS:
        raise UserError(
            f"{path} is no table that label wrote (its columns are {', '.join(head)[:200]}, and would be "
            f"{', '.join(COLUMNS)}): choose another --table"
        )


def _read(path: Path, handle: int) -> list[dict[str, str]]:
    """Returns the lines of the table, after it has been given a head, or been freed of half a line."""
    with path.open("rb") as stream:
        content = stream.read()
    whole = content[: content.rfind(b"\n") + 1]
    if tail := content[len(whole) :]:
        cells = next(csv.reader([tail.decode("utf-8", "replace")]), [])
        if len(cells) == len(COLUMNS) and TIME.fullmatch(cells[-1]):  # an editor left off the end of the line
            os.write(handle, b"\n")
            whole = content + b"\n"
        else:
            os.ftruncate(handle, len(whole))
    if not whole:
        os.write(handle, (",".join(COLUMNS) + "\n").encode())
        os.fsync(handle)
        return []
    try:
        head, *rows = csv.reader(io.StringIO(whole.decode("utf-8-sig")), strict=True)
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a csv: {error}") from None
    _check_head(path, head)
    if odd := [i for i, row in enumerate(rows, 2) if len(row) != len(COLUMNS)]:
        raise UserError(f"{path}: line {odd[0]} has not {len(COLUMNS)} cells; mend it, nothing was changed")
    return [dict(zip(COLUMNS, map(plain_cell, row), strict=True)) for row in rows]
