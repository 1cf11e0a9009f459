"""Before any clock: are the two paths the same function, forward and backward?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.published import build
from utils import UserError

TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-2
"""Rounding decides which of two nearly equal pixels is the maximum, and the gradient then goes to the other one. So
those of float32 are held against float64; what rounding makes of the stock layers' own is measured beside it."""


def check_equality(name: str, side: int, x: Tensor, labels: Tensor, background: float) -> dict:
    """Returns the relative differences of this program's network to the stock one: same weights, same images, fp32.

    The difference of two tensors is the length of a - b over the length of b; of the gradients the largest of all
    parameters. Dropout is off. ``stock_gradients`` and ``own_gradients`` are those of either network in float32 to the
    stock one in float64, and ``float64_gradients`` is that of this program's in float64 to it.

    Raises:
        UserError: if logits, or gradients in float64, differ by more than ``TOLERANCE``, or gradients in float32 from
            those in float64 by more than ``GRADIENT_TOLERANCE``: times of different functions mean nothing.
    """
    torch.manual_seed(0)
    options = dict(dropout=0.0, background=background)
    stock, ours = (build(name, side, stock=which, **options).to(x.device) for which in (True, False))
    ours.load_state_dict(stock.state_dict())
    results, gradients = [], []
    for model in (stock, ours):
        logits, found = _gradients(model.train(), x, labels)
        gradients.append(found)
        with torch.no_grad():
            results.append((logits, model.eval()(x)))
    exact, own_exact = (_gradients(model.train().double(), x.double(), labels)[1] for model in (stock, ours))
    found = {
        "logits_train_mode": _difference(results[1][0], results[0][0]),
        "logits_eval_mode": _difference(results[1][1], results[0][1]),
        "gradients": _largest(gradients[1], gradients[0]),
        "stock_gradients": _largest(gradients[0], exact),
        "own_gradients": _largest(gradients[1], exact),
        "float64_gradients": _largest(own_exact, exact),
    }
    exactly = max(found["logits_train_mode"], found["logits_eval_mode"], found["float64_gradients"])
    if not (exactly < TOLERANCE and found["own_gradients"] < GRADIENT_TOLERANCE):
        raise UserError(f"{name}: the two paths are not the same function, so nothing was timed: {found}")
    return found


def _gradients(model: nn.Module, x: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the logits of a batch, and the gradients of its cross entropy by the names of the parameters."""
    logits, parameters = model(x), dict(model.named_parameters())
    found = torch.autograd.grad(F.cross_entropy(logits, labels), list(parameters.values()))
    return logits.detach(), dict(zip(parameters, found, strict=True))


def _largest(got: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    return max(_difference(got[key], expected[key]) for key in expected)


def _difference(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).norm() / expected.norm())
