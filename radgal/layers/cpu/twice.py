"""Gradients that are differentiated themselves, as for gradient penalties and influence functions.

The forms for CPUs compute a gradient by hand. Where it needs a graph of its own (``create_graph=True``), it is computed
from the same function in torch's operators instead, which have gradients of every order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def gradients(function: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor) -> list[Tensor | None]:
    """Returns the gradients of ``function(*inputs)``, each with its graph; None for an input that needs none.

    Args:
        function: in torch's own operators.
        inputs: as they were saved for the backward pass.
        grad: of what the function returns.
    """
    with torch.enable_grad():
        out = function(*inputs)
    wanted = [one for one in inputs if one.requires_grad]
    found = iter(torch.autograd.grad(out, wanted, grad, create_graph=True))
    return [next(found) if one.requires_grad else None for one in inputs]


def relu_max_blur(x: Tensor, blur: Tensor, padding: int = 2, inside: Tensor | None = None) -> Tensor:
    """Returns ReLU, the 2 x 2 maximum at stride 1 and the blur at stride 2; see ``blurpool.pool_maps``."""
    largest = F.max_pool2d(F.relu(x), 2, stride=1)
    if inside is not None:
        largest = largest * inside[:, None]
    n_channels = x.shape[1]
    filters = blur.to(x.dtype).expand(n_channels, 1, -1, -1)
    return F.conv2d(largest, filters, stride=2, padding=padding, groups=n_channels)
