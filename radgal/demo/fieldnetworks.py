"""Networks of which the feature space can be shown: steerable or conventional ones, trained or not, as fields.

Legend: G group elements, S pixels along each side of the input, s pixels along each side of the fields, n scalar and m
vector fields. Vector fields transform under the frequency-1 irrep of the group: their arrows turn with the image.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgal.classifier import Classifier
from radgal.layers.basis import MAX_GROUP_ORDER, Symmetry, make_gspace
from radgal.layers.e2cnn_compat import quick_einsum, quiet_masks
from utils import UserError

N_FIELDS = 4  # regular fields per hidden layer, and scalar and vector fields to choose from, without a run
HIDDEN_LAYERS = 2
KERNEL_SIZE = 5
MIN_ROTATIONS = 3  # of a group with vector fields: with fewer, vectors of the plane form no irrep

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


def parse_group(text: str) -> Symmetry:
    """Returns the group called C8, D16, ...

    Raises:
        UserError: if there is no such group, it has no two-dimensional frequency-1 irrep, or it is too large.
    """
    match = re.fullmatch(r"([CD])_?([0-9]{1,4})", text.strip(), re.IGNORECASE)
    if match:
        group = Symmetry(match[1].upper(), int(match[2]))
        if group.n >= MIN_ROTATIONS and group.order <= MAX_GROUP_ORDER:
            return group
    raise UserError(
        f"--group {text}: not a group that can be shown; write C or D and the number of rotations, at least "
        f"{MIN_ROTATIONS} (vector fields need that) and at most {MAX_GROUP_ORDER} for C or {MAX_GROUP_ORDER // 2} for "
        "D, such as C8 or D16"
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


def steerable_network(symmetry: Symmetry, seed: int = 0) -> FieldNetwork:
    """Returns an untrained steerable network: regular fields in its hidden layers, scalar and vector fields at its end.

    Built of e2cnn's own layers. It has no bias, so that an empty sky gives empty fields.
    """
    space, vector = make_gspace(symmetry), frequency_one(symmetry)
    from e2cnn import nn as e2nn

    torch.manual_seed(seed)
    layers, before = [], e2nn.FieldType(space, [space.trivial_repr])
    options = dict(kernel_size=KERNEL_SIZE, padding=KERNEL_SIZE // 2, bias=False, recompute=True)
    with quick_einsum(), quiet_masks():
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


def trained_network(classifier: Classifier, label: str) -> FieldNetwork:
    """Returns the feature maps of a trained network as fields.

    Of a steerable network these are its last regular fields, before group pooling, split by the Fourier transform over
    the group into the trivial part (the mean) and the frequency-1 part; of a conventional one, the channels of its
    trunk, each as a scalar field and two after each other as a vector field.

    Args:
        classifier: on the CPU, its network with ``symmetry`` and ``trunk`` or, if it is steerable, ``fields``.
        label: what the figure calls it.

    Raises:
        UserError: if the group has no vector fields.
    """
    model, how = classifier.model.eval(), classifier.preparation
    kind, n = model.symmetry
    if kind == "e":

        def fields(x: Tensor) -> Fields:
            maps = model.trunk(x)[0]
            return maps, maps[: len(maps) // 2 * 2].unflatten(0, (-1, 2))
    else:
        if n < MIN_ROTATIONS:
            needed = f"which need {MIN_ROTATIONS} rotations or more"
            raise UserError(f"{label}: its group {kind}{n} has no vector fields to show, {needed}; choose another RUN")
        symmetry = Symmetry(kind, n)
        to_scalar, to_vector = group_fourier(symmetry)

        def fields(x: Tensor) -> Fields:
            maps = model.fields(x)[0].unflatten(0, (-1, len(to_scalar)))
            vectors = torch.einsum("cg,fgyx->fcyx", to_vector, maps)
            return torch.einsum("g,fgyx->fyx", to_scalar, maps), as_arrows(vectors, symmetry)

    def prepare(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, how.downsample) / how.std + how.background

    return FieldNetwork(label, kind != "e", prepare, fields)


def group_fourier(symmetry: Symmetry) -> tuple[Tensor, Tensor]:
    """Returns what takes a regular field to its trivial part (G,) and to a frequency-1 part (2, G).

    With f a function on the group these are sum_g f(g) / |G| and 2 sum_g f(g) rho(g) e_x / |G|, rho the irrep: as
    (h f)(g) = f(h^-1 g), the second becomes rho(h) times itself under h.
    """
    irrep = frequency_one(symmetry)
    columns = np.stack([irrep(element)[:, 0] for element in irrep.group.elements], axis=1)
    to_scalar = torch.full((symmetry.order,), 1 / symmetry.order)
    return to_scalar, torch.from_numpy(columns * (2 / symmetry.order)).float()


def _as_it_is(x: Tensor) -> Tensor:
    return x
