"""The files of a training run: where they go, how an earlier run's are kept, what is written when."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from radgal import checkpoint
from radgal.config import Config
from utils import UserError, atomic_write, free_name

# The first four are the published program's columns, in its order; its "test" is our validation.
CSV_COLUMNS = ("epoch", "train_loss", "test_loss", "test_accuracy", "train_accuracy", "lr", "seconds")


class RunFolder:
    """The output folder of one run, and its csv and weights file, which may lie elsewhere."""

    def __init__(self, config: Config):
        self.path = config.output_dir
        self.csv = config.csv_path
        self.weights = config.model_path

    @property
    def last(self) -> Path:
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        return self.path / "best.pt"

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
                if path.exists():
                    kept = free_name(path)
                    path.rename(kept)
                    moved.append(f"the earlier {path} is kept as {kept}")
        except OSError as error:
            raise UserError(
                f"cannot put an earlier run's files in {self.path} aside: {error.strerror}; nothing was overwritten; "
                "choose another [metrics] outputdir"
            ) from None
        return moved

    def _own_files(self) -> Iterable[Path]:
        names = ("last.pt", "best.pt", "config.txt", "environment.json", "metrics.json", "gallery.npz", "report.html")
        found = [self.path / name for name in names] + sorted(self.path.glob("*.png"))
        # What the other commands made of the earlier run must not be taken for results of the new one.
        for pattern in ("sources.*", "rotation_*", "equivariance*.csv"):
            found += sorted(self.path.glob(pattern))
        found += [p for p in (self.csv, self.weights) if p.parent == self.path]
        return [p for p in found if p.is_file() or p.name == "rotation_figures"]

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
        """Writes last.pt and, for the epoch to keep so far, best.pt and the plain weights."""
        checkpoint.save(self.last, content)
        if is_kept:
            checkpoint.save(self.best, content)
            checkpoint.save(self.weights, content["model"])

    def write_config(self, config: Config) -> None:
        """Writes the resolved config, which ``--config`` reads again."""
        with atomic_write(self.path / "config.txt") as temporary:
            temporary.write_text(f"# {config.name}, with every default filled in\n{config.to_ini()}", encoding="utf-8")
