"""A training step of either path, as it is timed, and as its memory is measured in a process of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import published
from radgal.training.learner import make_optimizer
from radgal.training.precision import Precision

LR, DECAY = 1e-4, 1e-6
"""Learning rate and weight decay, of both paths; neither changes what a step costs."""


class Trainer:
    """A network with its optimizer and precision, as the path 'stock' or 'ours' trains it."""

    def __init__(self, model: nn.Module, path: str, precision: Precision):
        self.model, self.path = model, path
        if path == "stock":
            self.precision = Precision("fp32", next(model.parameters()).device)
            self.optimizer = torch.optim.Adam(model.parameters(), lr=LR, weight_decay=DECAY)
        else:
            self.precision = precision
            self.optimizer = make_optimizer(model, LR, DECAY)

    def step(self, x: Tensor, labels: Tensor) -> None:
        """Makes one training step."""
        self.model.train()
        if self.path == "stock":
            published.train_step(self.model, self.optimizer, x, labels)
            return
        with self.precision.autocast():
            loss = F.cross_entropy(self.model(x).float(), labels)
        self.precision.step(loss, self.optimizer)

    def evaluate(self, x: Tensor) -> None:
        """Computes logits in evaluation mode."""
        self.model.eval()
        with torch.no_grad(), self.precision.autocast():
            self.model(x)
