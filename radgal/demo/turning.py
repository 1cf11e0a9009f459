"""The rotation demo: what a network's feature space does while its input turns, and whether it stands still after.

An image is turned through 360 degrees. At every angle a network's fields are taken, and turned back ("stabilized", the
view of someone who turns with the source). For an E(2)-steerable network the stabilized fields stand still but for the
pixel grid (Weiler & Cesa 2019, arXiv:1911.08251); for a conventional one they change.

Legend: T angles, S pixels along each side of the input, s pixels along each side of the fields.
Three channels are a scalar field and the x (right) and y (up) components of a vector field, which transforms under the
frequency-1 irrep of the group: its arrows turn with the image.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from radgal.demo.fieldnetworks import FieldNetwork, Fields
from radgal.images.transforms import exact_quarter_turns
from radgal.layers.e2cnn_compat import patch_e2cnn
from utils import UserError

UNTRAINED_SIDE = 130  # px: every layer keeps the size, so any side is exact; this one is smooth to look at
QUARTER_TURNS = (90.0, 180.0)
"""Angles at which the pixel grid is mapped onto itself, so that an equivariant network's fields must not change."""


@dataclass(frozen=True)
class Demo:
    """What the figure shows of one network; ``angles_deg`` are counter-clockwise as displayed.

    Attributes:
        inputs: (T, S, S), pixels of 0 to 1.
        features: (T, 3, s, s), the fields as they turn.
        stabilized: (T, 3, s, s), the fields turned back.
        change: (T,), relative change of ``stabilized``; see :func:`relative_change`.
        exact_change: the same for each of ``QUARTER_TURNS``.
    """

    label: str
    equivariant: bool
    angles_deg: np.ndarray
    inputs: np.ndarray
    features: np.ndarray
    stabilized: np.ndarray
    change: np.ndarray
    exact_change: dict[float, float]


@functools.cache
def _plane_types() -> dict[int, object]:
    """Returns e2cnn's field types under continuous rotations: of one scalar (1 channel), and with a vector (3)."""
    patch_e2cnn()
    from e2cnn import gspaces
    from e2cnn import nn as e2nn

    space = gspaces.Rot2dOnR2(-1, maximum_frequency=1)
    return {
        1: e2nn.FieldType(space, [space.trivial_repr]),
        3: e2nn.FieldType(space, [space.trivial_repr, space.irrep(1)]),
    }


def turn(x: Tensor, angle_deg: float) -> Tensor:
    """Returns fields turned counter-clockwise as displayed: the map about its center, and the arrows with it.

    Quarter turns move whole pixels; others are interpolated by splines of order 2 (e2cnn's ``transform``).

    Args:
        x: (N, 1, s, s), scalar fields such as images, or (N, 3, s, s), a scalar and a vector field.
        angle_deg: degrees.
    """
    field_type = _plane_types()[x.shape[1]]
    from e2cnn import nn as e2nn

    quarters = exact_quarter_turns(angle_deg)
    angle = math.radians(angle_deg % 360) if quarters is None else quarters * (math.pi / 2)
    return e2nn.GeometricTensor(x, field_type).transform(angle).tensor


def disc(side: int, radius: float = 1.0) -> Tensor:
    """Returns a bool (side, side) mask of the inscribed disc less one pixel, or of a fraction ``radius`` of it."""
    y = torch.arange(side) - (side - 1) / 2
    return y[:, None] ** 2 + y**2 <= (radius * (side / 2 - 1)) ** 2


def relative_change(stabilized: Tensor, upright: Tensor) -> float:
    """Returns how far stabilized fields are from the upright ones, (3, s, s) each.

    It is sqrt((a^2 + b^2) / 2) with a and b the ratios ||stabilized - upright|| / ||upright|| of the scalar and of the
    vector field, over the pixels of the inscribed disc: 0 if nothing changes, about 1 if they have nothing in common.

    Raises:
        UserError: if an upright field vanishes.
    """
    inside = disc(upright.shape[-1])
    squares = []
    for channels in (slice(0, 1), slice(1, 3)):
        difference = (stabilized[channels, inside] - upright[channels, inside]).double().norm()
        reference = float(upright[channels, inside].double().norm())
        if not reference > 0:
            raise UserError("this network gives empty fields for this image; choose another --seed or image")
        squares.append((float(difference) / reference) ** 2)
    return math.sqrt(sum(squares) / 2)


def prepare_image(pixels: np.ndarray, side: int, crop: int | None = None, name: str = "the image") -> Tensor:
    """Returns an image as the demo turns it: (1, 1, side, side), values 0 to 1, fading to 0 at the inscribed circle.

    Args:
        pixels: uint8 (H, W).
        side: S, pixels.
        crop: side of the central square that is used, pixels; None for S. Enlarged to S by bicubic interpolation.
        name: of the image, for the error.

    Raises:
        UserError: if nothing is left to see.
    """
    crop = min(side if crop is None else crop, *pixels.shape)
    top, left = ((size - crop) // 2 for size in pixels.shape)
    middle = np.ascontiguousarray(pixels[top : top + crop, left : left + crop])
    x = torch.from_numpy(middle).float()[None, None] / 255
    if crop != side:
        x = F.interpolate(x, size=(side, side), mode="bicubic", align_corners=False).clamp(0, 1)
    y = torch.arange(side) - (side - 1) / 2
    outward = ((y[:, None] ** 2 + y**2).sqrt() / (side / 2 - 1) - 0.9) / 0.1  # 0 at 90 % of the radius, 1 at all of it
    x = x * (0.5 + 0.5 * torch.cos(math.pi * outward.clamp(0, 1)))
    if not x.max() > 0:
        raise UserError(f"{name} is empty inside the circle that the demo shows; choose another image")
    return x


@torch.inference_mode()
def run_demo(
    network: FieldNetwork,
    image: Tensor,
    angles_deg: Sequence[float],
    progress: Callable[[Iterable], Iterable] = iter,
) -> Demo:
    """Returns what a network makes of an image at every angle.

    Shown is what the source adds to the fields of an empty sky, the scalar one as far as it is positive; of all scalar
    and all vector fields the one that is strongest on the upright image.

    Args:
        image: (1, 1, S, S), see :func:`prepare_image`.
        progress: wraps the list of angles, for a progress bar.
    """
    empty_scalars, empty_vectors = network.fields(network.prepare(torch.zeros_like(image)))

    def respond(x: Tensor) -> Fields:
        scalars, vectors = network.fields(network.prepare(x))
        return F.relu(scalars - empty_scalars), vectors - empty_vectors

    scalars, vectors = respond(image)
    inside = disc(scalars.shape[-1])
    k, m = int(scalars[:, inside].norm(dim=1).argmax()), int(vectors[..., inside].norm(dim=(1, 2)).argmax())
    upright = torch.cat([scalars[k : k + 1], vectors[m]])
    seen = {}
    for angle in progress(sorted({*angles_deg, *QUARTER_TURNS})):
        x = turn(image, angle)
        scalars, vectors = respond(x)
        fields = torch.cat([scalars[k : k + 1], vectors[m]])
        back = turn(fields[None], -angle)[0]
        seen[angle] = (x[0, 0], fields, back, relative_change(back, upright))
    inputs, features, stabilized, change = zip(*(seen[angle] for angle in angles_deg), strict=True)
    return Demo(
        label=network.label,
        equivariant=network.equivariant,
        angles_deg=np.asarray(angles_deg, dtype=float),
        inputs=torch.stack(inputs).numpy(),
        features=torch.stack(features).numpy(),
        stabilized=torch.stack(stabilized).numpy(),
        change=np.asarray(change),
        exact_change={angle: seen[angle][3] for angle in QUARTER_TURNS},
    )
