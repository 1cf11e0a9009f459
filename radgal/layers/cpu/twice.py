"""Gradients that are differentiated themselves (gradient penalties, influence functions), or many at once (Jacobians).

The forms for CPUs compute a gradient by hand. Where it needs a graph of its own (``create_graph=True``), or stands for
a batch of gradients (``is_grads_batched=True``), it is computed from the same function in torch's operators instead,
which have gradients of every order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor, peek_interpreter_stack


def needs_torch(grad: Tensor) -> bool:
    """Returns whether what follows from a gradient must be computed by torch's operators."""
    is_batch = is_legacy_batchedtensor(grad) or peek_interpreter_stack() is not None
    return torch.is_grad_enabled() or is_batch


def gradients(function: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor) -> list[Tensor | None]:
    """Returns the gradients of ``function(*inputs)``, with their graphs; None for an input that needs none.

    Args:
        function: in torch's own operators.
        inputs: as they were saved for the backward pass.
        grad: of what the function returns.
    """
    with_graphs = torch.is_grad_enabled()
    with torch.enable_grad():
        out = function(*inputs)
    wanted = [one for one in inputs if one.requires_grad]
    found = iter(torch.autograd.grad(out, wanted, grad, create_graph=with_graphs))
    return [next(found) if one.requires_grad else None for one in inputs]


def relu_max_blur(x: Tensor, blur: Tensor, padding: int = 2, inside: Tensor | None = None) -> Tensor:
    """Returns ReLU, the 2 x 2 maximum at stride 1 and the blur at stride 2; see ``blurpool.pool_maps``."""
    largest = F.max_pool2d(F.relu(x), 2, stride=1)
    if inside is not None:
        largest = largest * inside[:, None]
    n_channels = x.shape[1]
    filters = blur.to(x.dtype).expand(n_channels, 1, -1, -1)
    return F.conv2d(largest, filters, stride=2, padding=padding, groups=n_channels)
