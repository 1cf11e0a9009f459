"""The exponential moving average of a network's weights: smoother than the weights that are trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """The exponential moving average of all floating-point numbers in a network's state dict.

    So the means and variances of batch normalization are averaged like the weights that they were measured with, and
    nothing needs to be measured again; whole numbers in the state dict are taken over as they are. What is frozen
    stays bit for bit.

    After n batches the decay is at most (1 + n) / (10 + n): the first weights, which are random, are soon forgotten.

    Args:
        model: on its device. Its tensors must stay the same objects, as they do in training.
        decay: share of the average that stays at every batch.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.n_batches = decay, 0
        self._trained = {name: value.detach() for name, value in model.state_dict().items()}
        self.values = {name: value.clone() for name, value in self._trained.items()}

    def update(self) -> None:
        """Takes in the weights after another batch."""
        self.n_batches += 1
        decay = min(self.decay, (1 + self.n_batches) / (10 + self.n_batches))
        pairs = [(self.values[name], value) for name, value in self._trained.items()]
        averaged, trained = zip(*[pair for pair in pairs if pair[1].is_floating_point()], strict=True)
        get_ema_multi_avg_fn(decay)(averaged, trained, None)
        for counted, count in pairs:
            if not count.is_floating_point():
                counted.copy_(count)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While entered, the network has the averaged weights; then again those that are trained, bit for bit."""
        before = {name: value.clone() for name, value in self._trained.items()}
        _copy(self.values, self._trained)
        try:
            yield
        finally:
            _copy(before, self._trained)

    def restart(self) -> None:
        """Forgets all but the network's weights as they are now."""
        self.n_batches = 0
        _copy(self._trained, self.values)

    def restore(self, values: Mapping[str, Tensor], n_batches: int) -> None:
        """Puts back what was stored; ``values`` must have the names, types and shapes of the network's."""
        self.n_batches = n_batches
        _copy(values, self.values)


def _copy(values: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in into.items():
            value.copy_(values[name])
