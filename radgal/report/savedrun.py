"""What the files of a run folder say, for the report: each read by itself, none of them trusted.

A file that is missing leaves its part empty; one that cannot be read is named in ``problems``.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radgal.config.ini import parse_literal, read_ini
from radgal.evaluation.gallery import read_gallery
from radgal.evaluation.questions import doubted, learning
from radgal.files.cells import plain_cell
from radgal.repeats.place import place_of
from radgal.runs.files import RunFile
from utils import UserError, reason_of

MAX_BYTES = 64 * 2**20  # of one text file: far above a million epochs or a hundred thousand sources
OF_EVERY_RUN = (RunFile.HISTORY, RunFile.METRICS, RunFile.CONFIG, RunFile.ENVIRONMENT, RunFile.AGAINST)
"""At least one of them is there."""
Rows = list[dict[str, str]]


@dataclass(frozen=True)
class SavedRepeat:
    """The ``repeat`` that a run is part of: its folder, which of its recipes the run is of, and its answers."""

    folder: Path
    recipe: str
    answers: dict[str, Any]  # with "questions", as metrics.json has them


@dataclass
class SavedRun:
    """The content of a run folder; tables are rows of text, as csv gives them."""

    folder: Path
    config: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    history: Rows = field(default_factory=list)
    sources: Rows = field(default_factory=list)
    images: dict[str, Any] = field(default_factory=dict)  # uint8 (S, S) by source name
    against: dict[str, Any] = field(default_factory=dict)
    rotation_sources: Rows = field(default_factory=list)
    rotation_poses: Rows = field(default_factory=list)
    rotation_compare: dict[str, Any] = field(default_factory=dict)
    rotation_changes: Rows = field(default_factory=list)
    equivariance: Rows = field(default_factory=list)
    equivariance_summary: Rows = field(default_factory=list)
    repeat: SavedRepeat | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the run is called: after its config, else after its folder."""
        return str(self.metrics.get("run") or self.against.get("run") or self.folder.resolve().name)

    def option(self, section: str, key: str) -> Any:
        """Returns a value of the run's config, None if it is not known."""
        return self.config.get(section, {}).get(key)


def read_run(run: str | Path) -> SavedRun:
    """Returns what there is of a run.

    Args:
        run: its folder, or a checkpoint in it.

    Raises:
        UserError: if this is no run at all.
    """
    folder = Path(run).expanduser()
    if folder.is_file():
        folder = folder.parent
    if not folder.is_dir():
        raise UserError(f"there is no run folder {run}")
    if not any((folder / one.file).is_file() for one in OF_EVERY_RUN):
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise UserError(f"{folder} is not the folder of a training run; it holds {there}")
    found = SavedRun(folder)
    for file, (attribute, reader) in READERS.items():
        _fill(found, attribute, file, reader)
    moved = found.option("output", "csvfile")
    if moved and not (folder / RunFile.HISTORY.file).is_file():  # a run may have its csv elsewhere
        _fill(found, "history", RunFile.LAST, read_history)
    if (place := place_of(folder)) and place.file.is_file():
        _read(found, "repeat", place.file, lambda path: SavedRepeat(path.parent, place.recipe, read_answers(path)))
    return found


def _fill(found: SavedRun, attribute: str, file: RunFile, reader: Callable[[Path], Any]) -> None:
    try:
        path = file.at(found.folder)
    except UserError as error:
        found.problems.append(f"{file.file} cannot be read: {reason_of(error)}")
        return
    if path.is_file():
        _read(found, attribute, path, reader)


def _read(found: SavedRun, attribute: str, path: Path, reader: Callable[[Path], Any]) -> None:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"is larger than {MAX_BYTES // 2**20} MiB")
        setattr(found, attribute, reader(path))
    except Exception as error:  # csv, JSON, zip, zlib and NumPy each raise kinds of their own on damaged files
        found.problems.append(f"{path.name} cannot be read: {reason_of(error)}")


def read_csv(path: Path) -> Rows:
    """Returns the rows of a csv with a header; every row has every column."""
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    if any(None in row or None in row.values() for row in rows):
        raise ValueError("a row has more or fewer cells than the header")
    return [{name: plain_cell(cell) for name, cell in row.items()} for row in rows]


def read_history(path: Path) -> Rows:
    """Returns the rows of the csv of a run whose csv lies elsewhere: its checkpoint has them, too.

    The config of a run folder is not asked where: it could name any file of this machine.
    """
    from radgal.runs.checkpoint import read

    rows = read(path)["history"]
    return [{str(key): "" if value is None else str(value) for key, value in row.items()} for row in rows]


def read_answers(path: Path) -> dict[str, Any]:
    """Returns the "questions" of the JSON of a repeat, whose answers are by recipe."""
    saved = _read_json(path).get("questions") or {}
    answers = {one.key: saved[one.key] for one in (learning.QUESTION, doubted.QUESTION) if one.key in saved}
    if not all(isinstance(one, dict) and isinstance(one.get("recipes"), dict) for one in answers.values()):
        raise ValueError("its answers are not by recipe")
    return {"questions": answers}


def _read_json(path: Path) -> dict:
    content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    if not isinstance(content, dict):
        raise ValueError("does not hold a JSON object")
    return content


def _read_config(path: Path) -> dict[str, dict[str, Any]]:
    def literal(text: str, key: str) -> Any:
        try:
            return parse_literal(text, key)
        except ValueError:
            return text

    return {
        section: {key: literal(text, key) for key, text in entries.items()}
        for section, entries in read_ini(path).sections.items()
    }


READERS: dict[RunFile, tuple[str, Callable[[Path], Any]]] = {  # attribute of SavedRun, and how it is read
    RunFile.CONFIG: ("config", _read_config),
    RunFile.HISTORY: ("history", read_csv),
    RunFile.ENVIRONMENT: ("environment", _read_json),
    RunFile.METRICS: ("metrics", _read_json),
    RunFile.SOURCES_CSV: ("sources", read_csv),
    RunFile.AGAINST: ("against", _read_json),
    RunFile.GALLERY: ("images", read_gallery),
    RunFile.ROTATION_SOURCES: ("rotation_sources", read_csv),
    RunFile.ROTATION_POSES: ("rotation_poses", read_csv),
    RunFile.ROTATION_COMPARE_JSON: ("rotation_compare", _read_json),
    RunFile.ROTATION_COMPARE_CSV: ("rotation_changes", read_csv),
    RunFile.EQUIVARIANCE: ("equivariance", read_csv),
    RunFile.EQUIVARIANCE_SUMMARY: ("equivariance_summary", read_csv),
}


def to_float(text: Any) -> float | None:
    """Returns a number of a csv or JSON, None for what is empty, no number, or not finite."""
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None
