"""Before any clock: are the two paths the same function, forward and backward?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.published import build
from utils import UserError

TOLERANCE = 1e-4


def check_equality(name: str, side: int, x: Tensor, labels: Tensor, background: float) -> dict:
    """Returns the relative differences of this program's network to the stock one: same weights, same images, fp32.

    The difference of two tensors is the length of a - b over the length of b; of the gradients the largest of all
    parameters. Dropout is off.

    Raises:
        UserError: if a difference exceeds ``TOLERANCE``: times of different functions mean nothing.
    """
    torch.manual_seed(0)
    options = dict(dropout=0.0, background=background)
    stock, ours = (build(name, side, stock=which, **options).to(x.device) for which in (True, False))
    ours.load_state_dict(stock.state_dict())
    results: list[tuple[Tensor, Tensor]] = []
    gradients: list[dict[str, Tensor]] = []
    for model in (stock, ours):
        logits = model(x)
        parameters = dict(model.named_parameters())
        grads = torch.autograd.grad(F.cross_entropy(logits, labels), list(parameters.values()))
        gradients.append(dict(zip(parameters, grads, strict=True)))
        with torch.no_grad():
            results.append((logits.detach(), model.eval()(x)))
    found = {
        "logits_train_mode": _difference(results[1][0], results[0][0]),
        "logits_eval_mode": _difference(results[1][1], results[0][1]),
        "gradients": max(_difference(gradients[1][key], gradients[0][key]) for key in gradients[0]),
    }
    if not all(value < TOLERANCE for value in found.values()):
        raise UserError(f"{name}: the two paths are not the same function, so nothing was timed: {found}")
    return found


def _difference(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).norm() / expected.norm())
