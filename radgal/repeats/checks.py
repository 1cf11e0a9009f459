"""What keeps runs from sharing a table, said before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from radgal.config.config import Config
from radgal.data.datasets import PUBLISHED
from radgal.data.splits import load_test_data, load_training_data
from radgal.evaluation.results import test_run
from radgal.repeats.collect import tested_with
from radgal.repeats.plan import Task
from utils import UserError


def check_tasks(tasks: Sequence[Task], configs: Sequence[Config]) -> None:
    """Raises a UserError if the runs cannot share a table.

    Args:
        tasks: as :func:`radgal.repeats.plan.list_tasks` gives them.
        configs: of the tasks, read and checked.
    """
    _check_finished(tasks, configs)
    sized = [config for config in configs if config.data.train_size is not None]
    if sized:  # the largest number is refused here if there are not so many
        load_training_data(max(sized, key=lambda config: config.data.train_size))
    different: dict[tuple, tuple[Task, Config]] = {}
    for task, config in zip(tasks, configs, strict=True):
        if (task.seed, task.fold) == (tasks[0].seed, tasks[0].fold):  # what is so for one is so for all
            different.setdefault(_what_chooses_sources(task, config), (task, config))
    (first, config), *others = different.values()
    if not others and not _may_lack_sources(first, config):
        return  # they agree, and nothing need be read to know it
    expected = _sources(first, config)
    for task, config in others:
        if _sources(task, config) != expected:
            what = "tested" if task.is_tested else "validated"
            raise UserError(
                f"{task.recipe.name} would be {what} on other sources or classes than {first.recipe.name}, so they "
                "cannot share a table; repeat them one by one, each with an --out of its own"
            )


def _check_finished(tasks: Sequence[Task], configs: Sequence[Config]) -> None:
    """Raises a UserError if a finished run is of another config, or was tested otherwise than the others will be."""
    results = [task.result(config) for task, config in zip(tasks, configs, strict=True)]
    usual = {key: test_run.__kwdefaults__[key] for key in ("rotations", "mc_samples", "seed")}
    options = [usual if result is None else tested_with(result[0]) for result in results]
    if not tasks[0].is_tested:
        return
    for task, own in zip(tasks, options, strict=True):
        if own != options[0]:
            raise UserError(
                f"{task} is tested with {own}, {tasks[0]} with {options[0]}: run evaluate on one of them again, with "
                "equal options"
            )


def _what_chooses_sources(task: Task, config: Config) -> tuple:
    """Returns what decides on the sources that a run is tested or validated on: if equal, they are."""
    data, training = config.data, config.training
    if task.is_tested:
        return data.dataset, data.table, data.fold, data.train_on
    return data.dataset, data.table, data.fold, data.val_fold, data.split, training.frac_val, tuple(data.leave_out)


def _may_lack_sources(task: Task, config: Config) -> bool:
    """Returns whether only the data can say if there is anything to test or to validate on."""
    is_own, is_fold = config.data.dataset not in PUBLISHED, config.data.fold is not None
    if task.is_tested:
        return (is_own and not is_fold) or config.data.train_on != "train"
    return config.training.frac_val == 0 and config.data.val_fold is None


def _sources(task: Task, config: Config) -> tuple[tuple[str, ...], dict[str, int]]:
    """Returns the classes, and the label of each source that a run would be tested or validated on.

    Raises:
        UserError: if there are none.
    """
    training = load_training_data(config)
    if task.is_tested and not training.has_test:
        raise UserError(
            f"{task}: repeat compares test results, but there are no test sources: write test into the column split of "
            "[data] table, or cross-validate with --folds 5"
        )
    part = load_test_data(config) if task.is_tested else training.val
    if part is None:
        raise UserError(
            f"{task}: there are no validation sources to compare by ([training] frac_val is 0): give --folds 5 to hold "
            "out a fifth at a time, or --test to compare by the test set"
        )
    return tuple(training.classes), dict(zip(part.names, part.labels.tolist(), strict=True))
