"""Layers say their plain form themselves, and a layer without one is never copied in silence."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor, nn

from radgal.layers.basis import Symmetry
from radgal.layers.conventional import PooledConv2d
from radgal.layers.network import ENGINES
from radgal.layers.plain import GroupMax, to_plain
from radgal.layers.steerable import SteerableConv
from utils import UserError

GROUP = Symmetry("D", 3)


def make_layers(engine: str) -> list[tuple[nn.Module, int]]:
    """Returns each own layer of an engine, and its channels in."""
    layers = importlib.import_module(ENGINES[engine])
    return [
        (layers.SteerableConv(GROUP, 2, 3, 5, padding=2, regular_input=False), 2),
        (layers.SteerableConv(GROUP, 2, 3, 5), 12),
        (layers.ReluMaxPool(GROUP, 3), 18),
        (layers.GroupPool(GROUP, 3), 18),
        (PooledConv2d(2, 3, 5, padding=1), 2),
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_plain_forms_are_torchs_own_and_the_same_function(engine: str) -> None:
    torch.manual_seed(0)
    for layer, channels in make_layers(engine):
        plain, x = to_plain(layer), torch.randn(2, channels, 14, 13)
        assert all(type(m).__module__.startswith("torch.") or type(m) is GroupMax for m in plain.modules())
        with torch.no_grad():
            torch.testing.assert_close(plain(x), layer.eval()(x.clone()), rtol=1e-4, atol=1e-5)


class Renamed(SteerableConv):
    """Computes what its base does."""


class Doubled(SteerableConv):
    """Computes something else, and does not say what that is in plain layers."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Known(Doubled):
    """Says it."""

    def to_plain(self) -> nn.Module:
        conv = super().to_plain()
        with torch.no_grad():
            conv.weight *= 2
        return conv


@pytest.mark.parametrize("kind", [Renamed, Known])
def test_a_subclass_that_says_its_plain_form_has_it(kind: type[SteerableConv]) -> None:
    network = nn.Sequential(kind(GROUP, 1, 2, 5, regular_input=False), nn.ReLU())
    x = torch.randn(1, 1, 9, 9)
    torch.testing.assert_close(to_plain(network)(x), network(x))
    assert type(to_plain(network)[0]) is nn.Conv2d


def test_a_layer_without_a_plain_form_is_named() -> None:
    with pytest.raises(UserError, match="Doubled has no plain form: write its method `to_plain`"):
        to_plain(nn.Sequential(Doubled(GROUP, 1, 2, 5, regular_input=False)))
    from e2cnn import nn as e2nn

    from radgal.layers.e2cnn_layers import _regular_type

    with pytest.raises(UserError, match="ReLU has no plain form"):
        to_plain(nn.Sequential(e2nn.ReLU(_regular_type(GROUP, 2))))
