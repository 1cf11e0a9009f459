"""Steerable layers: equivariance, parity with stock e2cnn, and e2cnn under NumPy 2."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

import models
from radgal.images.transforms import rotate
from radgal.layers import e2cnn_compat
from radgal.layers.basis import Symmetry
from radgal.layers.steerable import ReluMaxPool, SteerableConv
from tests.conftest import ROOT
from tests.published import PublishedSteerable


def build(name: str, nrot: int, side: int, **options) -> models.GalaxyNet:
    torch.manual_seed(4)
    return models.build_model(name, n_classes=2, side=side, nrot=nrot, **options).double()


def noise(n: int, side: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(n, 1, side, side, generator=torch.Generator().manual_seed(5), dtype=dtype)


def equivariance_error(model: models.GalaxyNet, x: torch.Tensor, turns: int, flip: bool = False) -> float:
    """Returns the largest difference between "turn, then trunk" and "trunk, then turn", as a share of the maps."""

    def act(maps: torch.Tensor) -> torch.Tensor:
        return (maps.flip(-1) if flip else maps).rot90(turns, (-2, -1))

    with torch.no_grad():
        maps = model.trunk(x)
        return ((model.trunk(act(x)) - act(maps)).abs().max() / maps.abs().max()).item()


@pytest.mark.parametrize("engine", models.ENGINES)
@pytest.mark.parametrize(
    ("name", "nrot", "training"),
    [
        ("CNSteerableLeNet", 4, True),
        ("CNSteerableLeNet", 8, False),
        ("DNSteerableLeNet", 4, True),
        ("DNSteerableLeNet", 4, False),
    ],
)
def test_quarter_turns_and_flips_are_exact_on_the_grid(name: str, nrot: int, training: bool, engine: str) -> None:
    model = build(name, nrot, 50, engine=engine).train(training)
    x = noise(1, 50)
    exact = 1e-12 if engine == "fast" else 1e-6  # e2cnn's group pooling rounds to float32
    assert max(equivariance_error(model, x, turns) for turns in (1, 2, 3)) < exact
    if name.startswith("D"):
        assert max(equivariance_error(model, x, t, flip=True) for t in (0, 1)) < exact
    else:
        assert equivariance_error(model, x, 0, flip=True) > 1e-2


@pytest.mark.parametrize(("engine", "exact"), [("fast", 1e-12), ("e2cnn", 1e-6)])
def test_quarter_turns_are_exact_at_150_and_not_at_151_pixels(engine: str, exact: float) -> None:
    options = dict(mask=False, engine=engine)
    assert equivariance_error(build("CNSteerableLeNet", 4, 150, **options), noise(1, 150), 1) < exact
    assert equivariance_error(build("CNSteerableLeNet", 4, 151, **options), noise(1, 151), 1) > 1e-2


def test_negative_control_the_plain_network_is_not_equivariant() -> None:
    assert equivariance_error(build("VanillaLeNet", None, 50), noise(1, 50), 1) > 0.1


@pytest.mark.parametrize(("engine", "exact"), [("fast", 1e-10), ("e2cnn", 1e-5)])
@pytest.mark.parametrize(("name", "nrot"), [("CNSteerableLeNet", 4), ("DNSteerableLeNet", 4)])
def test_logits_keep_the_symmetry_with_the_invariant_head_only(name: str, nrot: int, engine: str, exact: float) -> None:
    x = noise(2, 50)
    turned = x.flip(-1).rot90(1, (-2, -1)) if name.startswith("D") else x.rot90(1, (-2, -1))
    with torch.no_grad():
        invariant = build(name, nrot, 50, head="invariant", engine=engine).eval()
        torch.testing.assert_close(invariant(turned), invariant(x), rtol=exact, atol=exact / 100)
        flatten = build(name, nrot, 50, engine=engine).eval()
        assert not torch.allclose(flatten(turned), flatten(x), rtol=1e-3)


def test_other_angles_are_nearly_equivariant_on_smooth_images() -> None:
    """At 45 degrees values between pixels are needed: a C8 network comes close, C4 and the plain one do not."""
    rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, 50, dtype=torch.float64)] * 2, indexing="ij")
    blob = torch.exp(-((rows - 0.2) ** 2 + 2 * (columns + 0.1) ** 2) / 0.1) + torch.exp(-((rows + 0.3) ** 2) * 9)
    x = (blob * torch.exp(-(((rows**2 + columns**2) / 0.5) ** 4)))[None, None].float()

    def error(name: str, nrot: int | None) -> float:
        model = build(name, nrot, 50).float()
        angle = torch.tensor([45.0])
        with torch.no_grad():
            maps = model.trunk(x)
            turned = rotate(maps, angle)
            difference = (model.trunk(rotate(x, angle)) - turned)[..., 3:-3, 3:-3]
            return (difference.norm() / turned[..., 3:-3, 3:-3].norm()).item()

    c8, c4, plain = error("CNSteerableLeNet", 8), error("CNSteerableLeNet", 4), error("VanillaLeNet", None)
    assert c8 < 0.1  # bilinear resampling of an 11 x 11 map of smooth blobs costs a few percent
    assert 1.5 * c8 < c4 and 2 * c8 < plain


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("kind", "nrot"), [("C", 4), ("C", 5), ("D", 1), ("D", 3)])
def test_parity_with_stock_e2cnn(kind: str, nrot: int, training: bool) -> None:
    """Same seed, same initial weights; same weights, same maps and gradients, in float64."""
    torch.manual_seed(4)
    stock = PublishedSteerable(kind, nrot, 50)
    fast = build(f"{kind}NSteerableLeNet", nrot, 50, mask=False)
    torch.testing.assert_close(fast.conv2.weights, stock.conv2.weights.double(), rtol=0, atol=0)
    stock.double().train(training), fast.train(training)
    x, grads = noise(2, 50), []
    for model in (stock, fast):
        maps = model.trunk(x)
        if training:
            grads.append(torch.autograd.grad(maps.square().sum(), (model.conv1.weights, model.conv2.weights)))
        torch.testing.assert_close(maps, stock.trunk(x), rtol=1e-10, atol=1e-12)
    if training:
        torch.testing.assert_close(grads[1], grads[0], rtol=1e-10, atol=1e-10)


def test_parity_with_stock_e2cnn_at_the_published_size() -> None:
    stock = PublishedSteerable("D", 4, 151).eval()
    fast = build("DNSteerableLeNet", 4, 151, mask=False).float().eval()
    fast.load_state_dict(stock.state_dict())
    x = noise(1, 151, torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), stock(x), rtol=1e-4, atol=1e-6)


def test_pooling_is_relu_then_blurred_maximum() -> None:
    from radgal.layers import e2cnn_layers as stock

    symmetry, x = Symmetry("C", 4), torch.randn(2, 8, 11, 12)
    torch.testing.assert_close(ReluMaxPool(symmetry, 2)(x), stock.ReluMaxPool(symmetry, 2)(x.clone()))


def test_both_engines_learn_the_same() -> None:
    losses = {}
    for engine in models.ENGINES:
        model = build("DNSteerableLeNet", 2, 50, engine=engine, dropout=0.0).float()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(4):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(noise(4, 50, torch.float32)), torch.tensor([0, 1, 1, 0]))
            loss.backward()
            optimizer.step()
            losses.setdefault(engine, []).append(loss.item())
    assert losses["fast"] == pytest.approx(losses["e2cnn"], rel=1e-3)
    assert losses["fast"][-1] < losses["fast"][0]


def test_initial_weights_have_he_variance() -> None:
    """Generalized He: the outputs of a layer have about the variance of its inputs."""
    torch.manual_seed(0)
    conv = SteerableConv(Symmetry("C", 8), 6, 16, 5)
    assert 0.3 < conv(torch.randn(8, 48, 12, 12)).var().item() < 3


def test_e2cnn_is_patched_again_without_harm_and_numpy_is_left_alone() -> None:
    e2cnn_compat.patch_e2cnn()
    from e2cnn.kernels import utils as kernels

    before = kernels.np
    e2cnn_compat.patch_e2cnn()
    assert kernels.np is before
    assert not isinstance(np, e2cnn_compat._Numpy)
    quarter = kernels.psichi(np.array([0.0, np.pi / 2]), s=0, k=1)[:, :, 0, 1]
    np.testing.assert_allclose(quarter, [[0, -1], [1, 0]], atol=1e-12)


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="NumPy 1 has what e2cnn needs")
def test_e2cnn_still_needs_the_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails, a new e2cnn does without the patch."""
    e2cnn_compat.patch_e2cnn()
    from e2cnn.kernels import utils as kernels

    monkeypatch.setattr(kernels, "np", np)
    with pytest.raises(ValueError, match="copy"):
        kernels.psichi(0.3, s=1, k=1)


USES_E2CNN = """
import sys, warnings
warnings.simplefilter("error", UserWarning)  # a filter that a user may have set
before = list(warnings.filters)
import models, torch
for engine in models.ENGINES:
    model = models.build_model("CNSteerableLeNet", n_classes=2, side=14, nrot=4, engine=engine)
    model.eval()(torch.zeros(1, 1, 14, 14))
from radgal.demo.fieldnetworks import steerable_network
from radgal.layers.basis import Symmetry
steerable_network(Symmetry("C", 3))
assert [f for f in warnings.filters if f not in before and "e2cnn" in str(f)] == [], warnings.filters
assert [f for f in before if f not in warnings.filters] == []
"""


@pytest.mark.slow
def test_e2cnn_is_quiet_and_leaves_no_filter_of_warnings_behind() -> None:
    done = subprocess.run([sys.executable, "-c", USES_E2CNN], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_bases_are_those_of_e2cnn_and_depend_on_no_order_of_sums() -> None:
    from radgal.layers import e2cnn_layers as stock

    symmetry = Symmetry("D", 3)
    ours, theirs = SteerableConv(symmetry, 1, 1, 5), stock.SteerableConv(symmetry, 1, 1, 5)
    torch.testing.assert_close(ours.sampled_basis(), theirs.sampled_basis(), rtol=0, atol=1e-15)
