"""A network that a user adds, with layers named as he likes, goes through everything that the program does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import main
import models
from radgal.demo import fieldnetworks
from radgal.layers import steerable
from radgal.layers.basis import Symmetry
from tests.networks import classifier_of


class Tiny(models.GalaxyNet):
    """Conventional, and with no layer of this program's own."""

    def _build(self, in_chan: int, out_chan: int, kernel_size: int, group: Symmetry | None, engine: str) -> None:
        self.body = nn.Sequential(nn.Conv2d(in_chan, 4, kernel_size), nn.ReLU(), nn.MaxPool2d(2))
        self.out = nn.Linear(8, out_chan)

    def trunk(self, x: Tensor) -> Tensor:
        return self.body(self.prepare(x))

    def embed(self, x: Tensor) -> Tensor:
        maps = self.trunk(x)
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)

    def classify(self, z: Tensor) -> Tensor:
        return self.out(self.drop(z))


class TinySteerable(Tiny):
    """One steerable layer, which makes use of the sky."""

    takes_nrot = True
    kind = "C"
    n_poolings = 1

    def _build(self, in_chan: int, out_chan: int, kernel_size: int, group: Symmetry | None, engine: str) -> None:
        self.lift = steerable.SteerableConv(group, in_chan, 4, kernel_size, padding=1, regular_input=False)
        self.shrink = steerable.ReluMaxPool(group, 4)
        self.invariant = steerable.GroupPool(group, 4)
        self.out = nn.Linear(8, out_chan)

    def fields(self, x: Tensor) -> Tensor:
        return self.look(x, self.lift).through(self.lift, self.shrink).of_batch()

    def trunk(self, x: Tensor) -> Tensor:
        return self.invariant(self.fields(x))


class Deep(TinySteerable):
    """Three steerable layers."""

    n_poolings = 3

    def _build(self, in_chan: int, out_chan: int, kernel_size: int, group: Symmetry | None, engine: str) -> None:
        super()._build(in_chan, out_chan, kernel_size, group, engine)
        self.second = steerable.SteerableConv(group, 4, 4, kernel_size, padding=1)
        self.third = steerable.SteerableConv(group, 4, 4, kernel_size, padding=1)

    def fields(self, x: Tensor) -> Tensor:
        maps = self.look(x, self.lift).through(self.lift, self.shrink)
        return maps.through(self.second, self.shrink).through(self.third, self.shrink).of_batch()


TOYS = [(Tiny, None), (TinySteerable, 4)]


@pytest.mark.parametrize(("toy", "nrot"), TOYS)
def test_it_trains_and_is_summed_up(toy: type[models.GalaxyNet], nrot: int | None) -> None:
    model = toy(1, 2, 50, N=nrot)
    F.cross_entropy(model(torch.rand(5, 1, 50, 50)), torch.tensor([0, 1, 1, 0, 1])).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())
    assert toy.__name__ in models.summary_text(model)


def test_the_sides_of_exact_symmetry_go_with_the_number_of_poolings() -> None:
    said, error = {}, {}
    for side in (46, 50, 54):
        model, x = Deep(1, 2, side, N=4).eval(), torch.rand(1, 1, side, side)
        said[side] = models.equivariance_warning(model)
        with torch.no_grad():
            maps = model.trunk(x)
            error[side] = ((model.trunk(x.rot90(1, (2, 3))) - maps.rot90(1, (2, 3))).abs().max() / maps.max()).item()
    assert said[46] is None and said[54] is None and "46 and 54 px" in said[50]
    assert max(error[46], error[54]) < 1e-4 < 1e-2 < error[50]
    with pytest.raises(main.UserError, match=r"smallest side that works is 22 \(22 keeps the symmetry exact\)"):
        Deep(1, 2, 21, N=4)


def test_the_demo_says_what_a_steerable_network_must_give() -> None:
    class Silent(TinySteerable):
        fields = models.GalaxyNet.fields

    network = fieldnetworks.trained_network(classifier_of(Silent(1, 2, 50, N=4)), "silent")
    with pytest.raises(main.UserError, match="Silent does not give its regular fields"):
        network.fields(network.prepare(torch.rand(1, 1, 50, 50)))


@pytest.mark.slow
@pytest.mark.parametrize(("toy", "nrot"), TOYS)
def test_it_goes_through_the_whole_program(toy, nrot, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(models.MODELS, "Toy", toy)
    config = tmp_path / "toy.txt"
    config.write_text(
        f"[model]\nbase: 'Toy'\nnrot: {nrot}\n[data]\ndataset: 'FIRSTGalaxyData'\n"
        f"[training]\nimsize: 50\nepochs: 1\nlr0: 1e-3\n[metrics]\noutputdir: '{(tmp_path / 'run').as_posix()}'\n"
    )
    run = main.main(["--config", str(config)])
    assert len(run.history) == 1 and run.metrics["n_test"] > 0
    main.main(["export", str(tmp_path / "run"), "--format", "torch"])
    kind = [] if nrot else ["--conventional"]
    main.main(["demo", str(tmp_path / "run"), *kind, "--out", str(tmp_path / "demo.png"), "--angles", "0", "45"])
    assert (tmp_path / "run" / "exported.pt").is_file() and (tmp_path / "demo.png").is_file()
