"""Going on with a run: from where, whether the config allows it, and everything put back as it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from radgal.config.config import Config
from radgal.config.keys import TrainingSection
from radgal.data.splits import TrainingData
from radgal.runs import finished
from radgal.runs.folder import RunFolder
from radgal.runs.statecheck import check_like, check_optimizer, check_random, known_part
from radgal.training.learner import Learner
from radgal.training.loop import Part, Progress
from radgal.training.precision import Precision
from utils import UserError, set_random_states

# What may differ between a run and its continuation: nothing that changes what an epoch does, but for rounding.
# The precision is compared as it comes out on the device, since 'auto' says nothing by itself.
MAY_CHANGE = {
    "training.epochs",
    "training.patience",
    "training.device",
    "training.precision",
    "training.compile",
    "training.resume",
    "model.engine",
    "model.quiet",
    "data.datadir",
    "data.download",
    "data.mirror",
    "data.table",
}


@dataclass(frozen=True)
class Start:
    """How a run begins.

    Args:
        resume: whether to go on with the run in the folder; or else what is there is put aside.
        force: whether to go on with a changed config, too.
        started_from: facts of the run that the first weights are from, if any.
    """

    resume: bool = False
    force: bool = False
    started_from: dict[str, Any] | None = None


def begin(
    folder: RunFolder, config: Config, data: TrainingData, precision: Precision, start: Start, say: Callable[..., None]
) -> dict[str, Any] | None:
    """Makes the folder ready; returns the state to go on from, or None for a new run, which puts the old one aside.

    Raises:
        UserError: if there is nothing to go on with, or the config has changed in a way that matters.
    """
    state = folder.state() if start.resume else None
    if not start.resume:
        for moved in folder.keep_earlier():
            say(moved)
    elif state is None:
        raise UserError(f"there is no checkpoint {folder.last} to go on from; start without --resume")
    elif changed := differences(state, config, data, precision):
        if not start.force:
            anew = "with --set training.resume=never" if config.training.resume == "auto" else "without --resume"
            raise UserError(
                f"{folder.last} cannot be resumed with a changed config:\n  "
                + "\n  ".join(changed)
                + "\nundo the changes, or go on all the same with --force, "
                f"or start anew {anew} (the earlier files are kept)"
            )
        say("going on in spite of what has changed:\n  " + "\n  ".join(changed))
        if state.pop("unfinished", None) is not None:
            if not folder.last.is_file():
                raise UserError(f"{folder.path} has no finished epoch to go on from with a changed config")
            folder.unfinished.unlink(missing_ok=True)
            state = folder.state()
    if state is not None:
        finished.unmark(folder.path)
        moved = folder.keep_others(state["history"])
        moved += [] if is_finished(state, config, data.val is not None) else folder.keep_results()
        for text in moved:
            say(text)
        n_batches = -(-len(data.train) // config.training.batch_size)
        if "unfinished" in state and len(state["unfinished"]["losses"]) > n_batches:
            raise UserError(f"{folder.unfinished} is refused: an epoch of this run has {n_batches} batches; delete it")
        is_kept = state["best_epoch"] == state["epoch"] or config.keeps_last
        folder.repair(is_kept, is_unfinished="unfinished" in state)
    folder.start_csv(state["history"] if state else [])
    folder.forget()
    return state


def differences(state: dict[str, Any], config: Config, data: TrainingData, precision: Precision) -> list[str]:
    """Returns what differs between a stored run and now, of what may not, a line each."""
    before, now = Config.from_dict(state["config"]).to_dict(), config.to_dict()
    fixed = {"training.epochs"} if config.training.ends_a_cycle else set()
    changed = [
        f"[{section}] {key}: was {before[section][key]!r}, is {now[section][key]!r}"
        for section in before
        if section not in ("name", "output", "metrics")
        for key in before[section]
        if before[section][key] != now[section][key] and f"{section}.{key}" not in MAY_CHANGE - fixed
    ]
    if state.get("checksum", data.checksum) != data.checksum:
        changed.append(
            f"images: were {state.get('version')} ({state['checksum']}), are {data.version} ({data.checksum})"
        )
    if "sources" in state and state["sources"]["names"] != list(data.sources.names):  # older ones lack them
        before = len(state["sources"]["names"])
        changed.append(f"sources: {before} were trained and validated on, {len(data.sources)} are now, or others")
    trained_in = state.get("precision", "fp32")  # of checkpoints that are older than the choice
    if trained_in != precision.name:
        changed.append(
            f"[training] precision: was trained in {trained_in}, {config.training.precision!r} is {precision.name} "
            f"here; --set training.precision={trained_in} goes on as before"
        )
    return changed


def restore(
    state: dict[str, Any], config: Config, learner: Learner, precision: Precision
) -> tuple[Progress, Part | None]:
    """Puts everything back to how it was; returns where the run stands, and the part of an epoch that is done.

    Raises:
        UserError: if the state does not fit the network of the config.
    """
    before = Config.from_dict(state["config"]).training
    model, optimizer, scheduler = learner.model, learner.optimizer, learner.scheduler
    try:
        _restore_weights(state, learner)
        check_optimizer(state["optimizer"], optimizer)
        optimizer.load_state_dict(state["optimizer"])
        if scheduler is not None and before.scheduler == config.training.scheduler:
            scheduler.load_state_dict(known_part(state["scheduler"], scheduler))
        if precision.scaler is not None and state.get("scaler"):
            precision.scaler.load_state_dict(state["scaler"])
        part = Part(**state["unfinished"]) if "unfinished" in state else None
        # Those of the part count from its next batch on, but must be known to fit before it is trained.
        for states in ([part.random] if part else []) + ([state["random"]] if "random" in state else []):
            check_random(states)
            set_random_states(states, next(model.parameters()).device)
        progress = Progress(
            [dict(row) for row in state["history"]],
            int(state["best_epoch"]),
            tuple(state["best_score"]),
            state.get("started_from"),
        )
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"the run of {config.output_dir} cannot be resumed: {reason}; start anew without --resume"
        ) from None
    _apply_changes(before, config, learner, progress.epoch)
    return progress, part


def _restore_weights(state: dict[str, Any], learner: Learner) -> None:
    """Puts back the weights in training, and their average if there is to be one; a run may have begun without."""
    stored = state.get("average")  # of which checkpoints that are older than the choice have none
    learner.model.load_state_dict(state["model"] if stored is None else stored["trained"])
    if learner.average is None:
        return
    if stored is None:
        learner.average.restart()
    else:
        check_like({**state["model"]}, learner.average.values, "averaged weights")
        check_like(stored["n_batches"], 0, "number of averaged batches")
        learner.average.restore(state["model"], stored["n_batches"])


def _apply_changes(before: TrainingSection, config: Config, learner: Learner, epoch: int) -> None:
    """Lets a changed learning rate, decay or schedule count from now on; stored states would undo it."""
    now, scheduler = config.training, learner.scheduler
    if isinstance(scheduler, torch.optim.lr_scheduler.CosineAnnealingLR):
        scheduler.T_max, scheduler.base_lrs, scheduler.last_epoch = now.epochs, [now.lr0], epoch
    for group in learner.optimizer.param_groups:
        group["weight_decay"], group["decoupled_weight_decay"] = now.decay, now.optimizer == "adamw"
        if before.lr0 != now.lr0:
            group["lr"] *= now.lr0 / before.lr0
        if isinstance(scheduler, torch.optim.lr_scheduler.CosineAnnealingLR) and (
            (before.scheduler, before.epochs, before.lr0) != (now.scheduler, now.epochs, now.lr0)
        ):
            group["lr"] = now.lr0 * (1 + math.cos(math.pi * min(epoch / now.epochs, 1))) / 2
        if now.scheduler == "none":
            group["lr"] = now.lr0


def is_finished(state: dict[str, Any], config: Config, has_val: bool) -> bool:
    """Returns whether a stored run has nothing more to train."""
    if "unfinished" in state:
        return False
    patience = config.training.patience
    waited = state["epoch"] - state["best_epoch"]
    return state["epoch"] >= config.training.epochs or (has_val and patience is not None and waited >= patience)
