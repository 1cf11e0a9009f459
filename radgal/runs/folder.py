"""The files of a training run: where they go, how an earlier run's are kept, what is written when."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from glob import escape
from itertools import chain
from pathlib import Path

from radgal.config.config import Config
from radgal.runs import checkpoint, lock
from radgal.runs.files import RunFile
from radgal.runs.statecheck import find_mistake
from radgal.training.loop import CSV_COLUMNS
from utils import UserError, atomic_write, free_name


class RunFolder:
    """The output folder of one run, and its csv and weights file, which may lie elsewhere."""

    def __init__(self, config: Config):
        self.path = config.output_dir
        self.csv = config.csv_path
        self.weights = config.model_path
        self.lock: lock.RunLock | None = None

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
        """Holds the folder's lock until ``stack`` is closed, and removes what a killed run left half written.

        Raises:
            UserError: if another run is in the folder, or it cannot be written.
        """
        self.lock = stack.enter_context(lock.hold(self.path))
        if dead := self.lock.left_by:
            say(f"taken over from process {dead.get('pid')}, started {dead.get('started')}, which has died")
        left = [self.path.glob(".*.part")]
        left += [path.parent.glob(f".{escape(path.name)}.*.part") for path in (self.csv, self.weights)]
        for part in chain(*left):
            if not part.is_dir():
                part.unlink(missing_ok=True)

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

    @staticmethod
    def _read_state(path: Path) -> dict:
        content = checkpoint.read(path)
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
        inside = [p for p in self._own_files() if p.parent == self.path]
        moved = []
        try:
            if inside:
                kept = free_name(self.path / "earlier")
                kept.mkdir()
                for path in inside:
                    path.rename(kept / path.name)
                moved.append(f"the earlier run's files are kept in {kept}")
            for path in (self.csv, self.weights):
                if path.exists() and path not in self._without_rows():
                    kept = free_name(path)
                    path.rename(kept)
                    moved.append(f"the earlier {path} is kept as {kept}")
        except OSError as error:
            raise UserError(
                f"cannot put an earlier run's files in {self.path} aside: {error.strerror}; nothing was overwritten; "
                "choose another [metrics] outputdir"
            ) from None
        return moved

    def _own_files(self) -> list[Path]:
        # What the other commands made of the earlier run must not be taken for results of the new one.
        found = {one.at(self.path): None for one in RunFile if one.is_put_aside}
        found |= {path: None for path in (self.csv, self.weights) if path.parent == self.path}
        return [path for path in found if path.exists() and path not in self._without_rows()]

    def _without_rows(self) -> list[Path]:
        """Returns the csv if it is there but holds no epoch, as after a run that was killed in its first."""
        return [self.csv] if self.csv.is_file() and self.csv.read_bytes().count(b"\n") < 2 else []

    def start_csv(self, history: Iterable[dict] = ()) -> None:
        """Writes the csv anew, with the rows there are so far."""
        text = io.StringIO()
        writer = csv.DictWriter(text, CSV_COLUMNS)
        writer.writeheader()
        writer.writerows(history)
        with atomic_write(self.csv) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8")

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
        """Writes last.pt and, for the epoch to keep so far, best.pt and the plain weights; then the csv's row.

        last.pt comes first and has it all: whatever a kill leaves undone after it, ``repair`` does on resume.
        """
        self._check_held()
        checkpoint.save(self.last, content)
        if is_kept:
            self._save_kept(content)
        self.add_row(content["history"][-1])
        self.unfinished.unlink(missing_ok=True)

    def _save_kept(self, content: dict) -> None:
        checkpoint.save(self.best, content)
        checkpoint.save(self.weights, content["model"])

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
            self._save_kept(checkpoint.read(self.last))
        elif self.best.is_file() and not self.weights.is_file():
            checkpoint.save(self.weights, checkpoint.read(self.best)["model"])

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
