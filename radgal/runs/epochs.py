"""A training run with its files: optimizer, resume, the epochs, a row and a checkpoint as each one ends."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

import torch
from torch import nn

from radgal.config.config import Config
from radgal.data.splits import TrainingData
from radgal.layers.modelinfo import count_parameters
from radgal.progress import Work, bar, working
from radgal.runs import checkpoint, tensorboard
from radgal.runs.files import RunFile
from radgal.runs.finetune import freeze_trunk
from radgal.runs.folder import RunFolder
from radgal.runs.resume import Start, begin, restore
from radgal.training.learner import Learner, make_learner
from radgal.training.loop import Part, Progress, Setup, Stopped, fit
from radgal.training.precision import Precision, choose_precision, compile_for_training
from radgal.training.signals import StopSignals
from radgal.training.team import Team
from utils import UserError, counted, format_duration


def run_epochs(
    model: nn.Module,
    data: TrainingData,
    config: Config,
    folder: RunFolder,
    start: Start,
    *,
    say: Callable[..., None],
    team: Team | None = None,
    precision: Precision | None = None,
) -> Progress:
    """Trains ``model`` and writes the csv, last.pt, best.pt and the plain weights as it goes.

    Args:
        start: anew or where the run in the folder stands.
        team: the processes that share the work; None: this one alone.
        precision: what the config's comes to on the device of ``data``; None: it is chosen here.

    Raises:
        UserError: with the checkpoint that is still good in its message.
        Interrupted: on SIGTERM or SIGINT, after the batch, with everything on disk.
    """
    team = team or Team()
    precision = precision or choose_precision(config.training.precision, data.train.images.device)
    learner = make_learner(model, config.training)
    state = team.from_first(lambda: begin(folder, config, data, precision, start, say))
    progress, part = Progress(started_from=start.started_from), None
    if state is not None:
        progress, part = restore(state, config, learner, precision)
        inside = f", {len(part.losses)} batches into the next" if part else ""
        say(f"resumed after epoch {progress.epoch}{inside}")
    _make_ready(learner, data, config, progress, precision, team, say)
    with StopSignals() as signals, ExitStack() as stack:
        shown = stack.enter_context(_bar(config, data, progress, part, quiet=config.model.quiet or not team.is_first))
        files = _Files(learner, data, config, folder, progress, precision)
        curves = team.is_first and stack.enter_context(closing(tensorboard.Curves(config, progress.epoch)))
        how = Setup(config.training, data.preparation, config.data.augment, precision, team)
        how = replace(how, on_batch=shown.update, stop=lambda: team.any(signals.asked))
        try:
            for _, is_best in fit(learner, data, how, progress=progress, part=part):
                team.from_first(partial(files.save_epoch, is_best, curves))
                _report_epoch(progress, config.training.epochs, shown, say)
            if team.any(signals.asked):  # since the last batch of all
                raise Interrupted(signals.name, signals.exit_code, progress.epoch, 0)
        except Stopped as stopped:
            part = stopped.part
            if len(part.losses):
                team.from_first(lambda: files.save_part(part))
            raise Interrupted(signals.name, signals.exit_code, progress.epoch, len(part.losses)) from None
        except UserError as error:
            raise UserError(f"{error}; {_what_is_left(folder)}") from None
    return progress


def _make_ready(
    learner: Learner,
    data: TrainingData,
    config: Config,
    progress: Progress,
    precision: Precision,
    team: Team,
    say: Callable[..., None],
) -> None:
    """Shares the network with the team, freezes and compiles it, as the config asks for."""
    team.share_model(learner.model, compiled=config.training.compile)
    freeze_trunk(learner.model, learner.optimizer, progress, config.training.freeze_epochs)
    if config.training.compile:
        say("compiling the network: a minute or two before the first batch")
        images = data.train.images[: config.training.batch_size]
        with working("compiling the network"):
            compile_for_training(learner.model, data.preparation.to_input(images), precision)


@dataclass(frozen=True)
class _Files:
    """Writes where a run stands, in full."""

    learner: Learner
    data: TrainingData
    config: Config
    folder: RunFolder
    progress: Progress
    precision: Precision

    def save_epoch(self, is_best: bool, curves: tensorboard.Curves) -> None:
        """Writes all files of an epoch that has just ended."""
        is_kept = is_best or self.config.keeps_last
        self.folder.save_epoch(self._content(), is_kept)
        curves.add(self.progress.history[-1])

    def save_part(self, part: Part) -> None:
        """Writes the state within an epoch."""
        self.folder.save_unfinished(self._content() | {"unfinished": vars(part)})

    def _content(self) -> dict[str, Any]:
        return checkpoint.pack(self.learner, self.progress, self.config, self.data, self.precision)


class Interrupted(Exception):
    """A signal ended the run, which is on disk up to the last batch; ``exit_code`` is the code to leave with."""

    def __init__(self, signal_name: str, exit_code: int, epoch: int, n_batches: int):
        inside = f" and {counted(n_batches, 'batch', several='batches')} of the next" if n_batches else ""
        super().__init__(f"stopped by {signal_name} after epoch {epoch}{inside}")
        self.exit_code, self.has_state = exit_code, bool(epoch or n_batches)


BAR = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"


def _bar(
    config: Config, data: TrainingData, progress: Progress, part: Part | None, *, quiet: bool
) -> AbstractContextManager[Work]:
    """Returns the bar over all batches of all epochs."""
    n_batches = -(-len(data.train) // config.training.batch_size)
    done = progress.epoch * n_batches + (len(part.losses) if part else 0)
    return bar(config.training.epochs * n_batches, "training", quiet, unit="batch", done=done, bar_format=BAR)


def _what_is_left(folder: RunFolder) -> str:
    """Returns in words which checkpoint is still good."""
    try:
        return f"{folder.last} (epoch {checkpoint.read(folder.last)['epoch']}) is intact, and --resume goes on from it"
    except UserError:
        return f"there is no {folder.last} to go on from"


def _report_epoch(progress: Progress, epochs: int, shown: Work, say: Callable[..., None]) -> None:
    """Shows the epoch in the bar or, where there is none, about twenty lines in all."""
    row = progress.history[-1]
    numbers = f"train loss {row['train_loss']:.4f}"
    if row["test_accuracy"] is not None:
        numbers += f", validation loss {row['test_loss']:.4f}, error {100 * (1 - row['test_accuracy']):.1f} %"
    if shown.shown is not None:
        shown.note(_in_bar(row, progress.best_epoch))
    elif row["epoch"] in (1, epochs) or row["epoch"] % max(1, epochs // 20) == 0:
        say(f"epoch {row['epoch']} of {epochs}: {numbers}, {row['seconds']:.1f} s")


def _in_bar(row: dict, best_epoch: int) -> str:
    """Returns what the bar says of the last epoch, so short that all of the bar fits 80 columns."""
    if row["test_accuracy"] is None:
        return f"epoch {row['epoch']}: train loss {row['train_loss']:.4f}"
    return f"epoch {row['epoch']}: validation error {100 * (1 - row['test_accuracy']):.1f} % (best: {best_epoch})"


def provenance(data: TrainingData, device: torch.device, precision: Precision) -> dict:
    """Returns what a result depends on besides config and software: which published data, device and precision."""
    return {
        "device": str(device),
        "precision": precision.name,
        "dataset": data.dataset,
        "dataset_version": data.version,
        "dataset_checksum": data.checksum,
        **({"also": data.further} if data.further else {}),
        **({"sources_left_out": data.n_left_out} if data.n_left_out else {}),
    }


def outcome(progress: Progress, kept_epoch: int, data: TrainingData, model: nn.Module) -> dict:
    """Returns what the run came to, as far as no other file says it: for environment.json."""
    return {
        "kept_epoch": kept_epoch,
        "has_test_set": data.has_test,
        "trainable_parameters": count_parameters(model)[0],
        "class_counts": {
            name: dict(
                zip(data.classes, torch.bincount(split.labels, minlength=len(data.classes)).tolist(), strict=True)
            )
            for name, split in (("train", data.train), ("validation", data.val))
            if split is not None
        },
        "training_seconds": sum(row["seconds"] for row in progress.history),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def last_line(
    progress: Progress, kept_epoch: int, data: TrainingData, metrics: dict | None, folder: RunFolder, keeps_last: bool
) -> str:
    """Returns the run's result in one line; ``keeps_last`` is how its epoch was chosen."""
    if data.val is None:
        parts = [f"epoch {kept_epoch} of {progress.epoch} kept (the last: there are no validation images to choose by)"]
    else:
        row = progress.history[kept_epoch - 1]
        which = "last epoch" if keeps_last else "best epoch"
        parts = [
            f"{which} {kept_epoch} of {progress.epoch}",
            f"validation error {100 * (1 - row['test_accuracy']):.2f} % ({counted(len(data.val), 'source')})",
        ]
    if metrics is not None:
        value, low, high = (100 * metrics["upright"]["error"][key] for key in ("value", "low", "high"))
        parts.append(f"test error {value:.2f} % [{low:.2f}, {high:.2f}] (95 %, {counted(metrics['n_test'], 'source')})")
    parts.append(f"trained in {format_duration(sum(row['seconds'] for row in progress.history))}")
    command, images = ("evaluate", "") if metrics is None else ("rotate", "")
    if not data.has_test:
        command, images = "predict", " NEW_IMAGES"
    where, page = shlex.quote(str(folder.path)), RunFile.REPORT.at(folder.path)
    look = f"open {page} in a browser, or " if page.is_file() else ""
    return f"{', '.join(parts)}; written to {folder.path}; next: {look}python main.py {command} {where}{images}"
