"""What the folds of a recipe say of sources that the network in question had not seen.

Legend: N sources of a fold, K classes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radgal.config.config import Config
from radgal.data.datasets import preparation_of
from radgal.evaluation.calibration import store, temperature_of
from radgal.evaluation.probabilities import log_of_mean
from radgal.files.tables import column_name
from radgal.runs.checkpoint import TrainedRun, read
from radgal.runs.files import RunFile
from utils import UserError, counted

if TYPE_CHECKING:
    from astropy.table import Table

KEYS_OF_A_PLACE = {  # what two runs of one recipe may differ in
    "data": {"datadir", "mirror", "download", "fold"},
    "model": {"quiet"},
    "training": {"seed", "device", "resume"},
    "output": {"csvfile", "modfile", "tensorboard"},
    "metrics": {"outputdir"},
}


def recipe_of(config: Config) -> dict[str, dict[str, Any]]:
    """Returns the sections of a config without what only says where things lie."""
    content = config.to_dict()
    return {
        section: {key: value for key, value in content[section].items() if key not in place}
        for section, place in KEYS_OF_A_PLACE.items()
        if content[section].keys() - place
    }


def differences(one: Config, other: Config) -> list[str]:
    """Returns in words which keys of the recipe two configs do not share."""
    here, there = recipe_of(one), recipe_of(other)
    return [
        f"[{section}] {key}: {there[section][key]!r} there, {value!r} here"
        for section, values in here.items()
        for key, value in values.items()
        if there[section][key] != value
    ]


@dataclass(frozen=True, eq=False)
class Folds:
    """The folds of a cross-validation, with one seed or several: every source is in one fold of each seed."""

    classes: list[str]
    tables: list[Table]  # of sources, one a fold
    configs: list[Config]
    n_folds: int
    n_seeds: int

    @property
    def n_sources(self) -> int:
        """How many sources there are; each stands in the tables once for every seed."""
        return sum(map(len, self.tables)) // self.n_seeds

    @property
    def labels(self) -> list[np.ndarray]:
        """Of each fold (N,)."""
        return [np.asarray(table["label"]) for table in self.tables]

    @property
    def logits(self) -> list[np.ndarray]:
        """Of each fold the logarithms of the probabilities (N, K)."""
        return [log_of_mean(probs) for probs in self.of_classes("prob")]

    def of_classes(self, prefix: str) -> list[np.ndarray] | None:
        """Returns the probabilities (N, K) of a kind, see ``sourcetable.KINDS``; None if an older run lacks them."""
        names = [column_name(prefix, name) for name in self.classes]
        if any(names[0] not in table.colnames for table in self.tables):
            return None
        return [np.stack([np.asarray(table[name]) for name in names], axis=1) for table in self.tables]

    def differences(self, config: Config) -> list[str]:
        """Returns in words what differs between the recipe of the folds and that of ``config``."""
        return list(dict.fromkeys(text for one in self.configs for text in differences(config, one)))

    def temperatures_of_others(self) -> list[float]:
        """Returns for each fold the temperature of all the others."""
        logits, labels = self.logits, self.labels
        others = [[j for j in range(len(logits)) if j != i] for i in range(len(logits))]
        return [
            temperature_of(np.concatenate([logits[j] for j in rest]), np.concatenate([labels[j] for j in rest]))[
                "temperature"
            ]
            for rest in others
        ]


def read_folds(folder: Path) -> Folds:
    """Returns the folds that ``repeat --folds`` left in a folder, with any number of seeds.

    Raises:
        UserError: if there are none, one is missing, or their classes differ.
    """
    from astropy.table import Table

    tables, configs, classes, seen = [], [], {}, defaultdict(set)
    for path in sorted(folder.rglob(RunFile.METRICS.file)):
        content = read(RunFile.BEST.at(path.parent))
        config = Config.from_dict(content["config"])
        if config.data.fold is None:
            raise UserError(f"{path.parent} is no fold of a cross-validation: [data] fold is None")
        seen[config.training.seed].add(config.data.fold)
        configs.append(config)
        classes[tuple(content["classes"])] = path.parent
        tables.append(Table.read(RunFile.SOURCES_ECSV.at(path.parent), format="ascii.ecsv"))
    n_folds = {int(fold.split("/")[1]) for folds in seen.values() for fold in folds}
    if len(n_folds) != 1 or any(len(folds) != min(n_folds) for folds in seen.values()):
        raise UserError(f"{folder} holds no whole cross-validation; finished folds by seed: {dict(seen)}")
    if len(classes) > 1:
        raise UserError(f"the folds in {', '.join(map(str, classes.values()))} have different classes")
    return Folds(list(next(iter(classes))), tables, configs, min(n_folds), len(seen))


def calibrate(run: TrainedRun, folds: Folds, names: Iterable[str]) -> TrainedRun:
    """Writes into a run's checkpoint what the folds of its recipe say: temperature, and scores for conformal sets.

    The networks of the folds learned from a part of the sources, so they are a little less sure and less right than the
    run: what holds for them holds for the run but for that.

    Args:
        run: whose recipe the folds are of.
        folds: as :func:`read_folds` gives them.
        names: of the sources that the run learned from; all others, such as those of its test, are left out.

    Returns:
        The run with them.

    Raises:
        UserError: if the folds tell other classes apart, prepare images in another way, or hold none of these sources.
    """
    if tuple(folds.classes) != tuple(run.classes):
        raise UserError(
            f"{run.path} tells {', '.join(run.classes)} apart, and the folds {', '.join(folds.classes)}: give the "
            "folds of its own recipe"
        )
    plain = {"mean": 0.0, "std": 1.0}  # those of a fold are of its own sources
    ours = replace(run.preparation, **plain)
    for config in folds.configs:
        if (theirs := replace(preparation_of(config, (0.0, 1.0)), **plain)) != ours:
            raise UserError(f"the images of {run.path} are prepared as {ours}, and those of the folds as {theirs}")
    kept, seed = sorted(set(names)), min(config.training.seed for config in folds.configs)
    logits, labels = [], []
    for of_fold, table, config in zip(folds.logits, folds.tables, folds.configs, strict=True):
        if config.training.seed == seed:  # of another seed it would be the same sources, as if there were more
            rows = np.isin(np.asarray(table["name"], dtype=str), kept)
            logits.append(of_fold[rows])
            labels.append(np.asarray(table["label"])[rows])
    n_sources = sum(map(len, labels))
    if not n_sources:
        raise UserError(f"the folds hold none of the sources that {run.path} learned from")
    of_seed = f" of seed {seed}" if folds.n_seeds > 1 else ""
    on = f"{counted(n_sources, 'source')}, each by a network of {folds.n_folds} folds{of_seed} that had not seen it"
    return store(run, np.concatenate(logits), np.concatenate(labels), on)
