"""Training: one epoch, and the loop over epochs with scheduler, best epoch and early stopping.

The engine knows nothing of files or arguments. It is handed a network, tensors and numbers, and yields plain
numbers as each epoch ends; what is written where is the caller's business.

All that is random in an epoch (order, poses, dropout) is a function of (seed, epoch) alone, so a run that is
resumed after any epoch is the same run; one that was stopped inside an epoch goes on from the batch it came to.
Where several processes train one network (``team``), each takes its share of every batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgal.config.keys import TrainingSection
from radgal.data.splits import Split, TrainingData
from radgal.images.augment import UNCHANGED, Changes, random_changes, rotation
from radgal.images.preparation import Preparation
from radgal.training.learner import Learner
from radgal.training.precision import Precision
from radgal.training.team import Team
from utils import UserError, random_states, set_random_states

LARGEST_SEED = 2**63 - 1
# The first four are the published program's columns, in its order; its "test" is our validation.
CSV_COLUMNS = ("epoch", "train_loss", "test_loss", "test_accuracy", "train_accuracy", "lr", "seconds")


@dataclass(frozen=True)
class Setup:
    """What every epoch of a run is made with.

    Args:
        training: the [training] section of the config; its seed must be a number.
        preparation: how images become the network's input.
        augment: [data] augment.
        precision: of forward passes and losses.
        team: the processes that share the work.
        on_batch: called after every batch of training.
        stop: asked before every batch whether to stop.
    """

    training: TrainingSection
    preparation: Preparation
    augment: str = "none"
    precision: Precision = field(default_factory=Precision)
    team: Team = field(default_factory=Team)
    on_batch: Callable[[], object] = lambda: None
    stop: Callable[[], bool] = lambda: False


@dataclass
class Progress:
    """Where a run stands: the rows of its csv, and what decides the best epoch and the stop."""

    history: list[dict] = field(default_factory=list)
    best_epoch: int = 0
    best_score: tuple[float, ...] = (-math.inf,)
    started_from: dict | None = None  # facts of the run that the first weights are from

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.history)

    @property
    def epochs_since_best(self) -> int:
        return self.epoch - self.best_epoch


@dataclass
class Part:
    """How far the current epoch has come: what is needed to go on with it after a stop."""

    losses: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))  # of the batches done
    n_correct: int = 0
    seconds: float = 0.0
    random: dict | None = None  # of all generators, after the last batch

    def add(self, losses: Tensor, n_correct: int) -> None:
        """Counts more batches as done."""
        self.losses = torch.cat([self.losses, losses])
        self.n_correct += n_correct


class Stopped(Exception):
    """Training was asked to stop, and did so between two batches; ``part`` is what was done of the epoch."""

    part: Part


class NonFiniteLoss(UserError):
    """The loss became NaN or infinite; ``epoch`` and ``batch`` (both from 1) say where."""

    def __init__(self, epoch: int, batch: int, lr: float):
        super().__init__(
            f"the training loss is not finite in epoch {epoch}, batch {batch} (learning rate {lr:g}); "
            "try a smaller [training] lr0, and check [data] datamean and datastd"
        )
        self.epoch, self.batch = epoch, batch


def epoch_generator(seed: int, epoch: int, stream: int = 0) -> torch.Generator:
    """Returns a CPU generator that depends on (seed, epoch, stream) only."""
    mixed = (seed * 1_000_003 + epoch) * 1_000_003 + stream
    return torch.Generator().manual_seed(mixed % LARGEST_SEED)


def train_epoch(
    learner: Learner, split: Split, setup: Setup, *, epoch: int, part: Part | None = None
) -> tuple[float, float]:
    """Trains on every image once, in random order and pose.

    Nothing is read back from the device before the epoch ends, so a GPU is never made to wait.

    Args:
        part: of the epoch that is done already; changed in place.

    Returns:
        (loss, accuracy): means over the epoch, of the network as it was at each batch, with dropout on, and of the
        loss against smoothed labels, if they are.

    Raises:
        NonFiniteLoss: names the first batch whose loss is NaN or infinite.
        Stopped: with ``part`` brought up to date.
    """
    learner.model.train()
    part, device = part or Part(), split.images.device
    batches = _shuffled_batches(split, setup, epoch)
    if part.random is not None:
        set_random_states(part.random, device)
    first = done = len(part.losses)
    losses = torch.zeros(len(batches), device=device)
    n_correct = torch.zeros((), dtype=torch.int64, device=device)
    stopped = False
    for rows, changes in batches[first:]:
        if stopped := setup.stop():
            break
        learner.start_batch(epoch - 1 + done / len(batches))
        loss, correct = _step(learner, split, setup, rows, changes)
        losses[done] = loss
        n_correct += correct
        done += 1
        setup.on_batch()
    part.add(setup.team.sum(losses[first:done].cpu().double()), int(setup.team.sum(n_correct.cpu())))
    if stopped:
        raise Stopped
    finite = torch.isfinite(part.losses)
    if not finite.all():
        first = int((~finite).nonzero()[0])
        raise NonFiniteLoss(epoch, first + 1, learner.rate(epoch - 1 + first / len(batches)))
    sizes = torch.tensor([len(rows) for rows, _ in batches], dtype=torch.float64)
    return float((part.losses * sizes).sum() / sizes.sum()), part.n_correct / len(split)


def _shuffled_batches(split: Split, setup: Setup, epoch: int) -> list[tuple[Tensor, Changes]]:
    """Returns the rows and changes of every batch of an epoch, and seeds dropout for it."""
    seed, n = setup.training.seed, len(split)
    generator = epoch_generator(seed, epoch)
    torch.manual_seed(epoch_generator(seed, epoch, stream=1).initial_seed())  # dropout
    order = torch.randperm(n, generator=generator)
    changes = random_changes(n, setup.augment, generator)[order].to(split.images.device)
    order = order.to(split.images.device)
    return [(order[rows], changes[rows]) for rows in _batches(n, setup)]


def _step(learner: Learner, split: Split, setup: Setup, rows: Tensor, changes: Changes) -> tuple[Tensor, Tensor]:
    """Trains on one batch, of which this process takes its share.

    Returns:
        (loss, number of right answers) of the share; the sum over the processes is that of the batch.
    """
    team = setup.team
    own, weight = team.share(len(rows))
    labels = split.labels[rows[own]]
    x = setup.preparation.to_input(changes[own].apply(split.images[rows[own]]))
    with setup.precision.autocast():
        logits = team.forward(learner.model, x)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=setup.training.label_smoothing) * weight
    setup.precision.step(loss, learner.optimizer)
    learner.end_batch()
    return loss.detach() / team.size, (logits.detach().argmax(1) == labels).sum() * (weight > 0)


def _batches(n: int, setup: Setup) -> list[slice]:
    """Returns the places of each batch among ``n``."""
    size = setup.training.batch_size
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


@torch.no_grad()
def validate(model: nn.Module, split: Split, setup: Setup, changes: Changes = UNCHANGED) -> tuple[float, float]:
    """Returns (loss, accuracy) in evaluation mode, of images with ``changes``.

    As in training, the device is read once, at the end.

    Differs from the published program, which turns the validation images at random in every epoch.

    Raises:
        Stopped: if ``setup.stop``, asked before every batch, says so.
    """
    model.eval()
    team, device = setup.team, split.images.device
    losses, n_correct = [], torch.zeros((), dtype=torch.int64, device=device)
    changes = changes.to(device)
    for rows in _batches(len(split), setup):
        if setup.stop():
            raise Stopped
        labels = split.labels[rows]
        own, weight = team.share(len(labels))
        x = setup.preparation.to_input(changes[rows][own].apply(split.images[rows][own]))
        with setup.precision.autocast():
            logits = model(x).float()
        losses.append(F.cross_entropy(logits, labels[own], reduction="sum") * (weight > 0))
        n_correct += (logits.argmax(1) == labels[own]).sum() * (weight > 0)
    total = team.sum(torch.stack(losses).cpu().double()).tolist()
    return sum(total) / len(split), int(team.sum(n_correct.cpu())) / len(split)


def fit(
    learner: Learner, data: TrainingData, setup: Setup, *, progress: Progress, part: Part | None = None
) -> Iterator[tuple[Progress, bool]]:
    """Trains to the last epoch, or until [training] patience epochs brought nothing better.

    Args:
        data: training and validation images; the test set has no way in here.
        progress: of a run to go on with, or a new one; changed in place.
        part: of the next epoch that an earlier run has done.

    Yields:
        (progress, is_best) after every epoch, to be saved by the caller. Without validation images the last
        epoch is always the best so far.

    Raises:
        Stopped: with the part of the epoch that is done, to be saved by the caller.
    """
    training = setup.training
    while progress.epoch < training.epochs and not _out_of_patience(progress, training.patience, data.val):
        part = part or Part()
        started, epoch = time.perf_counter() - part.seconds, progress.epoch + 1
        lr = learner.rate(epoch - 1)
        try:
            train_loss, train_accuracy = train_epoch(learner, data.train, setup, epoch=epoch, part=part)
            val_loss, val_accuracy = _validate_epoch(learner, data.val, setup, epoch)
        except Stopped as stopped:
            part.seconds, part.random = time.perf_counter() - started, random_states(data.train.images.device)
            stopped.part = part
            raise
        part = None
        learner.end_epoch(train_loss if val_loss is None else val_loss)
        progress.history.append(
            {
                "epoch": epoch,
                "train_loss": train_loss,
                "test_loss": val_loss,
                "test_accuracy": val_accuracy,
                "train_accuracy": train_accuracy,
                "lr": lr,
                "seconds": time.perf_counter() - started,
            }
        )
        score = _score(training.monitor, epoch, val_loss, val_accuracy)
        is_best = score > progress.best_score
        if is_best:
            progress.best_epoch, progress.best_score = epoch, score
        yield progress, is_best


def _validate_epoch(
    learner: Learner, split: Split | None, setup: Setup, epoch: int
) -> tuple[float, float] | tuple[None, None]:
    """Returns the validation (loss, accuracy) of an epoch, (None, None) without validation images."""
    if split is None:
        return None, None
    with learner.as_kept():
        results = [validate(learner.model, split, setup, changes) for changes in _views(len(split), setup, epoch)]
    losses, accuracies = zip(*results, strict=True)
    return sum(losses) / len(results), sum(accuracies) / len(results)


def _views(n: int, setup: Setup, epoch: int) -> list[Changes]:
    """Returns how ``n`` validation images are shown, time after time."""
    training = setup.training
    if training.val_augment:
        return [random_changes(n, setup.augment, epoch_generator(training.seed, epoch, stream=2))]
    return [rotation(n, 360 * k / training.val_rotations) for k in range(training.val_rotations)]


def _score(monitor: str, epoch: int, val_loss: float | None, val_accuracy: float | None) -> tuple[float, ...]:
    """The larger, the better. With few validation images many epochs tie in accuracy: the loss decides then."""
    if val_loss is None or val_accuracy is None:
        return (float(epoch),)
    return (val_accuracy, -val_loss) if monitor == "val_accuracy" else (-val_loss,)


def _out_of_patience(progress: Progress, patience: int | None, val: Split | None) -> bool:
    return patience is not None and val is not None and progress.epochs_since_best >= patience
