"""Whether a run is finished: ``finished.json`` says so, is written last, and whoever asks reads nothing else.

Training takes it away before it changes anything. Versions of before left no such file, and their checkpoints do not
name it: of their runs the other files decide, see :func:`find`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

from radgal.runs import checkpoint
from radgal.runs.files import RunFile
from utils import UserError, sha256_of, write_json


@dataclass(frozen=True)
class Finished:
    """What a finished run came to; ``by_files`` if it is of a version that left no finished.json."""

    last_epoch: int
    kept_epoch: int
    tested: bool
    by_files: bool = False


def mark(folder: Path, last_epoch: int, kept_epoch: int, tested: bool) -> None:
    """Says that the run is finished; to be called when all else of it is written."""
    content = {"last_epoch": last_epoch, "kept_epoch": kept_epoch, "tested": tested}
    write_json(RunFile.FINISHED.at(folder), content | {"best_sha256": sha256_of(RunFile.BEST.at(folder))})


def unmark(folder: Path) -> None:
    """Takes the mark away, for what is about to change the run."""
    RunFile.FINISHED.at(folder).unlink(missing_ok=True)


def find(folder: Path) -> Finished | None:
    """Returns what the run in a folder came to; None if it is not finished, or best.pt is not the one it ended with.

    A run of a version that left no mark is finished if environment.json is of its last epoch and of the epoch in
    best.pt, and tested if metrics.json is of that epoch and sources.ecsv is there.
    """
    path, best = RunFile.FINISHED.at(folder), RunFile.BEST.at(folder)
    if not path.exists():
        return _find_by_files(folder)
    content = _read_json(path)
    numbers = [content.get("last_epoch"), content.get("kept_epoch")]
    if any(type(number) is not int for number in numbers) or not best.is_file():
        return None
    return Finished(*numbers, content.get("tested") is True) if content.get("best_sha256") == sha256_of(best) else None


def mark_again(folder: Path, before: Finished | None) -> None:
    """Says so again of a run whose best.pt was given more to say, if it was finished before that."""
    if before is not None:
        mark(folder, before.last_epoch, before.kept_epoch, before.tested)


def _find_by_files(folder: Path) -> Finished | None:
    try:
        last, best = (checkpoint.read(one.at(folder)) for one in (RunFile.LAST, RunFile.BEST))
    except UserError:
        return None
    if "finished_by" in last:
        return None
    origin, metrics = (_read_json(one.at(folder)) for one in (RunFile.ENVIRONMENT, RunFile.METRICS))
    seconds, trained = origin.get("training_seconds"), sum(row.get("seconds", 0) for row in last["history"])
    if origin.get("kept_epoch") != best["epoch"] or not isinstance(seconds, (int, float)):
        return None
    if not isclose(seconds, trained, rel_tol=1e-9):
        return None  # it was killed after a later epoch than that
    tested = metrics.get("epoch") == best["epoch"] and RunFile.SOURCES_ECSV.at(folder).is_file()
    return Finished(last["epoch"], best["epoch"], tested, by_files=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
