"""Which runs a repeat consists of: every config with every seed and fold, where each goes, and what is done already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import models
from radgal.config.config import Config
from radgal.data.datasets import preparation_of
from radgal.evaluation.results import finished_test
from radgal.repeats.comparison import collect_run
from radgal.runs.checkpoint import read
from radgal.runs.files import RunFile


@dataclass(frozen=True)
class Task:
    """One training run of the list: a config with a seed and, for cross-validation, a fold such as '2/5'."""

    config: str
    seed: int
    fold: str | None
    folder: Path
    overrides: tuple[str, ...]
    place: str  # in the list, such as '3 of 10'
    to_log: bool  # what the run prints goes to log.txt in its folder

    def __str__(self) -> str:
        return f"{Path(self.config).stem}, seed {self.seed}" + (f", fold {self.fold}" if self.fold else "")

    @property
    def log(self) -> Path:
        """Where the run prints to on a worker."""
        return RunFile.LOG.at(self.folder)

    def is_begun(self) -> bool:
        """Returns whether there is something to go on with."""
        return any(file.at(self.folder).is_file() for file in (RunFile.LAST, RunFile.UNFINISHED))

    def is_finished(self, config: Config) -> bool:
        """Returns whether the run was trained and tested, so that it is left alone.

        Args:
            config: of the task, read and checked.

        Raises:
            UserError: if its folder holds a finished run of another config.
        """
        return finished_test(self.folder, config) is not None


def list_tasks(
    configs: Sequence[str],
    out: str | Path,
    *,
    seeds: Sequence[int],
    n_folds: int | None = None,
    overrides: Sequence[str] = (),
    to_log: bool = False,
) -> list[Task]:
    """Returns every run that the table needs, finished or not.

    Args:
        configs: files, of different names.
        out: the folder of all; a run goes into ``config/seed_0`` or ``config/seed_0/fold_1_of_5`` in it.
        seeds: of every config.
        n_folds: of a cross-validation; None: the data set's own test set.
        overrides: SECTION.KEY=VALUE, for all runs.
        to_log: whether the runs print to a file each.
    """
    folds = [f"{k}/{n_folds}" for k in range(1, n_folds + 1)] if n_folds else [None]
    combinations = list(product(configs, seeds, folds))
    tasks = []
    for i, (path, seed, fold) in enumerate(combinations, start=1):
        folder = Path(out, Path(path).stem, f"seed_{seed}", f"fold_{fold.replace('/', '_of_')}" if fold else "")
        own = [f"{key}={value}" for key, value in _settings(folder, seed, fold).items()]
        tasks.append(Task(path, seed, fold, folder, (*overrides, *own), f"{i} of {len(combinations)}", to_log))
    return tasks


def _settings(folder: Path, seed: int, fold: str | None) -> dict[str, str]:
    """Returns the keys that every run of a repeat has values of its own for."""
    own = {"training.seed": str(seed), "metrics.outputdir": folder.as_posix()}
    own |= {"output.csvfile": "None", "output.modfile": "None"}
    return own | ({"data.fold": fold} if fold else {})


def keys_set(n_folds: int | None) -> set[str]:
    """Returns the keys that a repeat sets for each run, which therefore cannot be set for all."""
    return set(_settings(Path(), 0, "1/2" if n_folds else None))


def collect(task: Task, config: Config) -> dict:
    """Returns a finished run as the table needs it.

    Args:
        config: of the task, read and checked.
    """
    metrics, table = finished_test(task.folder, config)
    network = models.build_from_config(config, tuple(metrics["classes"]), preparation_of(config, (0.0, 1.0)))
    return collect_run(
        config.name,
        task.seed,
        metrics,
        table,
        read(RunFile.LAST.at(task.folder))["history"],
        parameters=models.count_parameters(network)[0],
        multiply_adds=models.count_multiply_adds(network, network.imsize),
        fold=int(task.fold.split("/")[0]) - 1 if task.fold else None,
    )
