"""A network with what changes as it learns: its optimizer, its learning rate, the average of its weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from radgal.config.keys import TrainingSection
from radgal.training.average import Average

Scheduler = torch.optim.lr_scheduler.LRScheduler


@dataclass(frozen=True)
class OneCycle:
    """A learning rate that rises in a line from lr0 / 25 to lr0, and falls in a line to 0 at the end of the run.

    Its value follows from the place in the run alone, so there is nothing to store and nothing to put back.
    """

    lr0: float
    warmup: float  # share of the run in which it rises
    epochs: int

    def rate(self, done: float) -> float:
        """Returns the learning rate when ``done`` epochs, of which the last may be a part, are done."""
        top = self.warmup * self.epochs
        if done < top:
            return self.lr0 * (1 + 24 * done / top) / 25
        return self.lr0 * (self.epochs - done) / (self.epochs - top)


@dataclass
class Learner:
    """A network in training, with its optimizer and what sets its learning rate.

    Args:
        scheduler: stepped after every epoch; None: nothing is.
        cycle: sets the learning rate before every batch; None: nothing does.
        average: of the weights, which is what is validated and kept; None: the weights themselves are.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Scheduler | None = None
    cycle: OneCycle | None = None
    average: Average | None = None

    def rate(self, done: float) -> float:
        """Returns the learning rate of a batch, before which ``done`` epochs and parts of one are done."""
        return self.optimizer.param_groups[0]["lr"] if self.cycle is None else self.cycle.rate(done)

    def start_batch(self, done: float) -> None:
        """Sets the learning rate of a batch; ``done`` as in :meth:`rate`."""
        if self.cycle is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = self.cycle.rate(done)

    def end_batch(self) -> None:
        """Takes the weights after a step of the optimizer into their average."""
        if self.average is not None:
            self.average.update()

    def as_kept(self) -> AbstractContextManager:
        """Returns a context in which the network has the weights that are validated and kept."""
        return nullcontext() if self.average is None else self.average.in_place()

    def end_epoch(self, loss: float) -> None:
        """Steps the scheduler.

        Args:
            loss: of validation or, without validation images, of training.
        """
        if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(loss)
        elif self.scheduler is not None:
            self.scheduler.step()

    def state(self) -> dict[str, Any]:
        """Returns all that a checkpoint holds of it; "model" are the weights that are validated and kept."""
        average, scheduler = self.average, self.scheduler
        trained = self.model.state_dict()
        return {
            "model": trained if average is None else average.values,
            "average": None if average is None else {"trained": trained, "n_batches": average.n_batches},
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if scheduler is None else scheduler.state_dict(),
        }


def make_learner(model: nn.Module, training: TrainingSection) -> Learner:
    """Returns the learner of a network that is on its device."""
    optimizer = make_optimizer(model, training.lr0, training.decay, training.optimizer)
    scheduler = make_scheduler(optimizer, training.scheduler, training.epochs)
    is_cycle = training.scheduler == "onecycle"
    cycle = OneCycle(training.lr0, training.warmup, training.epochs) if is_cycle else None
    average = None if training.ema is None else Average(model, training.ema)
    return Learner(model, optimizer, scheduler, cycle, average)


def make_optimizer(model: nn.Module, lr: float, decay: float, name: str = "adam") -> torch.optim.Optimizer:
    """Returns the optimizer: 'adam' with L2 weight decay, as published, or 'adamw' with decoupled decay.

    Decoupled (Loshchilov & Hutter 2017, arXiv:1711.05101): every step also shrinks the weights by lr * decay, however
    large their gradients are.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    fused = parameters[0].device.type in ("cpu", "cuda")
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    return kind(parameters, lr=lr, weight_decay=decay, fused=fused)


def make_scheduler(optimizer: torch.optim.Optimizer, name: str, epochs: int) -> Scheduler | None:
    """Returns what steps the learning rate after every epoch: 'plateau' (as published) or 'cosine' to zero."""
    if name == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", patience=2, factor=0.9)
    if name == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    return None
