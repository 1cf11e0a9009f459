"""What is computed only where images are not empty sky has the numbers of what is computed everywhere."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F

import models
from radgal.data.firstgalaxy import FIRSTGalaxyData
from radgal.layers.basis import Symmetry
from radgal.layers.conventional import PooledConv2d
from radgal.layers.cpu import maps, tiles
from radgal.layers.cpu.maps import watch
from radgal.layers.cpu.sky import Sky, in_round_numbers
from radgal.layers.steerable import GroupPool, ReluMaxPool, SteerableConv

BACKGROUND = -0.068


@functools.cache
def first_images() -> torch.Tensor:
    pixels = FIRSTGalaxyData("data").data[:7].double()
    start = (pixels.shape[-1] - 150) // 2
    return pixels[:, None, start : start + 150, start : start + 150] / 25.5


def galaxies(side: int) -> torch.Tensor:
    """Seven FIRST images, their sky exactly the background's value; one fills its frame, one is empty."""
    x = F.interpolate(first_images(), side, mode="area").clone()
    x[0] += torch.rand(side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[1] = 0
    return x + BACKGROUND


def have_tiles_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of them are busy: small images have little sky."""
    for name in ("cpu.sky.FULLEST_MAPS", "steerable.FULLEST", "steerable.FULLEST_OF_16"):
        monkeypatch.setattr(f"radgal.layers.{name}", 1)


def numbers(model: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Returns the logits, and the gradients of all parameters."""
    logits = model(x)
    labels = torch.arange(len(x)) % 2
    grads = torch.autograd.grad(F.cross_entropy(logits, labels), list(model.parameters()))
    return [logits.detach(), *grads]


BASES = ("VanillaLeNet", "CNSteerableLeNet", "DNSteerableLeNet", "DNRestrictedLeNet")
QUICK = [(base, side, mask) for base in BASES for side in (50, 61) for mask in (True, False)]
QUICK += [("VanillaLeNet", 150, True), ("CNSteerableLeNet", 150, True)]


@pytest.mark.parametrize(
    "base, side, mask",
    [
        pytest.param(base, side, mask, marks=[] if (base, side, mask) in QUICK else pytest.mark.slow)
        for base in BASES
        for side in (50, 61, 150)
        for mask in (True, False)
    ],
)
def test_logits_and_gradients_are_those_of_the_whole_images(
    base: str, side: int, mask: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    nrot = 3 if models.MODELS[base].takes_nrot else None
    options = dict(nrot=nrot, dropout=0.0, background=BACKGROUND, mask=mask)
    model = models.build_model(base, n_classes=2, side=side, **options).double()
    x = galaxies(side)
    if side < 150:
        have_tiles_computed(monkeypatch)
    watched = []
    real = tiles.Windows.forward
    monkeypatch.setattr(tiles.Windows, "forward", lambda *args: watched.append(1) or real(*args))
    on_tiles = numbers(model, x)
    assert watched
    monkeypatch.setattr(maps, "FEWEST_IMAGES", 1000)
    n_watched = len(watched)
    for got, right in zip(on_tiles, numbers(model, x), strict=True):
        torch.testing.assert_close(got, right, rtol=1e-10, atol=1e-12)
    assert len(watched) == n_watched


def test_kernels_larger_than_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    have_tiles_computed(monkeypatch)
    model = models.VanillaLeNet(1, 2, 150, 11, background=BACKGROUND, dropout=0.0).double()
    x = galaxies(150)
    with_sky = numbers(model, x)
    monkeypatch.setattr(maps, "FEWEST_IMAGES", 1000)
    for got, right in zip(with_sky, numbers(model, x), strict=True):
        torch.testing.assert_close(got, right, rtol=1e-10, atol=1e-12)


def test_the_harmonic_form_on_tiles_agrees_with_plane_waves_of_whole_images(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = models.build_model("DNSteerableLeNet", n_classes=2, side=50, nrot=8, dropout=0.0, background=BACKGROUND)
    x = galaxies(50).float()
    have_tiles_computed(monkeypatch)
    monkeypatch.setattr("radgal.layers.steerable.HARMONIC_FROM_ROTATIONS", 8)
    on_tiles = numbers(model, x)
    monkeypatch.setattr(maps, "FEWEST_IMAGES", 1000)
    monkeypatch.setattr("radgal.layers.steerable.HARMONIC_FROM_ROTATIONS", 1000)
    for i, (got, right) in enumerate(zip(on_tiles, numbers(model, x), strict=True)):
        limit = 1e-5 if i == 0 else 1e-3  # of a gradient: the largest of two nearly equal values may be the other one
        assert (got - right).norm() < limit * right.norm()


@pytest.mark.parametrize(("fullest", "n_images"), [(1, 8), (0, 7)])
def test_where_many_tiles_are_busy_later_layers_see_whole_images(
    fullest: float, n_images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the empty one, and with the numbers of the layers in turn."""
    torch.manual_seed(0)
    group = Symmetry("C", 4)
    conv, pool = SteerableConv(group, 1, 2, 5, 1, regular_input=False), ReluMaxPool(group, 2)
    later, last = SteerableConv(group, 2, 3, 5, 1), ReluMaxPool(group, 3)
    network = torch.nn.ModuleList([conv, pool, later, last]).double()
    monkeypatch.setattr("radgal.layers.steerable.FULLEST_OF_16", fullest)
    x = galaxies(50)
    got = watch(x, network).through(conv, pool).through(later, last)
    assert len(got.values) == n_images
    expected = last(later(pool(conv(x))))
    torch.testing.assert_close(got.of_batch(), expected)
    theirs = torch.autograd.grad(expected.square().sum(), (conv.weights, later.weights))
    ours = torch.autograd.grad(got.of_batch().square().sum(), (conv.weights, later.weights))
    torch.testing.assert_close(ours, theirs)


def test_busy_tiles_are_those_that_depend_on_a_pixel() -> None:
    occupied = torch.zeros(2, 12, 12)
    occupied[0, 5, 11] = 1
    busy = Sky(occupied).after(-1, 3).busy(4, (10, 10))  # row r depends on rows r - 1 ... r + 3
    assert busy[0].nonzero().tolist() == [[0, 2], [1, 2]]  # rows 2 ... 6, so tiles 0 and 1; columns 8 and 9, tile 2
    assert busy[1].all()


def test_tiles_are_computed_in_round_numbers_where_there_are_enough() -> None:
    busy = torch.zeros(3, 5, 5, dtype=torch.bool)
    busy[1, 2], busy[-1] = True, True
    more = in_round_numbers(busy)
    assert more.sum() == 32 and (more & busy).equal(busy)
    assert in_round_numbers(more).equal(more)
    assert in_round_numbers(busy[1:, :2]).equal(busy[1:, :2].logical_or(busy[2:, :2])), "20 tiles at most"


def test_tiles_of_the_empty_image_are_alike_away_from_its_edges() -> None:
    view = Sky(torch.zeros(1, 40, 40)).after(-1, 3)
    assert view.kinds(6, 7).tolist() == [0, 1, 1, 1, 1, 1, 2]  # 38 rows of maps; the last tile needs row 44 of 40
    assert Sky(torch.zeros(1, 40, 40)).after(-1, 3).kinds(38, 1).tolist() == [0]


@pytest.mark.parametrize("case", ["few", "full", "hooks", "gradient"])
def test_where_the_sky_cannot_help_the_batch_stays_as_it_is(case: str) -> None:
    torch.manual_seed(0)
    model = models.build_model("VanillaLeNet", n_classes=2, side=50, background=BACKGROUND)
    x = galaxies(50).float()
    assert len(watch(x, model).values) == 8
    if case == "few":
        x = x[:3]
    elif case == "full":
        x = torch.randn_like(x)
    elif case == "hooks":
        model.fc1.register_forward_hook(lambda *_: None)
    else:
        x.requires_grad_()
    got = watch(x, model)
    assert got.values is x and got.sky is None and got.of_batch() is x


@pytest.mark.parametrize("second", ["pooled", "trivial", "regular", "torch"])
def test_tiles_of_the_first_layer_go_through_any_second_layer(second: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    have_tiles_computed(monkeypatch)
    group = Symmetry("C", 4)
    conv, pool, gpool = (
        SteerableConv(group, 1, 3, 5, 1, regular_input=False),
        ReluMaxPool(group, 3),
        GroupPool(group, 3),
    )
    layers = {
        "pooled": (PooledConv2d(3, 2, 5, padding=1),),
        "trivial": (SteerableConv(group, 3, 2, 5, 1, regular_input=False), ReluMaxPool(group, 2)),
        "regular": (SteerableConv(group, 3, 2, 5, 1), ReluMaxPool(group, 2)),
        "torch": (torch.nn.Conv2d(3, 2, 5), torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
    }[second]
    network = torch.nn.ModuleList([conv, pool, *layers]).double()
    x = galaxies(50)
    after = (lambda x: x) if second == "regular" else gpool
    expected = after(pool(conv(x)))
    for layer in layers:
        expected = layer(expected)
    first = watch(x, network).through(conv, pool).each(after)
    assert first.layout is not None and first.size == (24, 24) and first.joined().shape[0] == len(x) + 1
    torch.testing.assert_close(first.through(*layers).of_batch(), expected)
