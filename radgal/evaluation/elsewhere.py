"""Tests beside a run's own: of several runs as an ensemble, and on another data set, without what they learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radgal.data.othertest import OtherTest, load_other_test
from radgal.data.samesource import Sources
from radgal.data.splits import Split, load_training_data
from radgal.evaluation.ensemble import Ensemble
from radgal.evaluation.evaluate import ask_classes, evaluate_test
from radgal.evaluation.questions.listed import ask_all, describe_questions
from radgal.evaluation.results import about_catalogs, describe, load_test, save_answers, save_test
from radgal.runs.checkpoint import TrainedRun
from radgal.runs.earlier import new_results
from radgal.runs.files import files_of
from radgal.runs.learned import inherited_by
from utils import UserError, counted


def test_elsewhere(
    runs: Sequence[TrainedRun],
    folder: Path | None,
    *,
    dataset: str | None = None,
    priors: Sequence[float] | None = None,
    say: Callable[..., None] = print,
    **choices: Any,
) -> dict:
    """Tests runs, averaged if they are several, on their own test set or on another data set.

    No temperature is fitted. Of a data set with other classes than the networks', hybrid sources for instance, there
    are no scores: only what the networks call its sources, and how sure they are.

    Args:
        runs: at least one.
        folder: where to write what :func:`radgal.evaluation.results.test_run` writes; None: nothing is written.
        dataset: as in :func:`radgal.data.othertest.load_other_test`; None: the runs' own test set.
        priors: shares of the classes in a survey, as in :func:`radgal.evaluation.results.test_run`.
        say: prints.
        choices: rotations, mc_samples, seed, as in :func:`radgal.evaluation.evaluate.evaluate_test`.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: if the runs do not go together, or the data cannot be had.
    """
    classifier = runs[0] if len(runs) == 1 else Ensemble(runs)
    first, about = runs[0], about_runs(runs)
    if dataset is None:
        test, about = load_common_test(runs), about | _own_data(first)
    else:
        other = load_other_test(first.config, dataset, sum(map(learned_sources, runs), Sources()))
        about |= {"trained_on": _own_data(first), "dataset": other.name, "version": other.version}
        about |= {"checksum": other.checksum, "left_out": list(other.left_out)}
        say(
            f"{counted(len(other.left_out), 'source', 'are')} left out of "
            f"{len(other.left_out) + len(other.split)} of {other.name}: trained or validated on"
        )
        test = other.in_classes(tuple(first.classes))
        if test is None:
            return _test_unscored(classifier, other, about, folder, say, choices)
    metrics, table = evaluate_test(classifier, test, None, **choices)
    metrics = about | metrics | about_catalogs(first, priors)
    if len(runs) > 1:  # what is calibrated is each network alone
        metrics |= {"run_temperature": None}
        metrics.pop("calibration", None)
    metrics["questions"] = ask_all(metrics, table)
    if folder is not None:
        save_test(metrics, table, test, folder, say)
    say(describe(metrics))
    return metrics


def about_runs(runs: Sequence[TrainedRun]) -> dict[str, Any]:
    """Returns which networks are tested."""
    first = runs[0]
    if len(runs) == 1:
        return {"run": first.config.name, "epoch": first.epoch, "training_seed": first.seed}
    return {"run": f"{first.config.name} and {len(runs) - 1} more", "members": [str(run.path) for run in runs]}


def _own_data(run: TrainedRun) -> dict[str, Any]:
    return {key: run.checkpoint.get(key) for key in ("dataset", "version", "checksum")}


def learned_sources(run: TrainedRun) -> Sources:
    """Returns the sources that a run was trained and validated on, its own and those its first weights came from.

    Older checkpoints do not list their own: those are of its data.
    """
    listed = run.checkpoint.get("sources")
    own = Sources() if listed is None else Sources.unpack(listed)
    if not len(own):
        own = load_training_data(run.config, run.keeps_together).sources
    return own + inherited_by(run.checkpoint)[0]


def load_common_test(runs: Sequence[TrainedRun]) -> Split:
    """Returns the test images of runs on one data set.

    Raises:
        UserError: if they were trained on different data, or one learned from a test source of the first.
    """
    first, *others = runs
    test = load_test(first)[0]
    for other in others:
        if _own_data(other) != _own_data(first):
            data = ", ".join(str(_own_data(run)["version"]) for run in (first, other))
            raise UserError(
                f"{first.path} and {other.path} were trained on different data ({data}), so they have no common test "
                "set; name one with --dataset"
            )
        if known := set(test.names) & set(learned_sources(other).names):
            raise UserError(
                f"{other.path} learned from {len(known)} of the test sources of {first.path}, such as {min(known)}: "
                "folds of a cross-validation cannot be averaged over their tests"
            )
    return test


def _test_unscored(
    classifier: Any, other: OtherTest, about: dict, folder: Path | None, say: Callable[..., None], choices: dict
) -> dict:
    """Writes and returns what networks say of sources of classes that they do not know."""
    found, table = ask_classes(classifier, other.split, mc_samples=choices["mc_samples"], seed=choices["seed"])
    table["label_name"] = np.asarray(other.classes)[other.split.labels.cpu().numpy()]
    metrics = about | found | {"classes_of_dataset": list(other.classes)}
    metrics["questions"] = ask_all(metrics, table)
    if folder is not None:
        with new_results(folder, files_of("evaluate"), say=say) as new:
            save_answers(metrics, table, new)
    say(describe_unscored(metrics))
    return metrics


def describe_unscored(metrics: dict) -> str:
    """Returns what networks say of sources of other classes as a few lines of text."""
    called = ", ".join(f"{n} {name}" for name, n in metrics["called"].items())
    lines = (
        f"{counted(metrics['n_test'], 'source')} of {metrics['dataset']} {metrics['version']}, of the classes "
        f"{', '.join(metrics['classes_of_dataset'])}, which the network does not know: no scores\n"
        f"  called {called}\n"
        f"  mean predictive entropy {metrics['mean_predictive_entropy']:.3f} nats, at most "
        f"{np.log(len(metrics['classes'])):.3f}; mean probability of the class {metrics['mean_confidence']:.3f}"
    )
    return "\n".join([lines, *describe_questions(metrics)])
