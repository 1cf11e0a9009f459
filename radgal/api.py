"""What a script or a notebook calls, and what the commands call: train, open a run, predict, evaluate.

Every function here is also a name of the package: ``radgal.train`` and so on.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from radgal.classifier import Classifier
from radgal.config.config import Config, load_config, override_texts
from radgal.data.datasets import class_counts
from radgal.evaluation import results
from radgal.evaluation.priors import shares_of
from radgal.prediction import job as predict_job
from radgal.prediction.catalog import join_parts
from radgal.prediction.chunk import open_settings
from radgal.pretrained.registry import name_of
from radgal.progress import sayer, working
from radgal.runs import epochs
from radgal.runs.checkpoint import TrainedRun, find, load_run, read
from radgal.runs.folder import RunFolder
from radgal.training import team as processes
from radgal.training.signals import leaving_on_sigterm
from radgal.trainingrun import TrainingRun
from utils import UserError, counted, float32_in_full, pick_device

if TYPE_CHECKING:
    from astropy.table import Table

ConfigLike = str | os.PathLike | Mapping[str, Any] | Config


@contextmanager
def learning() -> Iterator[None]:
    """Inside, gradients are computed, whatever a notebook has left switched off."""
    import torch

    with torch.inference_mode(False), torch.enable_grad():
        yield


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedClassifier(TrainedRun):
    """The network of a run folder or checkpoint, ready to classify images; see :func:`open_run`.

    ``logits``, ``probabilities`` and ``dropout_samples`` take images as tensors, see
    :class:`radgal.classifier.Classifier`.
    """

    def predict(self, images: Any, out: str | os.PathLike | None = None, **choices: Any) -> Table:
        """Returns the catalog of new images; see :func:`predict`."""
        return predict(self, images, out, **choices)

    def evaluate(self, out: str | os.PathLike | None = None, **choices: Any) -> dict:
        """Returns the scores on the test set; see :func:`evaluate`."""
        return evaluate(self, out, **choices)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.config.name}, epoch {self.epoch}, of {', '.join(self.classes)}>"


@dataclass(frozen=True, eq=False)
class Run:
    """What :func:`train` returns; after ``%run main.py ...`` a notebook has it as ``run``.

    Args:
        config: as it was used, every default filled in.
        classifier: the kept network; after a dry run, the untrained one.
        history: a row per epoch, as in history.csv.
        metrics: of the test set, as in metrics.json; None if it was not tested.
        folder: where everything was written.
    """

    config: Config
    classifier: Classifier
    history: list[dict]
    metrics: dict | None
    folder: Path

    @property
    def model(self):
        """The kept network, in evaluation mode."""
        return self.classifier.model

    def __repr__(self) -> str:
        tested = "not tested"
        if self.metrics is not None:
            tested = f"test error {100 * self.metrics['upright']['error']['value']:.2f} %"
        return f"<Run {self.config.name}: {counted(len(self.history), 'epoch')}, {tested}, in {self.folder}>"


def read_config(config: ConfigLike, overrides: Iterable[str] = ()) -> Config:
    """Returns the checked config; where it leaves the seed open (None) one is drawn, and recorded with the run.

    Args:
        config: an INI file, a dict of sections ({"model": {...}, ...}), or a Config.
        overrides: texts such as ``training.epochs=5``, which take the place of what it says; the last wins.

    Raises:
        UserError: with all mistakes, a line each.
    """
    known = dict(models=models.needs_nrot(), datasets=class_counts())
    overrides = _texts(overrides)
    cfg = load_config(config, overrides, **known)
    if cfg.training.seed is None:
        cfg = load_config(config, [*overrides, f"training.seed={secrets.randbelow(2**31)}"], **known)
    return cfg


def _texts(overrides: Iterable[str]) -> list[str]:
    """Returns overrides as a list, since they are read more than once.

    Raises:
        UserError: if they are one text: each letter of it would be an override.
    """
    if isinstance(overrides, str):
        raise UserError(f"overrides must be a list, such as [{overrides!r}], not one text")
    return list(overrides)


def train(
    config: ConfigLike,
    *,
    overrides: Iterable[str] = (),
    resume: bool = False,
    force: bool = False,
    test: bool = True,
    dry_run: bool = False,
    **keys: Any,
) -> Run:
    """Trains the network of a config, keeps the epoch that the config says, and tests that once.

    Everything is written to the config's output folder, as by ``python main.py --config FILE``. Train one network at a
    time in a process: its threads share their random numbers.

    Args:
        config: an INI file, a dict of sections, or a Config.
        overrides: texts such as ``training.epochs=5``, as ``--set`` takes them.
        resume: whether to go on with the run that is in the output folder.
        force: with ``resume``, whether to go on even though the config has changed.
        test: whether to test the kept epoch at the end.
        dry_run: whether to check everything and build the network only.
        keys: keys of the config that take the place of what it says, by their names, such as ``epochs=2``.

    Raises:
        UserError: if the config has mistakes, the data cannot be had, or the folder cannot be used.
        Interrupted: on SIGTERM or SIGINT, after the batch, with everything on disk.

    Example:
        >>> import radgal
        >>> small = dict(epochs=2, imsize=36, outputdir="runs/small", quiet=True)
        >>> run = radgal.train("configs/config_first_lenet.txt", **small)
        last epoch 2 of 2, validation error ... written to runs/small; next: open runs/small/report.html ...
        >>> len(run.history), run.metrics["n_test"], run.classifier.classes
        (2, 100, ('FRI', 'FRII'))
    """
    with ExitStack() as held, working("training"), float32_in_full(), learning(), leaving_on_sigterm():
        with processes.join() as team:
            cfg = team.from_first(lambda: read_config(config, [*_texts(overrides), *override_texts(keys)]))
            if cfg.model.quiet or not team.is_first:
                held.enter_context(working("", quiet=True))
            training = TrainingRun(cfg, team, RunFolder(cfg), test and not dry_run)
            done = training.prepare(held, resume=resume, dry_run=dry_run)
            try:
                if done is None:
                    training.fit(force=force)
            except epochs.Interrupted as interrupted:
                interrupted.is_told = team.is_first  # the others say nothing
                raise
        outcome = done or training.finish()
    return Run(cfg, _ready_to_use(outcome.classifier), outcome.history, outcome.metrics, training.folder.path)


def fine_tune(
    run: str | os.PathLike | Run | TrainedRun,
    config: ConfigLike,
    *,
    freeze_epochs: int = 0,
    overrides: Iterable[str] = (),
    **choices: Any,
) -> Run:
    """Trains a config from the weights of a trained run, with that run's normalization unless the config has another.

    Args:
        run: run folder or checkpoint to start from, name of a network that comes along, or what :func:`train` or
            :func:`open_run` returned; its [model] must be the config's.
        config: what to train on.
        freeze_epochs: how many epochs train the last layer only.
        overrides, choices: as for :func:`train`.

    Raises:
        UserError: as :func:`train`, and if the run cannot be used or has another network.
    """
    keys = {key: value for key, value in choices.items() if key not in ("resume", "force", "test", "dry_run")}
    overrides, run = _texts(overrides), _place_of(run)
    given, start = read_config(config, [*overrides, *override_texts(keys)]), read(find(run))
    own: dict[str, Any] = {"start_from": os.fspath(run), "freeze_epochs": freeze_epochs}
    for key, value in (("datamean", start["mean"]), ("datastd", start["std"])):
        if getattr(given.data, key) is None:
            own[key] = float(value)
    return train(config, overrides=overrides, **choices, **own)


def _place_of(run: str | os.PathLike | Run | TrainedRun) -> str | os.PathLike:
    """Returns what names a trained run in a config: its path or, of a network that comes along, its name."""
    if not isinstance(run, (Run, TrainedRun)):
        return run
    path = _trained(run).path
    return name_of(path) or path


@working("reading the network")
@float32_in_full()
def open_run(
    run: str | os.PathLike,
    *,
    device: str = "auto",
    datadir: str | os.PathLike | None = None,
    download: bool = False,
) -> TrainedClassifier:
    """Returns a trained network, ready to use.

    Args:
        run: output folder of a training run (its kept epoch is taken), a checkpoint in it, or the name of a network
            that comes along, such as 'fr-d4'. What lies here under that name goes before it.
        device: 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'.
        datadir: where its data set lies now, if it has moved.
        download: whether its data set may be fetched if it is not there, from the published addresses; what the run
            itself was told does not count, and unless ``datadir`` or this is given nothing is written there.

    Raises:
        UserError: if it cannot be read, or the device is not there.

    Example:
        >>> import radgal
        >>> radgal.open_run("runs/config_first_lenet")
        <TrainedClassifier config_first_lenet, epoch ..., of FRI, FRII>
    """
    opened = load_run(find(run), pick_device(str(device)))
    return _ready_to_use(replace(opened, config=results.for_reading(opened.config, datadir, download)))


def _ready_to_use(opened: Classifier) -> Classifier:
    """Returns what was read from a checkpoint with the methods of TrainedClassifier; another classifier as it is."""
    if not isinstance(opened, TrainedRun):
        return opened
    return TrainedClassifier(**{one.name: getattr(opened, one.name) for one in fields(opened)})


def _trained(one: Any) -> TrainedRun:
    """Returns the classifier of what ``train`` or ``open_run`` returned.

    Raises:
        UserError: if it is anything else, or was not trained.
    """
    found = one.classifier if isinstance(one, Run) else one
    if not isinstance(found, TrainedRun):
        why = "nothing was trained in it" if isinstance(one, Run) else f"it is a {type(one).__name__}"
        raise UserError(f"this is no trained network, since {why}; give what radgal.open_run(FOLDER) returns")
    return found


@float32_in_full()
def predict(
    classifier: Run | TrainedRun | Sequence[Run | TrainedRun],
    images: Any,
    out: str | os.PathLike | None = None,
    *,
    mosaic: str | os.PathLike | None = None,
    **choices: Any,
) -> Table:
    """Returns the catalog of new images, a row each, as an astropy Table; docs/predict.md has its columns.

    The networks are read from their checkpoints again: what was changed in memory has no part in it.

    Args:
        classifier: from :func:`open_run` or :func:`train`; of several, the probabilities are averaged.
        images: path, folder or pattern of images, or a list of them; with ``mosaic``, the table of positions.
        out: file to write the catalog to, whose suffix says the format, with a page to look at beside it; None: none
            is written.
        mosaic: FITS image to cut the positions out of.
        choices: ``rotations``, ``mc_samples``, ``overlap``, ``seed``, ``rescale``, ``hdu``, ``sets``, ``batch_size``,
            ``threads``, ``page`` (False: no page), as the options of the command; ``priors``, shares by class.

    Raises:
        UserError: if there are no images, a network cannot be used, or the catalog cannot be written.

    Example:
        >>> import radgal
        >>> classifier = radgal.open_run("runs/config_first_lenet")
        >>> catalog = classifier.predict("my_cutouts/", out="catalog.csv")
        >>> catalog.colnames[:6]
        ['id', 'path', 'ra_deg', 'dec_deg', 'pred_name', 'prob_FRI']
        >>> certain = catalog[catalog["predictive_entropy"] < 0.1]
    """
    is_list = isinstance(classifier, Iterable) and not isinstance(classifier, str)
    several = [_trained(one) for one in (classifier if is_list else [classifier])]
    if not several:
        raise UserError("there is no classifier to predict with")
    mosaic = None if mosaic is None else os.path.expanduser(mosaic)
    choices = {"page": out is not None} | choices | {"mosaic": mosaic, "device": str(several[0].device)}
    quiet = several[0].quiet
    with working("predicting", quiet), tempfile.TemporaryDirectory() as scratch:
        settings = open_settings([str(one.path) for one in several], **choices)
        file = Path(scratch, "catalog.csv") if out is None else Path(out).expanduser()
        sources = predict_job.list_sources(images, mosaic, file, say=sayer(quiet))
        planned, parts = predict_job.plan(settings, sources, file), []
        predict_job.run_job(planned, say=sayer(quiet), quiet=quiet, collect=parts)
    return join_parts(planned.columns, parts)


@float32_in_full()
def evaluate(
    classifier: Run | TrainedRun,
    out: str | os.PathLike | None = None,
    *,
    rotations: int = 20,
    mc_samples: int = 100,
    seed: int = 0,
    priors: Mapping[str, float] | None = None,
) -> dict:
    """Returns what the test set says of a trained run: the content of metrics.json, see docs/evaluation.md.

    Args:
        classifier: from :func:`open_run` or :func:`train`.
        out: folder to write metrics.json, the table of sources and the figures to; None: nothing is written.
        rotations: random rotations to average over.
        mc_samples: dropout passes per image.
        seed: of rotations, dropout and resampling.
        priors: shares of the classes in a survey, such as ``{"FRI": 0.7, "FRII": 0.3}``, that purity is corrected for;
            None: it is that of the test sources.

    Raises:
        UserError: if the data are not those of the run, there are no test sources, or ``priors`` are no shares.

    Example:
        >>> import radgal
        >>> scores = radgal.evaluate(radgal.open_run("runs/config_first_lenet"), rotations=2)
        >>> scores["n_test"], sorted(scores["upright"]["accuracy"])
        (100, ['high', 'interval', 'low', 'standard_error', 'value'])
    """
    classifier = _trained(classifier)
    if not 0 <= seed < 2**32:
        raise UserError(f"seed = {seed}: must be at least 0 and below {2**32}")
    say = sayer(classifier.quiet or out is None)
    options: dict[str, Any] = dict(rotations=index(rotations), mc_samples=index(mc_samples), seed=index(seed))
    if priors is not None:
        options["priors"] = shares_of(priors, classifier.classes)
    with working("evaluating", classifier.quiet):
        return results.test_run(classifier, None if out is None else Path(out).expanduser(), say=say, **options)
