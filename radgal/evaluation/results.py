"""The end of a run: its test set evaluated from the checkpoint, and what comes of it written down."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from radgal.config.config import Config
from radgal.data.leakage import describe_leak, forbid_overlap, trained_on
from radgal.data.samesource import Sources
from radgal.data.splits import Split, TrainingData, load_test_data, load_training_data
from radgal.evaluation.conformal import limits_of
from radgal.evaluation.evaluate import evaluate_test
from radgal.evaluation.gallery import save_gallery
from radgal.evaluation.intervals import proportion
from radgal.evaluation.metrics import ECE, ROC_AREA, SCORES, readings
from radgal.evaluation.priors import training_shares
from radgal.evaluation.questions.listed import ask_all, describe_questions, save_questions
from radgal.evaluation.scorer import roc_curves
from radgal.figures.plots import save_confusion, save_reliability, save_roc
from radgal.figures.style import spared, title_of, titled
from radgal.files.archives import is_address
from radgal.files.tables import column_name, write_table
from radgal.progress import working
from radgal.runs import finished
from radgal.runs.checkpoint import TrainedRun, read
from radgal.runs.earlier import new_results
from radgal.runs.files import RunFile, files_of
from radgal.runs.learned import learned_from
from utils import UserError, counted, nearest, write_json


def test_run(
    run: TrainedRun,
    folder: Path | None,
    *,
    rotations: int = 20,
    mc_samples: int = 100,
    seed: int = 0,
    priors: Sequence[float] | None = None,
    say: Callable[..., None] = print,
    training: TrainingData | None = None,
) -> dict:
    """Evaluates the test set once and writes metrics.json, its figures, sources.csv, .ecsv and .fits, and gallery.npz.

    The test images are those of the data-set version that the run was trained on; another one is refused.

    Args:
        run: the network.
        folder: where to write; None: nothing is written.
        rotations, mc_samples, seed: as in :func:`radgal.evaluation.evaluate.evaluate_test`.
        priors: shares of the classes in a survey that purity is to be corrected for; None: it is the test's own.
        say: prints.
        training: the images that the run was trained and validated on, if they are at hand; or else they are read.

    Returns:
        The content of metrics.json, see :func:`radgal.evaluation.evaluate.evaluate_test`.
    """
    test, val = load_test(run, training)
    metrics, table = evaluate_test(run, test, val, rotations=rotations, mc_samples=mc_samples, seed=seed)
    origin = {key: run.checkpoint.get(key) for key in ("dataset", "version", "checksum")}
    leak = {"test_sources_trained_on": _trained_on(run, test)}
    metrics = {"run": run.config.name, "epoch": run.epoch, "training_seed": run.seed, **origin, **leak, **metrics}
    if metrics["temperature"]:
        metrics["temperature"]["chose_epoch"] = not run.config.keeps_last
    metrics |= about_catalogs(run, priors)
    with working("answering the questions"):
        metrics["questions"] = ask_all(metrics, table)
    if folder is not None:
        save_test(metrics, table, test, folder, say)
    say(describe(metrics))
    if warning := describe_leak(metrics["test_sources_trained_on"]):
        print(warning)
    return metrics


def about_catalogs(run: TrainedRun, priors: Sequence[float] | None) -> dict[str, Any]:
    """Returns what the questions have to know of a run beside its test: temperature, calibration, priors."""
    found: dict[str, Any] = {"run_temperature": run.temperature}
    if run.calibration is not None:
        found["calibration"] = limits_of(run.calibration)
    if priors is not None:
        shares = {"survey": priors, "training": training_shares(run)}
        found["priors"] = {key: dict(zip(run.classes, map(float, of), strict=True)) for key, of in shares.items()}
    return found


def _trained_on(run: TrainedRun, test: Split) -> dict[str, Any]:
    """Returns how many test sources the network learned from, and what cannot be found out about that."""
    learned, unknown = learned_from(run.checkpoint)
    return trained_on(test.sources or Sources(), learned) | ({"unknown": unknown} if unknown else {})


def save_test(metrics: dict, table: Any, test: Split, folder: Path, say: Callable[..., None] = print) -> None:
    """Writes all that :func:`test_run` writes, see there; ``say`` tells where earlier results are kept."""
    with new_results(folder, files_of("evaluate"), say=say) as new:
        save_answers(metrics, table, new)
        confidence = np.max([table[column_name("prob", name)] for name in metrics["classes"]], axis=0)
        save_gallery(new, table, confidence, test.images[:, 0].cpu().numpy())
        with working("drawing the figures"), spared(print):
            save_evaluation_figures(metrics, table, new)


def save_answers(metrics: dict, table: Any, folder: Path) -> None:
    """Writes metrics.json, what it says of the questions, and the table of sources in three formats."""
    write_json(RunFile.METRICS.at(folder), metrics)
    save_questions(metrics, folder)
    for file in (RunFile.SOURCES_CSV, RunFile.SOURCES_ECSV, RunFile.SOURCES_FITS):
        write_table(table, file.at(folder))


def save_evaluation_figures(metrics: dict, table: Any, folder: Path) -> None:
    """Writes confusion.png, roc.png and reliability.png of an evaluated test set."""
    with titled(title_of(metrics)):
        _save_evaluation_figures(metrics, table, folder)


def _save_evaluation_figures(metrics: dict, table: Any, folder: Path) -> None:
    upright, classes = metrics["upright"], metrics["classes"]
    save_confusion(upright["confusion"], classes, RunFile.CONFUSION.at(folder))
    probs = np.stack([np.asarray(table[column_name("prob", name)]) for name in classes], axis=1)
    area = f"{ROC_AREA.name} {ROC_AREA.text(upright['roc_auc'])}"
    curves = roc_curves(np.asarray(table["label"]), probs)
    save_roc(RunFile.ROC.at(folder), area, {f"{classes[k]} as positive": curve for k, curve in curves.items()})
    error = f"{ECE.name} {ECE.text(upright['ece'])}"
    bins = upright["reliability"]
    intervals = [proportion(one["accuracy"] * one["n"], one["n"]) for one in bins]
    save_reliability(RunFile.RELIABILITY.at(folder), error, bins, [(one["low"], one["high"]) for one in intervals])


def load_test(run: TrainedRun, training: TrainingData | None = None) -> tuple[Split, Split | None]:
    """Returns the (test, validation) images of a run.

    Raises:
        UserError: if the data set found now is not the one that the run was trained on, has other classes, or a
            test source was trained on.
    """
    with working("reading the data"):
        training = training or load_training_data(run.config, run.keeps_together)
        check_data(run, training)
        test = load_test_data(run.config, training.together)
    forbid_overlap(test, training.own_train(), "training")
    return test, training.val


def check_data(run: TrainedRun, training: TrainingData) -> None:
    """Raises a UserError if the data found now are not those that the run was trained on, or have other classes."""
    trained_on = run.checkpoint.get("checksum")
    if training.checksum != trained_on:
        raise UserError(
            f"the run was trained on {run.checkpoint.get('dataset')} {run.checkpoint.get('version')} ({trained_on}), "
            f"but [data] datadir now gives {training.version} ({training.checksum}): the test sets differ"
        )
    if tuple(training.classes) != tuple(run.classes):
        raise UserError(
            f"the network of {run.folder} tells {', '.join(run.classes)} apart, but {training.dataset} has the classes "
            f"{', '.join(training.classes)}; use a checkpoint of a run on these classes"
        )


def relocated(config: Config, datadir: str | os.PathLike | None) -> Config:
    """Returns the config with another data folder, for a run whose data have moved."""
    if datadir is None:
        return config
    content = config.to_dict()
    content["data"] |= {"datadir": os.fspath(datadir)}
    return Config.from_dict(content)


def for_reading(config: Config, datadir: str | os.PathLike | None, download: bool) -> Config:
    """Returns the config of a checkpoint, which may be a stranger's, with the user's word for where data come from.

    It says where data are looked for, but not what is fetched, from which address, and where it is written.
    """
    config = relocated(config, datadir)
    mirror = None if is_address(config.data.mirror) else config.data.mirror
    data = config.data.model_copy(update={"download": download, "mirror": mirror})
    return replace(config, data=data, reads_only=datadir is None and not download)


def describe(metrics: dict) -> str:
    """Returns the main results of a test set as a few lines of text."""
    rotated, temperature = metrics["rotated"], metrics["temperature"]
    shown = [one for one in readings(lambda of: of.on_console) if metrics.get(one.condition)]
    rows = [(one.name(one.score.name), one.score.text(one.entry(metrics))) for one in shown]
    sd = rotated["accuracy"]["sd"]
    spread = "" if sd is None else f", which spread by {100 * sd:.2f} %"
    missed = ", ".join(f"{one['mean']:.2f} of {one['n_sources']} {k}" for k, one in rotated["missed_per_class"].items())
    width = max(len(name) for name, _ in rows)
    lines = [
        f"test set: {counted(metrics['n_test'], 'source')} of {metrics['dataset']} {metrics['version']}, "
        "95 % intervals",
        *(f"  {name:{width}}  {text}" for name, text in rows),
        f"  rotated: over {rotated['n_rotations']} random rotations{spread}; missed on average {missed}",
    ]
    if averaged := metrics.get("averaged"):
        lines.append(f"  averaged over poses: the class of the mean probability over {describe_poses(averaged)}")
    if temperature:
        on = f"{temperature['n_validation']} validation sources"
        on += ", which chose the kept epoch" if temperature.get("chose_epoch") else ""
        lines.append(f"  with temperature {temperature['temperature']:.3f}, of {on}")
        scaled = [score for score in SCORES if score.has_temperature and score.on_console]
        lines += [f"    {score.name:{width - 2}}  {score.text(temperature['scaled'][score.key])}" for score in scaled]
    doubt = doubt_of_area(metrics)
    return "\n".join(lines + ([doubt] if doubt else []) + describe_questions(metrics))


def doubt_of_area(metrics: Mapping[str, Any]) -> str | None:
    """Returns in a sentence what a ROC area under one half may mean; None where it is not."""
    area = metrics["upright"].get("roc_auc") or {}
    value, high = area.get("value"), area.get("high")
    if value is None or value >= 0.5:
        return None
    chance = "" if high is not None and high < 0.5 else " (as chance alone may do: its interval reaches 0.5)"
    return (
        f"The ROC area is under 0.5{chance}: the network tells these classes apart the wrong way round, as where their "
        "names are exchanged, or the images are of another survey, resolution or pixel scale than it was trained on."
    )


def describe_poses(averaged: Mapping[str, Any]) -> str:
    """Returns what the probabilities of a test were averaged over, in words."""
    mirrored = ", each also mirrored" if averaged["reflections"] else ""
    return f"{averaged['n_rotations']} rotations{mirrored}"


def choose_sources(
    test: Split, *, index: Sequence[int] | None = None, names: Sequence[str] | None = None, limit: int | None = None
) -> Split:
    """Returns the test sources asked for, by row or by name, each once; all if nothing is asked.

    Args:
        test: all test sources.
        index: rows.
        names: of sources.
        limit: how many at most: the first of each class in turn, so that none is left out of a file sorted by class.

    Raises:
        UserError: for a row or a name that the test set does not have.
    """
    rows = list(range(len(test)))
    if index is not None:
        if wrong := [i for i in index if not -len(test) <= i < len(test)]:
            raise UserError(f"--index {wrong[0]}: the test set has rows 0 to {len(test) - 1}")
        rows = [i % len(test) for i in index]
    if names is not None:
        place = {name: i for i, name in enumerate(test.names)}
        for name in names:
            if name not in place:
                like = nearest(name, place)
                raise UserError(
                    f"--source {name}: no test source has this name" + (f"; nearest: {like}" if like else "")
                )
        rows = [place[name] for name in names]
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}: at least one source is needed")
    rows = list(dict.fromkeys(rows))
    if limit is not None:
        labels, seen, turn = test.labels.tolist(), Counter(), {}
        for i in rows:
            turn[i] = (seen[labels[i]], labels[i])
            seen[labels[i]] += 1
        chosen = set(sorted(rows, key=turn.get)[:limit])
        rows = [i for i in rows if i in chosen]
    return test.take(rows)


def finished_test(folder: Path, config: Config):
    """Returns (metrics, per-source table) of a finished run of this very config, None if there is none yet.

    Raises:
        UserError: if the folder holds a finished run of another config: it is neither used nor overwritten.
    """
    from astropy.table import Table

    ended = finished.find(folder)
    if ended is None or not ended.tested:
        return None
    try:
        metrics = json.loads(RunFile.METRICS.at(folder).read_text(encoding="utf-8"))
        table = Table.read(RunFile.SOURCES_ECSV.at(folder), format="ascii.ecsv")
    except (OSError, ValueError, RecursionError):
        return None
    check_config(folder, config)
    return metrics, table


def check_config(folder: Path, config: Config) -> None:
    """Raises a UserError if the finished run in a folder is of another config: it is neither used nor overwritten."""
    if Config.from_dict(read(RunFile.BEST.at(folder))["config"]) != config:
        raise UserError(
            f"{folder} holds a finished run of another configuration (see its config.txt); give another --out"
        )
