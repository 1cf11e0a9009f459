"""What all networks share: options, checks of the arguments, the mask, and the flatten in front of the classifier.

Shapes: N images, C channels, H and W pixels, K classes, S the side of the square input, z that of the last maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgal.layers.basis import Symmetry, check_nrot
from radgal.layers.constants import WithConstants, here
from radgal.layers.conventional import circular_mask
from radgal.layers.cpu.maps import Maps, watch
from radgal.layers.cpu.sky import runs_eagerly_on_cpu
from radgal.layers.modelinfo import exact_sides
from radgal.layers.publishedkeys import take_out_extras
from utils import UserError

HEADS = ("flatten", "invariant")
ENGINES = {"fast": "radgal.layers.steerable", "e2cnn": "radgal.layers.e2cnn_layers"}
"""Modules of steerable layers by the name of the engine; e2cnn's is imported only where it is asked for."""
LARGEST_SIDE = 10_000
"""Pixels: where the search for the smallest image that a network can take gives up."""


@dataclass(frozen=True)
class NetworkOptions:
    """What a network may be told besides its shape.

    Attributes:
        mask: whether to fade out what lies beyond the circle inscribed in the image.
        head: 'flatten' as published, or 'invariant': the mean and the maximum of every feature map are all that
            the fully connected layers see, so that logits keep the symmetry of the trunk.
        dropout: probability with which ``classify`` drops an activation in train mode.
        background: value of an empty pixel in the normalized input, (0 - mean) / std; the mask fades to it.
        engine: 'fast', or 'e2cnn' for the stock layers of that library.

    Raises:
        UserError: if one is out of its range.
    """

    mask: bool = True
    head: str = "flatten"
    dropout: float = 0.5
    background: float = 0.0
    engine: str = "fast"

    def __post_init__(self) -> None:
        for key, value, known in (("head", self.head, HEADS), ("engine", self.engine, ENGINES)):
            if value not in known:
                raise UserError(f"[model] {key}: {value!r} is not one of {', '.join(map(repr, known))}")
        if not 0 <= self.dropout < 1:
            raise UserError(
                f"[model] dropout: {self.dropout!r} is not a probability from 0 up to, but not including, 1"
            )


class GalaxyNet(WithConstants):
    """What all networks share: checks of the arguments, the mask, and the loading of published checkpoints.

    Differs from the published program: the mask is the same for every network (there it was applied by
    VanillaLeNet only), it is never saved, and it fades to the background's value instead of to a step.

    Args:
        in_chan: channels of the input.
        out_chan: number of classes K.
        imsize: side S of the square input, pixels, padding included.
        kernel_size: side of the convolution kernels, pixels.
        N: number of rotations of the group; only for the classes with ``takes_nrot``.
        options: those of ``NetworkOptions``, by name.

    Raises:
        UserError: if an argument is out of its range.
    """

    takes_nrot = False
    symmetry: tuple[str, int] = ("e", 1)
    kind = "e"
    n_poolings = 2  # convolutions in a row, each with padding 1 and pooling by 2, that make the trunk
    min_map = 1

    def __init__(
        self,
        in_chan: int,
        out_chan: int,
        imsize: int,
        kernel_size: int = 5,
        N: int | None = None,
        **options: Any,
    ):
        super().__init__()
        group = self._group(N)
        self._check_side(imsize, kernel_size)
        chosen = NetworkOptions(**options)
        self.in_chan, self.imsize, self.kernel_size = in_chan, int(imsize), kernel_size
        self.head, self.background = chosen.head, float(chosen.background)
        self.register_buffer("mask", here(circular_mask(imsize)) if chosen.mask else None, persistent=False)
        self.drop = nn.Dropout(chosen.dropout)
        if group is not None:
            self.symmetry = (group.kind, group.n)
        self._build(in_chan, out_chan, kernel_size, group, chosen.engine)

    def _build(self, in_chan: int, out_chan: int, kernel_size: int, group: Symmetry | None, engine: str) -> None:
        """Makes the layers; ``group`` is that of a class with ``takes_nrot``, and ``engine`` a key of ``ENGINES``."""
        raise NotImplementedError

    def constants(self) -> dict[str, Tensor]:
        """Returns the mask, if this network has one; a subclass with further buffers of that kind adds them."""
        return {} if self.mask is None else {"mask": circular_mask(self.imsize)}

    def _group(self, nrot: object) -> Symmetry | None:
        """Returns the group of ``nrot`` rotations, or None for a network without one."""
        if self.takes_nrot:
            return Symmetry(self.kind, check_nrot(nrot, self.kind))
        if nrot is not None:
            raise UserError(f"[model] nrot: {nrot!r} was given, but {type(self).__name__} has no group; leave nrot out")
        return None

    def _check_side(self, side: int, kernel_size: int) -> None:
        smallest = next(s for s in range(1, LARGEST_SIDE) if self.map_side(s, kernel_size) >= self.min_map)
        if side >= smallest:
            return
        exact = exact_sides(smallest, kernel_size, self.n_poolings)[1]
        also = f" ({exact} keeps the symmetry exact)" if self.takes_nrot else ""
        raise UserError(
            f"[training] imsize: {type(self).__name__} cannot take images of {side} x {side} pixels, "
            f"(imsize + pad) / downsample; the smallest side that works is {smallest}{also}"
        )

    @classmethod
    def map_side(cls, side: int, kernel_size: int) -> int:
        """Returns the side of the last feature map, pixels, for a square input of ``side`` pixels."""
        for _ in range(cls.n_poolings):
            side = (side + 3 - kernel_size) // 2
        return side

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits, (N, C, S, S) -> (N, K)."""
        return self.classify(self.embed(x))

    def trunk(self, x: Tensor) -> Tensor:
        """Returns the feature maps, (N, C, S, S) -> (N, C', z, z), the last that turn with the image."""
        raise NotImplementedError

    def fields(self, x: Tensor) -> Tensor:
        """Returns the trunk's last regular fields, (N, C, S, S) -> (N, F |G|, z, z), before the maximum over the group.

        Only networks with a ``symmetry`` have them, and only the demo of the feature space asks for them.
        """
        raise UserError(f"{type(self).__name__} does not give its regular fields: write its method `fields`")

    def embed(self, x: Tensor) -> Tensor:
        """Returns the activations before the first dropout, (N, C, S, S) -> (N, D)."""
        raise NotImplementedError

    def classify(self, z: Tensor) -> Tensor:
        """Returns the logits of embedded images, (N, D) -> (N, K); with dropout in train mode."""
        raise NotImplementedError

    def loss(self, p: Tensor, y: Tensor) -> Tensor:
        """Returns the cross entropy of logits (N, K) and labels (N,), nats, the mean over the images.

        Under this name, and with these arguments, it was in the published program.
        """
        return F.cross_entropy(p, y)

    def enable_dropout(self) -> None:
        """Turns the dropout layers on and leaves all others in their mode: for passes of MC dropout after ``eval()``.

        Under this name it was in the published program. ``eval()`` turns them off again.
        """
        for module in self.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.train()

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
        shifted = x - self.background
        if runs_eagerly_on_cpu(x):
            return shifted.mul_(self.mask).add_(self.background)
        return shifted * self.mask + self.background  # of a stack of networks (vmap) nothing can be changed in place

    def look(self, x: Tensor, first: nn.Module) -> Maps:
        """Returns the prepared images as the maps that ``first`` reads, with their sky if it makes use of that."""
        x = self.prepare(x)
        return watch(x, self) if hasattr(first, "with_sky") else Maps(x)

    def flatten(self, maps: Tensor) -> Tensor:
        """Returns what the fully connected layers read of the feature maps, (N, C', z, z) -> (N, D')."""
        if self.head == "flatten":
            return maps.flatten(1)
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)

    def _n_flat(self, n_maps: int, kernel_size: int) -> int:
        z = self.map_side(self.imsize, kernel_size)
        return n_maps * z * z if self.head == "flatten" else 2 * n_maps

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors) -> None:
        errors += take_out_extras(state_dict, prefix, self)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing, unexpected, errors)
