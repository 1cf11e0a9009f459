"""Which runs a repeat consists of: every recipe with every seed and fold, where each goes, and what is done already."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import models
from radgal.config.config import Config
from radgal.data.datasets import preparation_of
from radgal.evaluation.results import finished_test
from radgal.evaluation.validation import finished_validation
from radgal.repeats.collect import collect_run
from radgal.repeats.place import folder_of
from radgal.runs.checkpoint import read
from radgal.runs.files import RunFile
from utils import UserError

TRAIN_SIZE = "data.train_size"


@dataclass(frozen=True)
class Recipe:
    """What is compared: a config, as it stands or with some keys changed."""

    name: str  # in tables, and of its folder
    config: str
    changes: tuple[str, ...] = ()  # SECTION.KEY=VALUE
    fewer_of: str | None = None  # name of the recipe that this is with fewer training sources


def list_recipes(
    configs: Sequence[str], variants: Sequence[Sequence[str]] = (), train_sizes: Sequence[int] = ()
) -> list[Recipe]:
    """Returns each config followed by its variants, and each of these followed by itself with fewer training sources.

    Args:
        configs: files, of different names.
        variants: of every config: a name, then the changes as SECTION.KEY=VALUE.
        train_sizes: numbers of training sources.

    Raises:
        UserError: if names are no names, or two recipes would share a folder.
    """
    for name, *changes in variants:
        if not re.fullmatch(r"[\w+-][\w.+-]*", name):
            raise UserError(f"--variant {name}: begin with a name of letters, digits, _, -, + and dots")
        if not changes:
            raise UserError(f"--variant {name}: nothing is changed; give SECTION.KEY=VALUE after the name")
    recipes = []
    for path in configs:
        stem = Path(path).stem
        recipes.append(Recipe(stem, path))
        recipes += [Recipe(f"{stem}_{name}", path, tuple(changes)) for name, *changes in variants]
    recipes = [sized for recipe in recipes for sized in (recipe, *_with_fewer(recipe, train_sizes))]
    names = [recipe.name for recipe in recipes]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"two recipes would share the folder {twice[0]}; rename a config or a variant")
    return recipes


def _with_fewer(recipe: Recipe, train_sizes: Sequence[int]) -> list[Recipe]:
    return [
        Recipe(f"{recipe.name}_n{n}", recipe.config, (*recipe.changes, f"{TRAIN_SIZE}={n}"), recipe.name)
        for n in sorted(set(train_sizes))
    ]


@dataclass(frozen=True)
class Task:
    """One training run of the list: a recipe with a seed and, for cross-validation, a fold such as '2/5'."""

    recipe: Recipe
    seed: int
    fold: str | None
    folder: Path
    overrides: tuple[str, ...]
    place: str  # in the list, such as '3 of 10'
    to_log: bool  # what the run prints goes to log.txt in its folder
    is_tested: bool  # or else scored by its validation sources

    def __str__(self) -> str:
        return f"{self.recipe.name}, seed {self.seed}" + (f", fold {self.fold}" if self.fold else "")

    @property
    def config(self) -> str:
        """The config file."""
        return self.recipe.config

    @property
    def log(self) -> Path:
        """Where the run prints to on a worker."""
        return RunFile.LOG.at(self.folder)

    def is_begun(self) -> bool:
        """Returns whether there is something to go on with."""
        return any(file.at(self.folder).is_file() for file in (RunFile.LAST, RunFile.UNFINISHED))

    def result(self, config: Config):
        """Returns (metrics, per-source table) of the finished run, so that it is left alone; None if it is not.

        Args:
            config: of the task, read and checked.

        Raises:
            UserError: if its folder holds a finished run of another config.
        """
        return (finished_test if self.is_tested else finished_validation)(self.folder, config)


def list_tasks(
    recipes: Sequence[Recipe],
    out: str | Path,
    *,
    seeds: Sequence[int],
    n_folds: int | None = None,
    overrides: Sequence[str] = (),
    to_log: bool = False,
    is_tested: bool = True,
) -> list[Task]:
    """Returns every run that the table needs, finished or not.

    Args:
        recipes: of different names.
        out: the folder of all; a run goes into ``recipe/seed_0`` or ``recipe/seed_0/fold_1_of_5`` in it.
        seeds: of every recipe.
        n_folds: of a cross-validation; None: the data set's own parts.
        overrides: SECTION.KEY=VALUE, for all runs.
        to_log: whether the runs print to a file each.
        is_tested: whether the runs are tested, on folds of all sources if ``n_folds`` says so, or else scored by
            validation, on folds of the training sources.
    """
    folds = [f"{k}/{n_folds}" for k in range(1, n_folds + 1)] if n_folds else [None]
    combinations = list(product(recipes, seeds, folds))
    tasks = []
    for i, (recipe, seed, fold) in enumerate(combinations, start=1):
        folder = folder_of(out, recipe.name, seed, fold, is_tested)
        own = [f"{key}={value}" for key, value in _settings(folder, seed, fold, is_tested).items()]
        changes = (*overrides, *recipe.changes, *own)
        tasks.append(Task(recipe, seed, fold, folder, changes, f"{i} of {len(combinations)}", to_log, is_tested))
    return tasks


def _settings(folder: Path, seed: int, fold: str | None, is_tested: bool) -> dict[str, str]:
    """Returns the keys that every run of a repeat has values of its own for."""
    own = {"training.seed": str(seed), "metrics.outputdir": folder.as_posix()}
    own |= {"output.csvfile": "None", "output.modfile": "None"}
    return own | ({"data.fold" if is_tested else "data.val_fold": fold} if fold else {})


def keys_set(n_folds: int | None, is_tested: bool = True) -> set[str]:
    """Returns the keys that a repeat sets for each run, which therefore cannot be set for all."""
    return set(_settings(Path(), 0, "1/2" if n_folds else None, is_tested))


def collect(task: Task, config: Config) -> dict:
    """Returns a finished run as the table needs it.

    Args:
        config: of the task, read and checked.
    """
    metrics, table = task.result(config)
    counts = json.loads(RunFile.ENVIRONMENT.at(task.folder).read_text(encoding="utf-8"))["class_counts"]
    network = models.build_from_config(config, tuple(metrics["classes"]), preparation_of(config, (0.0, 1.0)))
    return collect_run(
        task.recipe.name,
        task.seed,
        metrics,
        table,
        read(RunFile.LAST.at(task.folder))["history"],
        parameters=models.count_parameters(network)[0],
        multiply_adds=models.count_multiply_adds(network, network.imsize),
        fold=int(task.fold.split("/")[0]) - 1 if task.fold else None,
        chose_epoch=not (task.is_tested or config.keeps_last),
    ) | {"n_train": sum(counts["train"].values())}
