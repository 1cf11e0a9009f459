"""The networks, the table of their names, and ``build_model``.

Shapes: N images, C channels, H and W pixels, K classes, S the side of the square input. Every network is
``classify(embed(x))``, and ``embed`` begins with ``trunk``, the feature maps that carry its symmetry.

To add a network, subclass ``GalaxyNet``, write ``trunk``, ``embed`` and ``classify``, and add it to ``MODELS``.
"""

from __future__ import annotations

import importlib
import re
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgal.images.preparation import Preparation
from radgal.layers.basis import Symmetry, check_nrot
from radgal.layers.conventional import PooledConv2d, circular_mask
from radgal.layers.cpu.sky import Sky, images_alone, watch
from radgal.layers.modelinfo import (
    count_multiply_adds,
    count_parameters,
    equivariance_warning,
    exact_sides,
    layer_table,
    summary_text,
)
from utils import UserError, nearest

__all__ = [
    "MODELS",
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

HEADS = ("flatten", "invariant")
ENGINES = {"fast": "radgal.layers.steerable", "e2cnn": "radgal.layers.e2cnn_layers"}

# What a state dict of the published program holds beside the learned parameters: an empty tensor, the mask,
# filters that e2cnn caches in eval mode, its kernel bases, and the index tables of its pooling layers.
_PUBLISHED_EXTRAS = re.compile(
    r"dummy|mask(\.mask)?|\w+\.(filter|expanded_bias|bias_expansion|_basisexpansion\..*|(in|out)_indices_\d+)"
)


class GalaxyNet(nn.Module):
    """What all networks share: checks of the arguments, the mask, and the loading of published checkpoints.

    Differs from the published program: the mask is the same for every network (there it was applied by
    VanillaLeNet only), it is never saved, and it fades to the background's value instead of to a step.

    Args:
        in_chan: channels of the input.
        out_chan: number of classes K.
        imsize: side S of the square input, pixels, padding included.
        kernel_size: side of the convolution kernels, pixels.
        N: number of rotations of the group; only for the classes with ``takes_nrot``.
        mask: whether to fade out what lies beyond the circle inscribed in the image.
        head: 'flatten' as published, or 'invariant': the mean and the maximum of every feature map are all that
            the fully connected layers see, so that logits keep the symmetry of the trunk.
        dropout: probability with which ``classify`` drops an activation in train mode.
        background: value of an empty pixel in the normalized input, (0 - mean) / std; the mask fades to it.
        engine: 'fast', or 'e2cnn' for the stock layers of that library.

    Raises:
        UserError: if an argument is out of its range.
    """

    takes_nrot = False
    symmetry: tuple[str, int] = ("e", 1)
    kind = "e"
    min_map = 1

    def __init__(
        self,
        in_chan: int,
        out_chan: int,
        imsize: int,
        kernel_size: int = 5,
        N: int | None = None,
        *,
        mask: bool = True,
        head: str = "flatten",
        dropout: float = 0.5,
        background: float = 0.0,
        engine: str = "fast",
    ):
        super().__init__()
        self._check(N, imsize, kernel_size, head, dropout, engine)
        self.imsize, self.kernel_size = int(imsize), kernel_size
        self.head, self.background = head, float(background)
        self.register_buffer("mask", circular_mask(imsize) if mask else None, persistent=False)
        self.drop = nn.Dropout(dropout)
        if self.takes_nrot:
            group = Symmetry(self.kind, int(N))
            self.symmetry = (group.kind, group.n)
            self._build(in_chan, out_chan, kernel_size, group, engine)
        else:
            self._build(in_chan, out_chan, kernel_size, None, engine)

    def _build(self, in_chan: int, out_chan: int, kernel_size: int, group: Symmetry | None, engine: str) -> None:
        raise NotImplementedError

    @classmethod
    def map_side(cls, side: int, kernel_size: int) -> int:
        """Returns the side of the last feature map, pixels, for a square input of ``side`` pixels."""
        for _ in range(2):
            side = (side + 3 - kernel_size) // 2
        return side

    def _check(self, nrot: object, side: int, kernel_size: int, head: str, dropout: float, engine: str) -> None:
        name = type(self).__name__
        if self.takes_nrot:
            check_nrot(nrot, self.kind)
        elif nrot is not None:
            raise UserError(f"[model] nrot: {nrot!r} was given, but {name} has no group; leave nrot out")
        smallest = next(s for s in range(1, 10_000) if self.map_side(s, kernel_size) >= self.min_map)
        if side < smallest:
            exact = exact_sides(smallest, kernel_size)[1]
            also = f" ({exact} keeps the symmetry exact)" if self.takes_nrot else ""
            raise UserError(
                f"[training] imsize: {name} cannot take images of {side} x {side} pixels; "
                f"the smallest side that works is {smallest}{also}"
            )
        for key, value, known in (("head", head, HEADS), ("engine", engine, ENGINES)):
            if value not in known:
                raise UserError(f"[model] {key}: {value!r} is not one of {', '.join(map(repr, known))}")
        if not 0 <= dropout < 1:
            raise UserError(f"[model] dropout: {dropout!r} is not a probability from 0 up to, but not including, 1")

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits, (N, C, S, S) -> (N, K)."""
        return self.classify(self.embed(x))

    def trunk(self, x: Tensor) -> Tensor:
        """Returns the feature maps, (N, C, S, S) -> (N, C', z, z), the last that turn with the image."""
        raise NotImplementedError

    def embed(self, x: Tensor) -> Tensor:
        """Returns the activations before the first dropout, (N, C, S, S) -> (N, D)."""
        raise NotImplementedError

    def classify(self, z: Tensor) -> Tensor:
        """Returns the logits of embedded images, (N, D) -> (N, K); with dropout in train mode."""
        raise NotImplementedError

    def prepare(self, x: Tensor) -> Tensor:
        """Returns the input as the first layer sees it: of the right side, and masked if this network masks.

        Raises:
            UserError: if the images have another side than the network was built for.
        """
        if x.shape[-2:] != (self.imsize, self.imsize):
            raise UserError(
                f"images of {x.shape[-2]} x {x.shape[-1]} pixels given to a network "
                f"built for {self.imsize} x {self.imsize}"
            )
        if self.mask is None:
            return x
        return (x - self.background) * self.mask + self.background

    def look(self, x: Tensor) -> tuple[Tensor, Sky | None]:
        """Returns the prepared images and, where the first layer uses it, their sky; see ``radgal.layers.cpu.sky``."""
        x = self.prepare(x)
        return watch(x, self) if hasattr(self.conv1, "with_sky") else (x, None)

    def flatten(self, maps: Tensor) -> Tensor:
        """Returns what the fully connected layers read of the feature maps, (N, C', z, z) -> (N, D')."""
        if self.head == "flatten":
            return maps.flatten(1)
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)

    def _n_flat(self, n_maps: int, kernel_size: int) -> int:
        z = self.map_side(self.imsize, kernel_size)
        return n_maps * z * z if self.head == "flatten" else 2 * n_maps

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors) -> None:
        for key in [key for key in state_dict if key.startswith(prefix)]:
            if _PUBLISHED_EXTRAS.fullmatch(key[len(prefix) :]):
                extra = state_dict.pop(key)
                if key.endswith(".sampled_basis"):
                    self._check_basis(key[len(prefix) :], extra, errors)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing, unexpected, errors)

    def _check_basis(self, key: str, basis: Tensor, errors: list[str]) -> None:
        """Adds an error if the checkpoint's weights are coefficients of another basis than this network's."""
        layer = getattr(self, key.split(".")[0], None)
        expected = layer.sampled_basis() if hasattr(layer, "sampled_basis") else None
        if expected is None or (
            expected.shape == basis.shape and torch.allclose(expected, basis.to(expected), atol=1e-4)
        ):
            return
        errors.append(f"{key}: the checkpoint was made for another group or kernel size than {self.symmetry}")


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


def _convolve_and_pool(x: Tensor, sky: Sky | None, conv: nn.Module, *pool: nn.Module) -> tuple[Tensor, Sky | None]:
    """Returns the pooled maps and their sky; layers that make use of the sky, or do both at once, do."""
    if hasattr(conv, "with_sky"):
        return conv.with_sky(x, sky, *pool)
    x = conv(x)
    return (pool[0](x) if pool else x), None


class VanillaLeNet(_LeNet):
    """The plain LeNet: convolutions to 6 and to 16 channels, each with ReLU and max pooling by 2."""

    def _build(self, in_chan: int, out_chan: int, kernel_size: int, group: Symmetry | None, engine: str) -> None:
        self.conv1 = PooledConv2d(in_chan, 6, kernel_size, padding=1)
        self.conv2 = PooledConv2d(6, 16, kernel_size, padding=1)
        self._build_head(out_chan, kernel_size)

    def trunk(self, x: Tensor) -> Tensor:
        x, sky = self.look(x)
        for conv in (self.conv1, self.conv2):
            x, sky = _convolve_and_pool(x, sky, conv)
        return images_alone(x, sky)


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
        x, sky = self.look(x)
        x, sky = _convolve_and_pool(x, sky, self.conv1, self.pool1)
        x, sky = _convolve_and_pool(x, sky, self.conv2, self.pool2)
        return self.gpool(images_alone(x, sky))


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
        x, sky = self.look(x)
        x, sky = _convolve_and_pool(x, sky, self.conv1, self.pool1)
        x, sky = _convolve_and_pool(self.gpool(x), sky, self.conv2)
        return images_alone(x, sky)


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
    in_chan: int = 1,
    n_classes: int,
    side: int,
    nrot: int | None = None,
    mask: bool = True,
    head: str = "flatten",
    dropout: float = 0.5,
    background: float = 0.0,
    engine: str = "fast",
) -> GalaxyNet:
    """Returns the network called ``name`` with fresh weights, on the CPU, in train mode.

    Args:
        side: side of the square input, pixels, padding included. The rest are those of ``GalaxyNet``.

    Raises:
        UserError: if there is no such network, or it cannot be built with these arguments.
    """
    if name not in MODELS:
        hint = nearest(name, MODELS)
        meant = f"; did you mean {hint!r}?" if hint else ""
        raise UserError(f"[model] base: {name!r} is not one of {', '.join(MODELS)}{meant}")
    return MODELS[name](
        in_chan,
        n_classes,
        side,
        N=nrot,
        mask=mask,
        head=head,
        dropout=dropout,
        background=background,
        engine=engine,
    )


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
