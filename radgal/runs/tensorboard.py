"""Live training curves for TensorBoard, for those who ask for them with ``[output] tensorboard``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from radgal.config.config import Config
from utils import UserError

SCALARS = {  # column of the csv -> name of the curve; "test" is validation there
    "train_loss": "loss/training",
    "test_loss": "loss/validation",
    "train_accuracy": "accuracy/training",
    "test_accuracy": "accuracy/validation",
    "lr": "learning rate",
}


def require(config: Config) -> None:
    """Raises a UserError if live curves are asked for and cannot be written, before anything has started."""
    if config.output.tensorboard is None:
        return
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise UserError(
            f"[output] tensorboard = {config.output.tensorboard!r} needs a package that is not installed: "
            "pip install tensorboard, or leave the key out"
        ) from None


class Curves:
    """Takes the row of each epoch as it ends; does nothing if no curves are asked for.

    Curves lie in a folder named after the run's own. Those of an earlier run of that name are hidden from where
    this one begins.
    """

    def __init__(self, config: Config, epochs_done: int):
        """``epochs_done`` before this run, as after a resume."""
        require(config)
        self._writer = None
        if config.output.tensorboard is None:
            return
        from torch.utils.tensorboard import SummaryWriter

        self._folder = Path(config.output.tensorboard, *config.output_dir.parts[-2:])
        with self._told():
            self._writer = SummaryWriter(str(self._folder), purge_step=epochs_done + 1)

    def add(self, row: dict) -> None:
        """Adds a row of the csv to the curves.

        Raises:
            UserError: if they cannot be written.
        """
        if self._writer is None:
            return
        with self._told():
            for key, name in SCALARS.items():
                if row.get(key) is not None:
                    self._writer.add_scalar(name, row[key], row["epoch"])
            self._writer.flush()

    def close(self) -> None:
        """Ends the curves; to be called in any case."""
        if self._writer is not None:
            with suppress(OSError):  # every row is on disk already, or ``add`` has said why not
                self._writer.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"[output] tensorboard: cannot write {self._folder}: {error.strerror or error}") from None
