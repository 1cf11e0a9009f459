"""Networks of torch's own layers, of the same function: what can be stored for other programs.

A layer of this program, or of e2cnn, says its plain form itself, in a method ``to_plain``. It holds for subclasses
until one of them computes in another way.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from radgal.layers.constants import for_keeps
from utils import UserError

BLUR_SIGMA = 0.6
"""Width in pixels of the filter of the anti-aliased pooling; e2cnn's default, and the published networks'."""
COMPUTING = ("forward", "with_sky", "expand")
"""Methods that say what a layer computes: a class with one of its own needs a plain form of its own."""


class GroupMax(nn.Module):
    """Maximum over each ``order`` consecutive channels, (N, C, H, W) -> (N, C / order, H, W)."""

    def __init__(self, order: int):
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """Returns the pooled channels."""
        return x.unflatten(1, (-1, self.order)).amax(2)

    def to_plain(self) -> GroupMax:
        """Returns a maximum alone, for torch has no such layer; of a subclass as well."""
        return GroupMax(self.order)


def plain_conv(weight: Tensor, padding: int, bias: Tensor | None = None) -> nn.Conv2d:
    """Returns the convolution with a copy of a filter, (C', C, k, k), and of a bias, (C',), if there is one."""
    out_channels, in_channels, kernel_size, _ = weight.shape
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, bias=bias is not None)
    conv.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach().clone())
    return conv


def plain_relu_max_blur(n_channels: int) -> nn.Sequential:
    """Returns ReLU and the anti-aliased pooling of ``n_channels`` channels."""
    blur = gaussian_blur().repeat(n_channels, 1, 1, 1)
    conv = nn.Conv2d(n_channels, n_channels, 5, stride=2, padding=2, groups=n_channels, bias=False)
    conv.weight = nn.Parameter(blur)
    return nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, stride=1), conv)


@for_keeps()
def gaussian_blur(sigma: float = BLUR_SIGMA) -> Tensor:
    """Returns e2cnn's normalized blur filter of ``sigma`` pixels: (1, 1, 5, 5) for 0.6, rounded as there."""
    size = 2 * round(4 * sigma) + 1
    offset = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    blur = torch.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * sigma**2))
    return (blur / blur.sum())[None, None]


def to_plain(module: nn.Module) -> nn.Module:
    """Returns a copy of a network in which every layer of this program, or of e2cnn, is in its plain form.

    Raises:
        UserError: if a layer does not say its plain form.
    """
    if _is_own_layer(module):
        if not _says_its_plain_form(type(module)):
            raise UserError(f"{type(module).__name__} has no plain form: write its method `to_plain`")
        return module.to_plain()
    plain = copy.copy(module)
    plain._modules = {name: child if child is None else to_plain(child) for name, child in module._modules.items()}
    plain._parameters, plain._buffers = copy.deepcopy(module._parameters), copy.deepcopy(module._buffers)
    return plain


def _is_own_layer(module: nn.Module) -> bool:
    """Returns whether a module is a layer that torch does not have; a network is none, but made of layers."""
    homes = {cls.__module__ for cls in type(module).__mro__} - {"radgal.layers.network", "radgal.layers.constants"}
    return hasattr(module, "to_plain") or any(home.startswith(("radgal.layers.", "e2cnn.")) for home in homes)


def _says_its_plain_form(kind: type) -> bool:
    """Returns whether the plain form that a class has, or inherits, is that of what it computes."""
    for cls in kind.__mro__:
        if "to_plain" in vars(cls):
            return True
        if any(name in vars(cls) for name in COMPUTING):
            return False
    return False
