"""The fast forms of the steerable layers give the numbers of the plain ones, forward and backward."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import models
from radgal import steerable
from radgal.basis import Symmetry
from radgal.harmonic import HarmonicConv, make_plan, mixing_matrices, real_fourier
from radgal.steerable import ReluMaxPool, SteerableConv
from tests.published import PublishedSteerable

GROUPS = [Symmetry("C", n) for n in (1, 2, 3, 4, 5, 6, 8, 12, 16, 20)]
GROUPS += [Symmetry("D", n) for n in (1, 2, 3, 4, 5, 6, 8, 12, 16)]


def relative(got: torch.Tensor, expected: torch.Tensor) -> float:
    return ((got - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("symmetry", GROUPS, ids=str)
def test_harmonic_form_is_the_dense_convolution(symmetry: Symmetry) -> None:
    torch.manual_seed(0)
    conv = SteerableConv(symmetry, 2, 3, 5, padding=1)
    x = torch.randn(2, conv.in_channels, 13, 12, requires_grad=True)
    expected = F.conv2d(x, conv.expand(), padding=1)
    plan = make_plan(symmetry, 5)
    got = HarmonicConv.apply(x, plan, 1, *mixing_matrices(plan, conv.weights, 2, 3))
    assert relative(got, expected) < 1e-5
    grad = torch.randn_like(expected)
    theirs = torch.autograd.grad(expected, (x, conv.weights), grad)
    for ours, right in zip(torch.autograd.grad(got, (x, conv.weights), grad), theirs, strict=True):
        assert relative(ours, right) < 1e-5


@pytest.mark.parametrize(("kernel_size", "padding"), [(3, 1), (5, 0), (7, 2)])
def test_harmonic_form_takes_other_kernels(kernel_size: int, padding: int) -> None:
    torch.manual_seed(0)
    symmetry = Symmetry("C", 8)
    conv = SteerableConv(symmetry, 1, 2, kernel_size, padding=padding)
    x = torch.randn(1, 8, 12, 11)
    plan = make_plan(symmetry, kernel_size)
    with torch.no_grad():
        got = HarmonicConv.apply(x, plan, padding, *mixing_matrices(plan, conv.weights, 1, 2))
        assert relative(got, F.conv2d(x, conv.expand(), padding=padding)) < 1e-5


@pytest.mark.parametrize("n_rot", [1, 2, 5, 8])
def test_fourier_transform_keeps_lengths(n_rot: int) -> None:
    transform = real_fourier(n_rot)
    torch.testing.assert_close(transform.t() @ transform, torch.eye(n_rot, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["C", "D"])
def test_the_network_that_uses_it_agrees_with_stock_e2cnn(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, train and eval mode, through loss and gradients."""
    monkeypatch.setattr(steerable, "HARMONIC_FROM_ORDER", 1)
    torch.manual_seed(1)
    stock = PublishedSteerable(kind, 4, 50)
    fast = models.MODELS[f"{kind}NSteerableLeNet"](1, 2, 50, N=4, mask=False, dropout=0.0)
    fast.load_state_dict(stock.state_dict())
    stock.drop.p = 0.0
    x, labels, grads = torch.randn(2, 1, 50, 50), torch.tensor([0, 1]), []
    for model in (stock, fast):
        loss = F.cross_entropy(model(x), labels)
        grads.append(torch.autograd.grad(loss, [p for key, p in model.named_parameters() if "weight" in key]))
    for ours, theirs in zip(grads[1], grads[0], strict=True):
        assert relative(ours, theirs) < 1e-3  # the largest of two nearly equal values may be the other one
    with torch.no_grad():
        assert relative(fast.eval()(x), stock.eval()(x)) < 1e-4


def test_large_groups_use_the_harmonic_form_on_a_cpu_only_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    apply = HarmonicConv.apply
    monkeypatch.setattr(HarmonicConv, "apply", lambda *args: called.append(1) or apply(*args))
    for symmetry, n_calls in ((Symmetry("C", 8), 0), (Symmetry("C", 16), 1)):
        conv = SteerableConv(symmetry, 1, 1, 5, padding=1)
        conv(torch.randn(1, symmetry.order, 9, 9))
        assert len(called) == n_calls
    conv.double()(torch.randn(1, 16, 9, 9, dtype=torch.float64))
    assert len(called) == 1


def test_no_stale_matrices_in_eval_mode() -> None:
    conv = SteerableConv(Symmetry("C", 16), 1, 1, 5, padding=1).eval()
    x = torch.randn(1, 16, 9, 9)
    with torch.no_grad():
        before = conv(x)
        conv.weights.mul_(2)
        torch.testing.assert_close(conv(x), 2 * before)


@pytest.mark.parametrize("shape", [(2, 3, 8, 9), (1, 40, 91, 90), (0, 3, 8, 8)])
def test_pooling_has_the_gradient_of_the_stock_operators(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    pool = ReluMaxPool(Symmetry("C", 1), shape[1]).double()
    expected = F.max_pool2d(F.relu(x), 2, stride=1)
    blur = pool.blur.expand(shape[1], 1, -1, -1)
    expected = F.conv2d(expected, blur, stride=2, padding=2, groups=shape[1])
    got = pool(x)
    torch.testing.assert_close(got, expected)
    grad = torch.randn_like(got)
    torch.testing.assert_close(torch.autograd.grad(got, x, grad), torch.autograd.grad(expected, x, grad))
