"""A network with what changes as it learns: its optimizer and the schedule of its learning rate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from radgal.config.keys import TrainingSection

Scheduler = torch.optim.lr_scheduler.LRScheduler


@dataclass
class Learner:
    """A network in training, with its optimizer and the scheduler that is stepped after every epoch, if any."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Scheduler | None = None

    @property
    def lr(self) -> float:
        """The learning rate now."""
        return self.optimizer.param_groups[0]["lr"]

    def end_epoch(self, loss: float) -> None:
        """Steps the scheduler.

        Args:
            loss: of validation or, without validation images, of training.
        """
        if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(loss)
        elif self.scheduler is not None:
            self.scheduler.step()


def make_learner(model: nn.Module, training: TrainingSection) -> Learner:
    """Returns the learner of a network that is on its device."""
    optimizer = make_optimizer(model, training.lr0, training.decay, training.optimizer)
    return Learner(model, optimizer, make_scheduler(optimizer, training.scheduler, training.epochs))


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
    """Returns the learning-rate scheduler: 'plateau' (as published), 'cosine' to zero, or None for 'none'."""
    if name == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", patience=2, factor=0.9)
    if name == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    return None
