"""What goes through the trunk of a network: the feature maps of a batch and, where that can save work, its sky.

Shapes: N images, the empty one included, C channels, H and W pixels, T side of a tile, M tiles that are computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgal.layers.cpu.sky import Sky, runs_eagerly_on_cpu
from radgal.layers.cpu.tiles import Assemble, Layout

FEWEST_IMAGES = 4
"""In smaller batches the empty image costs more than the sky of the others saves."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where torch keeps the hooks of a module; those of all modules are in globals of nearly the same names."""
FULLEST_IMAGES = 0.2
"""Share of occupied pixels above which the sky is not looked for. FIRST images have 0.02, images with noise 1."""


@dataclass
class Maps:
    """The feature maps of a batch.

    Attributes:
        values: the maps, (N, C, H, W); or with a ``layout`` the tiles, (M, C, T, T), that are yet to be joined.
        sky: where the images are empty, as seen from these maps; the last image is then an empty one that was not in
            the batch. None: not known, and all images are the batch's.
        layout: which tiles of which maps the values are.
    """

    values: Tensor
    sky: Sky | None = None
    layout: Layout | None = None

    @property
    def size(self) -> tuple[int, ...]:
        """Returns the height and width of the maps, joined or not."""
        return tuple(self.values.shape[-2:]) if self.layout is None else (self.layout.height, self.layout.width)

    def joined(self) -> Tensor:
        """Returns the maps as a tensor, (N, C, H, W)."""
        return self.values if self.layout is None else Assemble.apply(self.values, *self.layout)

    def of_batch(self) -> Tensor:
        """Returns the maps of the batch's own images, without those of the empty image."""
        return self.joined() if self.sky is None else self.joined()[:-1]

    def each(self, function: Callable[[Tensor], Tensor]) -> Maps:
        """Returns what ``function`` makes of the maps; it must treat every pixel alike, and images apart."""
        return Maps(function(self.values), self.sky, self.layout)

    def through(self, conv: nn.Module, *pool: nn.Module) -> Maps:
        """Returns what a convolution, and the pooling behind it if that is a module, make of the maps.

        Layers with a ``with_sky`` make use of the sky, or do both at once; any other sees the batch's own images.
        """
        if hasattr(conv, "with_sky"):
            return conv.with_sky(self, *pool)
        x = conv(self.of_batch())
        for module in pool:
            x = module(x)
        return Maps(x)


def watch(x: Tensor, model: nn.Module) -> Maps:
    """Returns the images with an empty one behind them, and their sky; or the images alone, where that cannot pay.

    Args:
        x: (N, C, S, S), as the first layer sees them. The background is what most of them hold in a corner.
        model: the network; if hooks watch it, they are shown the batch as it is.
    """
    plain = x.requires_grad or not runs_eagerly_on_cpu(x) or torch.is_autocast_enabled("cpu")
    if plain or len(x) < FEWEST_IMAGES or is_watched(model):
        return Maps(x)
    empty = x[:, :, :1, :1].mode(0, keepdim=True).values
    occupied = (x != empty).any(1).to(torch.float32)
    if occupied.mean() > FULLEST_IMAGES:
        return Maps(x)
    x = torch.cat([x, empty.expand(1, *x.shape[1:])])
    return Maps(x, Sky(F.pad(occupied, (0, 0, 0, 0, 0, 1))))


def is_watched(model: nn.Module) -> bool:
    """Returns whether a hook, of one module or of all, looks at what goes through any of these."""
    own = any(getattr(one, kind) for one in model.modules() for kind in HOOKS)
    return own or any(getattr(nn.modules.module, f"_global{kind}") for kind in HOOKS)
