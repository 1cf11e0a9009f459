"""The rotation demo: what a network's feature space does while its input turns, and whether it stands still after.

An image is turned through 360 degrees. At every angle a network's fields are taken, and turned back ("stabilized", the
view of someone who turns with the source). For an E(2)-steerable network the stabilized fields stand still but for the
pixel grid (Weiler & Cesa 2019, arXiv:1911.08251); for a conventional one they change.

Legend: T angles, G group elements, S pixels along each side of the input, s pixels along each side of the fields.
Three channels are a scalar field and the x (right) and y (up) components of a vector field, which transforms under the
frequency-1 irrep of the group: its arrows turn with the image.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgal.augment import background_value, exact_quarter_turns
from radgal.basis import MAX_GROUP_ORDER, Symmetry, make_gspace
from radgal.e2cnn_compat import patch_e2cnn, quick_einsum
from utils import UserError

N_FIELDS = 4  # regular fields per hidden layer, and scalar and vector fields to choose from, without a run
HIDDEN_LAYERS = 2
KERNEL_SIZE = 5
UNTRAINED_SIDE = 130  # px: every layer keeps the size, so any side is exact; this one is smooth to look at
QUARTER_TURNS = (90.0, 180.0)
"""Angles at which the pixel grid is mapped onto itself, so that an equivariant network's fields must not change."""

Fields = tuple[Tensor, Tensor]  # scalar fields (n, s, s) and vector fields (m, 2, s, s) of one image


@dataclass(frozen=True)
class FieldNetwork:
    """A network of which fields can be shown.

    Attributes:
        label: what it is, for the figure.
        equivariant: whether its fields are meant to turn with the image.
        prepare: turns pixels of 0 to 1, (1, 1, S, S), into what the network reads.
        fields: gives the fields of a prepared image.
    """

    label: str
    equivariant: bool
    prepare: Callable[[Tensor], Tensor]
    fields: Callable[[Tensor], Fields]


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


def parse_group(text: str) -> Symmetry:
    """Returns the group called C8, D16, ...

    Raises:
        UserError: if there is no such group, it has no two-dimensional frequency-1 irrep, or it is too large.
    """
    match = re.fullmatch(r"([CD])_?([0-9]{1,4})", text.strip(), re.IGNORECASE)
    if match:
        group = Symmetry(match[1].upper(), int(match[2]))
        if group.n >= 3 and group.order <= MAX_GROUP_ORDER:
            return group
    raise UserError(
        f"--group {text}: not a group that can be shown; write C or D and the number of rotations, at least 3 (vector "
        f"fields need that) and at most {MAX_GROUP_ORDER} for C or {MAX_GROUP_ORDER // 2} for D, such as C8 or D16"
    )


def frequency_one(symmetry: Symmetry):
    """Returns the irrep of e2cnn under which vectors of the plane transform."""
    space = make_gspace(symmetry)
    return space.irrep(1) if symmetry.kind == "C" else space.irrep(1, 1)


def as_arrows(vectors: Tensor, symmetry: Symmetry) -> Tensor:
    """Returns components of the frequency-1 irrep, (..., 2, s, s), as components of arrows, x right and y up.

    Under rotations they are the same. But e2cnn's reflection of D_N mirrors the plane left to right and the second
    component of the irrep: only a quarter turn away from their components are arrows mirrored as the image is.
    """
    if symmetry.kind == "C":
        return vectors
    first, second = vectors.unbind(-3)
    return torch.stack([-second, first], dim=-3)


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
    from e2cnn import nn as e2nn

    field_type = _plane_types()[x.shape[1]]
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


def prepare_image(pixels: np.ndarray, side: int, crop: int | None = None) -> Tensor:
    """Returns an image as the demo turns it: (1, 1, side, side), values 0 to 1, fading to 0 at the inscribed circle.

    Args:
        pixels: uint8 (H, W).
        side: S, pixels.
        crop: side of the central square that is used, pixels; None for S. Enlarged to S by bicubic interpolation.
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
        raise UserError("the image is empty inside the circle that the demo shows; choose another one")
    return x


def steerable_network(symmetry: Symmetry, seed: int = 0) -> FieldNetwork:
    """Returns an untrained steerable network: regular fields in its hidden layers, scalar and vector fields at its end.

    Built of e2cnn's own layers. It has no bias, so that an empty sky gives empty fields.
    """
    space, vector = make_gspace(symmetry), frequency_one(symmetry)
    from e2cnn import nn as e2nn

    torch.manual_seed(seed)
    layers, before = [], e2nn.FieldType(space, [space.trivial_repr])
    options = dict(kernel_size=KERNEL_SIZE, padding=KERNEL_SIZE // 2, bias=False, recompute=True)
    with quick_einsum():
        for _ in range(HIDDEN_LAYERS):
            after = e2nn.FieldType(space, N_FIELDS * [space.regular_repr])
            layers += [e2nn.R2Conv(before, after, **options), e2nn.ReLU(after)]
            before = after
        after = e2nn.FieldType(space, N_FIELDS * [space.trivial_repr] + N_FIELDS * [vector])
        layers.append(e2nn.R2Conv(before, after, **options))
    network = e2nn.SequentialModule(*layers).eval()

    def fields(x: Tensor) -> Fields:
        out = network(e2nn.GeometricTensor(x, network.in_type)).tensor[0]
        return out[:N_FIELDS], as_arrows(out[N_FIELDS:].unflatten(0, (N_FIELDS, 2)), symmetry)

    return FieldNetwork(f"{symmetry}-steerable network, untrained", True, _as_it_is, fields)


def plain_network(symmetry: Symmetry, seed: int = 0) -> FieldNetwork:
    """Returns an untrained conventional network with as many layers and channels as :func:`steerable_network`.

    Its last channels are read as if they were scalar and vector fields.
    """
    torch.manual_seed(seed)
    layers, before, width = [], 1, N_FIELDS * symmetry.order
    options = dict(kernel_size=KERNEL_SIZE, padding=KERNEL_SIZE // 2, bias=False)
    for _ in range(HIDDEN_LAYERS):
        layers += [nn.Conv2d(before, width, **options), nn.ReLU()]
        before = width
    network = nn.Sequential(*layers, nn.Conv2d(before, 3 * N_FIELDS, **options)).eval()

    def fields(x: Tensor) -> Fields:
        out = network(x)[0]
        return out[:N_FIELDS], out[N_FIELDS:].unflatten(0, (N_FIELDS, 2))

    return FieldNetwork("conventional network, untrained", False, _as_it_is, fields)


def trained_network(model: nn.Module, mean: float, std: float, label: str) -> FieldNetwork:
    """Returns the feature maps of a trained network as fields.

    Of a steerable network these are its last regular fields, before group pooling, split by the Fourier transform over
    the group into the trivial part (the mean) and the frequency-1 part; of a conventional one, the channels of its
    trunk, each as a scalar field and two after each other as a vector field.

    Args:
        model: with ``trunk`` and ``symmetry``, on the CPU, in evaluation mode.
        mean, std: of pixel / 255, as it was trained.

    Raises:
        UserError: if the group has no vector fields.
    """
    kind, n = model.symmetry
    if kind == "e":

        def fields(x: Tensor) -> Fields:
            maps = model.trunk(x)[0]
            return maps, maps[: len(maps) // 2 * 2].unflatten(0, (-1, 2))
    else:
        symmetry = parse_group(f"{kind}{n}")
        to_scalar, to_vector = group_fourier(symmetry)

        def fields(x: Tensor) -> Fields:
            maps = _before_group_pooling(model, x)[0].unflatten(0, (-1, len(to_scalar)))
            vectors = torch.einsum("cg,fgyx->fcyx", to_vector, maps)
            return torch.einsum("g,fgyx->fyx", to_scalar, maps), as_arrows(vectors, symmetry)

    empty = background_value(mean, std)
    return FieldNetwork(label, kind != "e", lambda x: x / std + empty, fields)


def group_fourier(symmetry: Symmetry) -> tuple[Tensor, Tensor]:
    """Returns what takes a regular field to its trivial part (G,) and to a frequency-1 part (2, G).

    With f a function on the group these are sum_g f(g) / |G| and 2 sum_g f(g) rho(g) e_x / |G|, rho the irrep: as
    (h f)(g) = f(h^-1 g), the second becomes rho(h) times itself under h.
    """
    irrep = frequency_one(symmetry)
    columns = np.stack([irrep(element)[:, 0] for element in irrep.group.elements], axis=1)
    to_scalar = torch.full((symmetry.order,), 1 / symmetry.order)
    return to_scalar, torch.from_numpy(columns * (2 / symmetry.order)).float()


def _before_group_pooling(model: nn.Module, x: Tensor) -> Tensor:
    kept = []
    hook = model.gpool.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
    try:
        model.trunk(x)
    finally:
        hook.remove()
    return kept[0]


def _as_it_is(x: Tensor) -> Tensor:
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
