"""The networks, the table of their names, and ``build_model``.

Shapes: N images, C channels, H and W pixels, K classes, S the side of the square input. Every network is
``classify(embed(x))``, and ``embed`` begins with ``trunk``, the feature maps that carry its symmetry.

To add a network, subclass ``GalaxyNet``, write ``_build``, ``trunk``, ``embed`` and ``classify`` (and ``fields``, if it
has a symmetry, for the demo), and add it to ``MODELS``. What its layers are called is its own affair. If its trunk is
not two convolutions with padding 1, each with pooling by 2, say so by ``n_poolings``, or by ``map_side``.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from radgal.images.preparation import Preparation
from radgal.layers.basis import Symmetry
from radgal.layers.conventional import PooledConv2d
from radgal.layers.modelinfo import (
    count_multiply_adds,
    count_parameters,
    equivariance_warning,
    exact_sides,
    layer_table,
    summary_text,
)
from radgal.layers.network import ENGINES, HEADS, GalaxyNet
from utils import UserError, nearest

__all__ = [
    "ENGINES",
    "HEADS",
    "MODELS",
    "GalaxyNet",
    "build_from_config",
    "build_model",
    "count_multiply_adds",
    "count_parameters",
    "equivariance_warning",
    "exact_sides",
    "layer_table",
    "needs_nrot",
    "summary_text",
]


class _LeNet(GalaxyNet):
    """The LeNet of Scaife & Porter 2021 (arXiv:2102.08252): two convolutions, three fully connected layers."""

    def _build_head(self, out_chan: int, kernel_size: int) -> None:
        self.fc1 = nn.Linear(self._n_flat(16, kernel_size), 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, out_chan)

    def embed(self, x: Tensor) -> Tensor:
        z = F.relu(self.fc1(self.flatten(self.trunk(x))))
        return F.relu(self.fc2(z))

    def classify(self, z: Tensor) -> Tensor:
        return self.fc3(self.drop(z))


def _layers(engine: str) -> ModuleType:
    """Returns the module that holds the steerable layers of ``engine``; e2cnn is imported only where asked for."""
    return importlib.import_module(ENGINES[engine])


class VanillaLeNet(_LeNet):
    """The plain LeNet: convolutions to 6 and to 16 channels, each with ReLU and max pooling by 2."""

    def _build(self, in_chan: int, out_chan: int, kernel_size: int, group: Symmetry | None, engine: str) -> None:
        self.conv1 = PooledConv2d(in_chan, 6, kernel_size, padding=1)
        self.conv2 = PooledConv2d(6, 16, kernel_size, padding=1)
        self._build_head(out_chan, kernel_size)

    def trunk(self, x: Tensor) -> Tensor:
        return self.look(x, self.conv1).through(self.conv1).through(self.conv2).of_batch()


class _SteerableLeNet(_LeNet):
    """The LeNet with regular fields in place of channels and a maximum over the group before the flatten.

    The trunk is equivariant: turning the image by an element of the group turns the feature maps. On the pixel
    grid this is exact for multiples of 90 degrees and reflections, if S is one of ``exact_sides``. Approximate
    because: other angles need values between the pixels. With head 'flatten' the logits are **not** invariant.
    """

    takes_nrot = True

    def _build(self, in_chan: int, out_chan: int, kernel_size: int, group: Symmetry | None, engine: str) -> None:
        layers = _layers(engine)
        self.conv1 = layers.SteerableConv(group, in_chan, 6, kernel_size, padding=1, regular_input=False)
        self.pool1 = layers.ReluMaxPool(group, 6)
        self.conv2 = layers.SteerableConv(group, 6, 16, kernel_size, padding=1)
        self.pool2 = layers.ReluMaxPool(group, 16)
        self.gpool = layers.GroupPool(group, 16)
        self._build_head(out_chan, kernel_size)

    def trunk(self, x: Tensor) -> Tensor:
        return self.gpool(self.fields(x))

    def fields(self, x: Tensor) -> Tensor:
        maps = self.look(x, self.conv1)
        return maps.through(self.conv1, self.pool1).through(self.conv2, self.pool2).of_batch()


class CNSteerableLeNet(_SteerableLeNet):
    """The LeNet equivariant to rotations by multiples of 360/N degrees: 6 and 16 regular fields of C_N."""

    kind = "C"


class DNSteerableLeNet(_SteerableLeNet):
    """The LeNet equivariant to those rotations and to reflections: 6 and 16 regular fields of D_N."""

    kind = "D"


class DNRestrictedLeNet(_LeNet):
    """A D_N-steerable first layer, pooled over the group, and a plain second layer.

    The first layer's maps turn with the image; the second layer, as in VanillaLeNet, may prefer an orientation,
    so the trunk as a whole has no symmetry.
    """

    takes_nrot = True
    kind = "D"

    def _build(self, in_chan: int, out_chan: int, kernel_size: int, group: Symmetry | None, engine: str) -> None:
        layers = _layers(engine)
        self.symmetry = ("e", 1)
        self.conv1 = layers.SteerableConv(group, in_chan, 6, kernel_size, padding=1, regular_input=False)
        self.pool1 = layers.ReluMaxPool(group, 6)
        self.gpool = layers.GroupPool(group, 6)
        self.conv2 = PooledConv2d(6, 16, kernel_size, padding=1)
        self._build_head(out_chan, kernel_size)

    def trunk(self, x: Tensor) -> Tensor:
        maps = self.look(x, self.conv1)
        maps = maps.through(self.conv1, self.pool1).each(self.gpool)
        return maps.through(self.conv2).of_batch()


class HMTNet(GalaxyNet):
    """After Tang, Scaife & Leahy 2019 (MNRAS 488, 3358, arXiv:1903.11921): five convolutions with batch norm.

    Known: five convolutions, each with batch normalization and ReLU, max pooling, three fully connected layers
    with dropout, input of 150 x 150 pixels. Assumed: kernels of 11, 5, 3, 3, 3 pixels and 6, 16, 24, 24, 16
    channels, pooling by 2, 2 and 5 after the first, second and fifth convolution, 256 units in the first two
    fully connected layers. ``kernel_size`` is that of the second convolution; the others are fixed.
    """

    @classmethod
    def map_side(cls, side: int, kernel_size: int) -> int:
        side = (side - 8) // 2
        side = (side + 3 - kernel_size) // 2
        return side // 5

    def _build(self, in_chan: int, out_chan: int, kernel_size: int, group: Symmetry | None, engine: str) -> None:
        widths = (in_chan, 6, 16, 24, 24, 16)
        for i, size in enumerate((11, kernel_size, 3, 3, 3), start=1):
            setattr(self, f"conv{i}", nn.Conv2d(widths[i - 1], widths[i], size, padding=1))
            setattr(self, f"bn{i}", nn.BatchNorm2d(widths[i]))
        self.fc1 = nn.Linear(self._n_flat(16, kernel_size), 256)
        self.fc2 = nn.Linear(256, 256)
        self.fc3 = nn.Linear(256, out_chan)

    def trunk(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(self.prepare(x)))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.relu(self.bn4(self.conv4(x)))
        return F.max_pool2d(F.relu(self.bn5(self.conv5(x))), 5)

    def embed(self, x: Tensor) -> Tensor:
        return F.relu(self.fc1(self.flatten(self.trunk(x))))

    def classify(self, z: Tensor) -> Tensor:
        return self.fc3(self.drop(F.relu(self.fc2(self.drop(z)))))


MODELS: dict[str, type[GalaxyNet]] = {
    "VanillaLeNet": VanillaLeNet,
    "CNSteerableLeNet": CNSteerableLeNet,
    "DNSteerableLeNet": DNSteerableLeNet,
    "DNRestrictedLeNet": DNRestrictedLeNet,
    "HMTNet": HMTNet,
}


def build_model(
    name: str,
    *,
    n_classes: int,
    side: int,
    in_chan: int = 1,
    nrot: int | None = None,
    **options: Any,
) -> GalaxyNet:
    """Returns the network called ``name`` with fresh weights, on the CPU, in train mode.

    Args:
        n_classes: K.
        side: S, pixels, padding included.
        in_chan: channels of the input.
        nrot: number of rotations of the group, for the networks that have one.
        options: of ``radgal.layers.network.NetworkOptions``, by name: mask, head, dropout, background, engine.

    Raises:
        UserError: if there is no such network, or it cannot be built with these arguments.
    """
    if name not in MODELS:
        hint = nearest(name, MODELS)
        meant = f"; did you mean {hint!r}?" if hint else ""
        raise UserError(f"[model] base: {name!r} is not one of {', '.join(MODELS)}{meant}")
    return MODELS[name](in_chan, n_classes, side, N=nrot, **options)


def build_from_config(cfg, classes: tuple[str, ...], preparation: Preparation) -> GalaxyNet:
    """Returns the network that a config asks for, for images that are prepared so.

    Differs from the published program: the mask fades to the value that an empty pixel has after normalization,
    not to 0.
    """
    return build_model(
        cfg.model.base,
        n_classes=len(classes),
        side=preparation.side,
        nrot=cfg.model.nrot,
        mask=cfg.model.mask,
        head=cfg.model.head,
        dropout=cfg.model.dropout,
        background=preparation.background,
        engine=cfg.model.engine,
    )


def needs_nrot() -> dict[str, bool]:
    """Returns for each network's name whether it takes ``nrot``."""
    return {name: model.takes_nrot for name, model in MODELS.items()}
