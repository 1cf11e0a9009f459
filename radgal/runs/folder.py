"""The files of a training run: where they go, how an earlier run's are kept, what is written when."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from glob import escape
from itertools import chain
from pathlib import Path

from radgal.config.config import Config
from radgal.runs import checkpoint, lock
from radgal.runs.earlier import put_aside, remove_dead_scratch
from radgal.runs.files import RunFile, forbid_leaving
from radgal.runs.outputs import check_outputs
from radgal.runs.statecheck import find_mistake
from radgal.training.loop import CSV_COLUMNS
from utils import UserError, atomic_write, free_name, printable, remove_if_dead


class RunFolder:
    """The output folder of one run, and its csv and weights file, which may lie elsewhere."""

    def __init__(self, config: Config):
        self._config = config
        self.path = config.output_dir
        self.csv = config.csv_path
        self.weights = config.model_path
        self.lock: lock.RunLock | None = None
        self._read: dict[Path, tuple[tuple[int, ...], dict]] = {}

    @property
    def last(self) -> Path:
        return RunFile.LAST.at(self.path)

    @property
    def best(self) -> Path:
        return RunFile.BEST.at(self.path)

    @property
    def unfinished(self) -> Path:
        """The epoch that a stopped run was in; of no use once last.pt has that epoch."""
        return RunFile.UNFINISHED.at(self.path)

    def take(self, stack: ExitStack, say: Callable[..., None]) -> None:
        """Holds the folder and the files elsewhere until ``stack`` is closed; removes what a killed run half wrote.

        Raises:
            UserError: if another run is in the folder or has one of the files, or they cannot be written without loss.
        """
        self.lock = stack.enter_context(lock.hold(self.path))
        for key, path in (("csvfile", self.csv), ("modfile", self.weights)):
            if path.parent.resolve() == self.path.resolve():
                forbid_leaving(path, self.path)
            if not self._is_inside(path):
                where = path.resolve()
                stack.enter_context(lock.hold(where.parent, f".{where.name}.lock", f"[output] {key}"))
        check_outputs(self._config)
        if dead := self.lock.left_by:
            who = printable(f"process {dead.get('pid')}, started {dead.get('started')}")
            say(f"taken over from {who}, which has died")
        left = [self.path.glob(".*.part")]
        left += [path.parent.glob(f".{escape(path.name)}.*part") for path in (self.csv, self.weights)]
        for part in chain(*left):
            remove_if_dead(part, or_unknown=True)
        remove_dead_scratch(self.path)

    def _is_inside(self, path: Path) -> bool:
        return path.resolve().parent == self.path.resolve()

    def state(self) -> dict | None:
        """Returns the furthest point that the run in the folder can be gone on from, None if there is no run.

        Raises:
            UserError: if there is one, but it cannot be read.
        """
        last = self._read_state(self.last) if self.last.is_file() else None
        if self.unfinished.is_file():
            part = self._read_state(self.unfinished)
            if part["epoch"] == (last["epoch"] if last else 0):
                return part
        return last

    def _content_of(self, path: Path) -> dict:
        """Returns what a checkpoint holds; it is read again only if it is another file by now."""
        try:
            state = path.stat()
        except OSError:
            return checkpoint.read(path)  # which says what is wrong
        which = state.st_ino, state.st_size, state.st_mtime_ns
        if path not in self._read or self._read[path][0] != which:
            self._read[path] = which, checkpoint.read(path)
        return {**self._read[path][1]}

    def forget(self) -> None:
        """Lets go of the checkpoints that were read: training changes what they hold, and they take memory."""
        self._read.clear()

    def _read_state(self, path: Path) -> dict:
        content = self._content_of(path)
        if missing := {"best_epoch", "best_score", "optimizer", "scheduler"} - content.keys():
            raise UserError(f"{path} can be used, but not gone on with: it lacks {', '.join(sorted(missing))}")
        if mistake := find_mistake(content):
            raise UserError(f"{path} is refused: {mistake}, so this program did not write it; delete it")
        return content

    def keep_earlier(self) -> list[str]:
        """Moves what an earlier run wrote here to numbered names; returns what was moved, in words.

        What lies in the folder goes to ``earlier.k`` inside it, which is a run folder like any other; a csv or
        weights file elsewhere becomes ``name.k.suffix`` beside it.
        """
        # What the other commands made of the earlier run must not be taken for results of the new one. Without its mark
        # and checkpoints first, a run of which half is moved is none.
        first = (RunFile.FINISHED, RunFile.LAST, RunFile.UNFINISHED)
        names = {one.file: None for one in (*first, *RunFile) if one.is_put_aside}
        names |= {path.name: None for path in (self.csv, self.weights) if self._is_inside(path)}
        if self._is_blank(self.csv):
            names.pop(self.csv.name, None)
        kept = put_aside(self.path, names)
        moved = [] if kept is None else [f"the earlier run's files are kept in {kept}"]
        return moved + [self._keep(path) for path in (self.csv, self.weights) if not self._is_blank(path)]

    def keep_results(self) -> list[str]:
        """Moves what was found out about the network that is now trained further; returns what was moved, in words."""
        kept = put_aside(self.path, [one.file for one in RunFile if one.is_result])
        return [] if kept is None else [f"what was found out about it so far is kept in {kept}"]

    def keep_others(self, history: Sequence[dict]) -> list[str]:
        """Moves a csv or weights file that is not of the run that is gone on with; returns what was moved, in words.

        Args:
            history: of that run.
        """
        moved = [] if self._has_own_rows(history) else [self._keep(self.csv)]
        if self.weights.exists():
            own = [self._content_of(path)["model"] for path in (self.last, self.best) if path.is_file()]
            if not any(checkpoint.holds_weights(self.weights, one) for one in own):
                moved.append(self._keep(self.weights))
        return moved

    @staticmethod
    def _keep(path: Path) -> str:
        kept = free_name(path)
        try:
            path.rename(kept)
        except OSError as error:
            raise UserError(
                f"cannot put {path} aside: {error.strerror}; nothing was overwritten; give another name"
            ) from None
        return f"the {path} that was there is kept as {kept}"

    @staticmethod
    def _is_blank(path: Path) -> bool:
        """Returns whether a file is not there, or is a csv with no epoch in it, as of a run killed in its first."""
        return not path.exists() or _csv_text([]).startswith(path.read_bytes().decode("latin-1"))

    def _has_own_rows(self, history: Sequence[dict]) -> bool:
        """Returns whether the csv is blank, or what this program writes of these epochs; the last line may be cut."""
        if self._is_blank(self.csv):
            return True
        lines = self.csv.read_bytes().decode("latin-1").split("\r\n")[:-1]
        return bool(lines) and lines == _csv_text(history).split("\r\n")[: len(lines)]

    def start_csv(self, history: Iterable[dict] = ()) -> None:
        """Writes the csv anew, with the rows there are so far."""
        with atomic_write(self.csv) as temporary:
            temporary.write_bytes(_csv_text(history).encode())

    def add_row(self, row: dict) -> None:
        """Appends one epoch's row to the csv."""
        try:
            with self.csv.open("a", newline="", encoding="utf-8") as stream:
                csv.DictWriter(stream, CSV_COLUMNS).writerow(row)
        except OSError as error:
            raise UserError(
                f"cannot write {self.csv}: {error.strerror}; the checkpoint {self.last} is intact"
            ) from None

    def save_epoch(self, content: dict, is_kept: bool) -> None:
        """Writes last.pt and, for the epoch to keep so far, the plain weights and best.pt; then the csv's row.

        last.pt comes first and has it all: whatever a kill leaves undone after it, ``repair`` does on resume.
        """
        self._check_held()
        checkpoint.save(self.last, content)
        if is_kept:
            self._save_kept(content)
        self.add_row(content["history"][-1])
        self.unfinished.unlink(missing_ok=True)

    def _save_kept(self, content: dict) -> None:
        # In this order the weights are always those of best.pt or of last.pt, by which they are known.
        checkpoint.save(self.weights, content["model"])
        checkpoint.save(self.best, content)

    def save_unfinished(self, content: dict) -> None:
        """Writes the state within an epoch."""
        self._check_held()
        checkpoint.save(self.unfinished, content)

    def repair(self, is_kept: bool, is_unfinished: bool) -> None:
        """Brings the files after last.pt up to it, where the run was killed between them.

        Args:
            is_kept: whether the epoch of last.pt is the one to keep so far.
            is_unfinished: whether unfinished.pt is what the run goes on from.
        """
        if not is_unfinished:
            self.unfinished.unlink(missing_ok=True)
        if is_kept and self.last.is_file():
            self._save_kept(self._content_of(self.last))
        elif self.best.is_file() and not self.weights.is_file():
            checkpoint.save(self.weights, self._content_of(self.best)["model"])

    def _check_held(self) -> None:
        if self.lock is not None and not self.lock.is_held:
            raise UserError(
                f"{self.path} has vanished, or was taken away from this run: its {lock.NAME} is no longer there; "
                "put the folder back, or choose another [metrics] outputdir"
            )

    def write_config(self, config: Config) -> None:
        """Writes the resolved config, which ``--config`` reads again."""
        with atomic_write(RunFile.CONFIG.at(self.path)) as temporary:
            temporary.write_text(f"# {config.name}, with every default filled in\n{config.to_ini()}", encoding="utf-8")


def _csv_text(history: Iterable[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS)
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
