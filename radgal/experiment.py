"""A training run with its files: optimizer, resume, the epochs, a row and a checkpoint as each one ends."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from tqdm.auto import tqdm

from radgal import checkpoint
from radgal.augment import to_input
from radgal.config import Config
from radgal.data import TrainingData
from radgal.precision import Precision, choose_precision, compile_for_training
from radgal.runfolder import RunFolder
from radgal.train import NonFiniteLoss, Progress, fit, make_optimizer, make_scheduler
from utils import UserError, show_bars

# What may differ between a run and its continuation: nothing that changes what an epoch does, but for rounding.
# The precision is compared as it comes out on the device, since 'auto' says nothing by itself.
MAY_CHANGE = {
    "training.epochs",
    "training.patience",
    "training.device",
    "training.precision",
    "training.compile",
    "model.engine",
    "model.quiet",
    "data.datadir",
    "data.download",
    "data.mirror",
}


def run_epochs(
    model: nn.Module,
    data: TrainingData,
    config: Config,
    folder: RunFolder,
    *,
    resume: bool,
    say: Callable[..., None],
) -> Progress:
    """Trains ``model`` and writes the csv, last.pt, best.pt and the plain weights as it goes.

    Raises:
        NonFiniteLoss: with the checkpoint that is still good in its message.
        KeyboardInterrupt: on Ctrl-C; all finished epochs are on disk by then.
    """
    precision = choose_precision(config.training.precision, data.train.images.device)
    optimizer = make_optimizer(model, config.training.lr0, config.training.decay)
    scheduler = make_scheduler(optimizer, config.training.scheduler, config.training.epochs)
    progress = Progress()
    if resume:
        progress = restore(folder, config, model, optimizer, scheduler, precision)
        say(f"resumed after epoch {progress.epoch}")
    else:
        for moved in folder.keep_earlier():
            say(moved)
    folder.start_csv(progress.history)
    if config.training.compile:
        say("compiling the network: a minute or two before the first batch")
        images = data.train.images[: config.training.batch_size]
        compile_for_training(model, to_input(images, data.mean, data.std), precision)

    n_batches = -(-len(data.train) // config.training.batch_size)
    bar = tqdm(
        total=config.training.epochs * n_batches,
        initial=progress.epoch * n_batches,
        disable=not show_bars(config.model.quiet),
        unit="batch",
        dynamic_ncols=True,
        bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}",
    )
    keep_best = config.model.early_stopping
    try:
        for now, is_best in fit(
            model,
            data,
            config.training,
            augment=config.data.augment,
            seed=config.training.seed,
            optimizer=optimizer,
            scheduler=scheduler,
            progress=progress,
            precision=precision,
            on_batch=bar.update,
        ):
            content = checkpoint.pack(model, optimizer, scheduler, now, config, data, precision)
            folder.save_epoch(content, is_kept=is_best or not keep_best)
            folder.add_row(now.history[-1])
            _report_epoch(now, config.training.epochs, bar, say)
    except NonFiniteLoss as error:
        good = f"{folder.last} (epoch {progress.epoch}) is intact" if progress.epoch else "no epoch was finished"
        raise UserError(f"{error}; {good}") from None
    finally:
        bar.close()
    return progress


def restore(
    folder: RunFolder,
    config: Config,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler,
    precision: Precision,
) -> Progress:
    """Puts the run in ``folder`` back to the end of its last finished epoch.

    Raises:
        UserError: if there is nothing to go on with, or the config has changed in a way that matters.
    """
    content = checkpoint.read(folder.last)
    before, now = Config.from_dict(content["config"]).to_dict(), config.to_dict()
    changed = [
        f"[{section}] {key}: was {before[section][key]!r}, is {now[section][key]!r}"
        for section in before
        if section not in ("name", "output", "metrics")
        for key in before[section]
        if before[section][key] != now[section][key] and f"{section}.{key}" not in MAY_CHANGE
    ]
    if changed:
        raise UserError(
            f"{folder.last} cannot be resumed with a changed config:\n  "
            + "\n  ".join(changed)
            + "\nundo the changes, or start anew without --resume (the earlier files are kept)"
        )
    trained_in = content.get("precision", "fp32")  # of checkpoints that are older than the choice
    if trained_in != precision.name:
        raise UserError(
            f"{folder.last} was trained in {trained_in}, but [training] precision: {config.training.precision!r} is "
            f"{precision.name} here; --set training.precision={trained_in} goes on as before"
        )
    try:
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
        if scheduler is not None:
            scheduler.load_state_dict(content["scheduler"])
        if precision.scaler is not None:
            precision.scaler.load_state_dict(content["scaler"])
        torch.set_rng_state(content["rng_state"])
        history = [dict(row) for row in content["history"]]
        return Progress(history, int(content["best_epoch"]), tuple(content["best_score"]))
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{folder.last} cannot be resumed: {error}; start anew without --resume") from None


def _report_epoch(progress: Progress, epochs: int, bar, say: Callable[..., None]) -> None:
    """Shows the epoch in the bar or, where there is none, about twenty lines in all."""
    row = progress.history[-1]
    numbers = f"train loss {row['train_loss']:.4f}"
    if row["test_accuracy"] is not None:
        numbers += f", validation loss {row['test_loss']:.4f}, error {100 * (1 - row['test_accuracy']):.1f} %"
    if not bar.disable:
        bar.set_postfix_str(f"epoch {row['epoch']}: {numbers} (best: epoch {progress.best_epoch})")
    elif row["epoch"] in (1, epochs) or row["epoch"] % max(1, epochs // 20) == 0:
        say(f"epoch {row['epoch']} of {epochs}: {numbers}, {row['seconds']:.1f} s")


def provenance(data: TrainingData, device: torch.device, precision: Precision) -> dict:
    """Returns what a result depends on besides config and software: which published data, device and precision."""
    return {
        "device": str(device),
        "precision": precision.name,
        "dataset": data.dataset,
        "dataset_version": data.version,
        "dataset_checksum": data.checksum,
    }


def last_line(progress: Progress, kept_epoch: int, data: TrainingData, metrics: dict | None, folder: RunFolder) -> str:
    """Returns the run's result in one line."""
    if data.val is None:
        parts = [f"epoch {kept_epoch} of {progress.epoch} kept (the last: there are no validation images to choose by)"]
    else:
        row = progress.history[kept_epoch - 1]
        which = "best epoch" if kept_epoch == progress.best_epoch else "last epoch"
        parts = [
            f"{which} {kept_epoch} of {progress.epoch}",
            f"validation error {100 * (1 - row['test_accuracy']):.2f} % ({len(data.val)} sources)",
        ]
    if metrics is not None:
        error, n = metrics["upright"]["error"]["value"], metrics["n_test"]
        spread = 100 * (error * (1 - error) / n) ** 0.5
        parts.append(f"test error {100 * error:.2f} +- {spread:.2f} % (binomial, {n} sources)")
    return ", ".join(parts) + f"; written to {folder.path}"
