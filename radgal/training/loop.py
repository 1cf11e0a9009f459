"""Training: one epoch, and the loop over epochs with scheduler, best epoch and early stopping.

The engine knows nothing of files or arguments. It is handed a network, tensors and numbers, and yields plain
numbers as each epoch ends; what is written where is the caller's business.

All that is random in an epoch (order, poses, dropout) is a function of (seed, epoch) alone, so a run that is
resumed after any epoch is the same run; one that was stopped inside an epoch goes on from the batch it came to.
Where several processes train one network (``parallel``), each takes its share of every batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgal.data.splits import Split, TrainingData
from radgal.images.preparation import Preparation
from radgal.images.transforms import random_poses
from radgal.training.precision import Precision
from radgal.training.team import Team
from utils import UserError, random_states, set_random_states

LARGEST_SEED = 2**63 - 1


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


def make_optimizer(model: nn.Module, lr: float, decay: float) -> torch.optim.Optimizer:
    """Returns Adam with L2 weight decay (not decoupled), as published."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.Adam(parameters, lr=lr, weight_decay=decay, fused=fused)


def make_scheduler(optimizer: torch.optim.Optimizer, name: str, epochs: int):
    """Returns the learning-rate scheduler: 'plateau' (as published), 'cosine' to zero, or None for 'none'."""
    if name == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", patience=2, factor=0.9)
    if name == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    return None


def train_epoch(
    model: nn.Module,
    split: Split,
    optimizer: torch.optim.Optimizer,
    *,
    epoch: int,
    seed: int,
    batch_size: int,
    augment: str,
    preparation: Preparation,
    precision: Precision | None = None,
    on_batch: Callable[[], None] = lambda: None,
    team: Team | None = None,
    part: Part | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[float, float]:
    """Trains on every image once, in random order and pose; in float32 unless ``precision`` says otherwise.

    Nothing is read back from the device before the epoch ends, so a GPU is never made to wait.

    Args:
        team: the processes that share the work; None: this one alone.
        part: of the epoch that is done already; changed in place.
        stop: asked before every batch whether to stop.

    Returns:
        (loss, accuracy): means over the epoch, of the network as it was at each batch and with dropout on.

    Raises:
        NonFiniteLoss: names the first batch whose loss is NaN or infinite.
        Stopped: with ``part`` brought up to date.
    """
    model.train()
    precision, team, part = precision or Precision(), team or Team(), part or Part()
    generator = epoch_generator(seed, epoch)
    torch.manual_seed(epoch_generator(seed, epoch, stream=1).initial_seed())  # dropout
    device = split.images.device
    order = torch.randperm(len(split), generator=generator)
    poses = (_rows(values, order) for values in random_poses(len(split), augment, generator))
    batches = _batches(batch_size, device, order, *poses)
    done = len(part.losses)
    if part.random is not None:
        set_random_states(part.random, device)
    losses = torch.zeros(len(batches), device=device)
    n_correct = torch.zeros((), dtype=torch.int64, device=device)
    stopped = False
    for rows, angles, flip in batches[done:]:
        if stopped := stop():
            break
        own, weight = team.share(len(rows))
        labels = split.labels[rows[own]]
        x = preparation.to_input(split.images[rows[own]], (_rows(angles, own), _rows(flip, own)))
        with precision.autocast():
            logits = team.forward(model, x)
            loss = F.cross_entropy(logits.float(), labels) * weight
        precision.step(loss, optimizer)
        losses[done] = loss.detach() / team.size
        n_correct += (logits.detach().argmax(1) == labels).sum() * (weight > 0)
        done += 1
        on_batch()
    new = team.sum(losses[len(part.losses) : done].cpu().double())
    part.losses = losses = torch.cat([part.losses, new])
    part.n_correct += int(team.sum(n_correct.cpu()))
    if stopped:
        raise Stopped
    if not torch.isfinite(losses).all():
        first = int((~torch.isfinite(losses)).nonzero()[0]) + 1
        raise NonFiniteLoss(epoch, first, optimizer.param_groups[0]["lr"])
    sizes = torch.tensor([len(rows) for rows, _, _ in batches], dtype=torch.float64)
    return float((losses * sizes).sum() / sizes.sum()), part.n_correct / len(split)


def _rows(values: Tensor | None, rows: Tensor | slice) -> Tensor | None:
    return None if values is None else values[rows]


def _batches(batch_size: int, device: torch.device, *columns: Tensor | None) -> list[tuple[Tensor | None, ...]]:
    """Returns the columns cut into batches; each is moved to the device as a whole, not batch by batch."""
    n_batches = -(-len(columns[0]) // batch_size)
    parts = [[None] * n_batches if c is None else c.to(device).split(batch_size) for c in columns]
    return list(zip(*parts, strict=True))


@torch.no_grad()
def validate(
    model: nn.Module,
    split: Split,
    *,
    batch_size: int,
    preparation: Preparation,
    poses: tuple[Tensor | None, Tensor | None] = (None, None),
    precision: Precision | None = None,
    team: Team | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[float, float]:
    """Returns (loss, accuracy) in evaluation mode; upright images unless ``poses`` (angles_deg, flip) turns them.

    In float32 unless ``precision`` says otherwise. As in training, the device is read once, at the end.

    Differs from the published program, which turns the validation images at random in every epoch.

    Raises:
        Stopped: if ``stop``, asked before every batch, says so.
    """
    model.eval()
    precision, team = precision or Precision(), team or Team()
    device = split.images.device
    losses, n_correct = [], torch.zeros((), dtype=torch.int64, device=device)
    for images, labels, angles, flip in _batches(batch_size, device, split.images, split.labels, *poses):
        if stop():
            raise Stopped
        own, weight = team.share(len(labels))
        x = preparation.to_input(images[own], (_rows(angles, own), _rows(flip, own)))
        with precision.autocast():
            logits = model(x).float()
        losses.append(F.cross_entropy(logits, labels[own], reduction="sum") * (weight > 0))
        n_correct += (logits.argmax(1) == labels[own]).sum() * (weight > 0)
    total = team.sum(torch.stack(losses).cpu().double()).tolist()
    return sum(total) / len(split), int(team.sum(n_correct.cpu())) / len(split)


def fit(
    model: nn.Module,
    data: TrainingData,
    training,
    *,
    augment: str,
    seed: int,
    optimizer: torch.optim.Optimizer,
    scheduler=None,
    progress: Progress,
    precision: Precision | None = None,
    on_batch: Callable[[], None] = lambda: None,
    team: Team | None = None,
    part: Part | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Progress, bool]]:
    """Trains to the last epoch, or until ``training.patience`` epochs brought nothing better.

    Args:
        data: training and validation images; the test set has no way in here.
        training: the [training] section of the config.
        progress: of a run to go on with, or a new one; changed in place.
        precision: of forward passes and losses; None: float32.
        team: the processes that share the work; None: this one alone.
        part: of the next epoch that an earlier run has done.
        stop: asked before every batch whether to stop.

    Yields:
        (progress, is_best) after every epoch, to be saved by the caller. Without validation images the last
        epoch is always the best so far.

    Raises:
        Stopped: with the part of the epoch that is done, to be saved by the caller.
    """
    common = dict(batch_size=training.batch_size, preparation=data.preparation, precision=precision)
    common |= dict(team=team, stop=stop)
    while progress.epoch < training.epochs and not _out_of_patience(progress, training.patience, data.val):
        part = part or Part()
        started, epoch = time.perf_counter() - part.seconds, progress.epoch + 1
        lr = optimizer.param_groups[0]["lr"]
        val_loss = val_accuracy = None
        try:
            train_loss, train_accuracy = train_epoch(
                model, data.train, optimizer, epoch=epoch, seed=seed, augment=augment, on_batch=on_batch, part=part,
                **common,
            )  # fmt: skip
            if data.val is not None:
                pose_source = augment if training.val_augment else "none"
                poses = random_poses(len(data.val), pose_source, epoch_generator(seed, epoch, stream=2))
                val_loss, val_accuracy = validate(model, data.val, poses=poses, **common)
        except Stopped as stopped:
            part.seconds, part.random = time.perf_counter() - started, random_states(data.train.images.device)
            stopped.part = part
            raise
        part = None
        if scheduler is not None:
            by_loss = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            scheduler.step(*([train_loss if val_loss is None else val_loss] if by_loss else []))
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


def _score(monitor: str, epoch: int, val_loss: float | None, val_accuracy: float | None) -> tuple[float, ...]:
    """The larger, the better. With few validation images many epochs tie in accuracy: the loss decides then."""
    if val_loss is None or val_accuracy is None:
        return (float(epoch),)
    return (val_accuracy, -val_loss) if monitor == "val_accuracy" else (-val_loss,)


def _out_of_patience(progress: Progress, patience: int | None, val: Split | None) -> bool:
    return patience is not None and val is not None and progress.epochs_since_best >= patience
