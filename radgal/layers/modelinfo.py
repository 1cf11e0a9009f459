"""What can be said of a built network: parameters, cost, layer table, whether its symmetry is exact."""

from __future__ import annotations

import contextlib
import copy
import io
import threading

import torch
from torch import nn


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Returns the number of trainable parameters and of all parameters."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(n for n, trainable in sizes if trainable), sum(n for n, _ in sizes)


def count_multiply_adds(model: nn.Module, side: int) -> int:
    """Returns the multiply-adds of one image's forward pass: dense convolutions and fully connected layers.

    Steerable convolutions are counted in their dense form, whichever form the engine computes.

    Args:
        side: side of the square image, pixels.
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal total
        if hasattr(layer, "in_features"):
            total += output.numel() * layer.in_features
        else:
            size = layer.kernel_size
            area = size * size if isinstance(size, int) else size[0] * size[1]
            computed = output.numel() * getattr(layer, "pool", 1) ** 2
            total += computed * layer.in_channels // getattr(layer, "groups", 1) * area

    model = _idle_copy(model)
    counted = [layer for layer in model.modules() if hasattr(layer, "in_features") or hasattr(layer, "in_channels")]
    for layer in counted:
        layer.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, model.in_chan, side, side))
    return total


_PRINTING = threading.Lock()  # of two threads that redirect the output at once, neither would get it back


def layer_table(model: nn.Module, side: int) -> str:
    """Returns torchsummary's table of layers, without its totals, which leave out steerable layers elsewhere.

    The network, its mode and the random state are left as they are.

    Args:
        side: side of the square image, pixels.
    """
    from torchsummary import summary

    model = _idle_copy(model)
    text = io.StringIO()
    with _PRINTING, torch.random.fork_rng(devices=[]), torch.no_grad(), contextlib.redirect_stdout(text):
        summary(model, (model.in_chan, side, side), device="cpu")
    return text.getvalue().split("Total params")[0].rstrip().rstrip("=").rstrip()


def summary_text(model: nn.Module) -> str:
    """Returns the layer table and, beside it, counts that hold for steerable layers as well."""
    trainable, total = count_parameters(model)
    frozen = f" and {total - trainable:,} frozen" if total > trainable else ""
    cost = count_multiply_adds(model, model.imsize)
    kind, n = model.symmetry
    group = "no symmetry built in" if kind == "e" else f"equivariant under {kind}_{n}"
    return (
        f"{layer_table(model, model.imsize)}\n{type(model).__name__}: {trainable:,} trainable{frozen} "
        f"parameters, {cost:,} multiply-adds an image, {group}"
    )


def _idle_copy(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).cpu().float().eval()


def is_exact_side(side: int, kernel_size: int = 5, n_poolings: int = 2) -> bool:
    """Returns whether the steerable trunk is exactly equivariant to 90 degree turns of images of this side.

    Every anti-aliased pooling must sample a symmetric grid: after each convolution (padding 1) the side must be
    even. For two poolings and kernels of 5 pixels that is side = 4 k + 2.
    """
    for _ in range(n_poolings):
        side += 3 - kernel_size
        if side < 0 or side % 2:
            return False
        side //= 2
    return True


def exact_sides(near: int, kernel_size: int = 5, n_poolings: int = 2) -> tuple[int, int]:
    """Returns the nearest sides, at most and at least ``near`` pixels, that keep 90 degree turns exact."""
    period = 2**n_poolings
    below = next(side for side in range(near, near - period, -1) if is_exact_side(side, kernel_size, n_poolings))
    above = next(side for side in range(near, near + period) if is_exact_side(side, kernel_size, n_poolings))
    return below, above


def equivariance_warning(model: nn.Module, downsample: int = 1) -> str | None:
    """Returns a warning if the side of the images spoils the symmetry of the trunk on the grid, or None.

    Args:
        model: with ``symmetry``, ``imsize``, ``kernel_size`` and ``n_poolings``.
        downsample: how many pixels of the images make one of the network's input, along each side.
    """
    kind, n = model.symmetry
    shape = model.kernel_size, model.n_poolings
    if kind == "e" or (kind == "C" and n % 2) or is_exact_side(model.imsize, *shape):
        return None
    below, above = (downsample * side for side in exact_sides(model.imsize, *shape))
    averaged = f", averaged to {model.imsize} px," if downsample > 1 else ""
    return (
        f"warning: at {downsample * model.imsize} px (imsize + pad){averaged} pooling drops a row and a column, which "
        f"breaks the exact equivariance of {type(model).__name__} under {kind}{n}; the nearest sizes that keep it are "
        f"{below} and {above} px"
    )
