"""The fast forms of the steerable layers give the numbers of the plain ones, forward and backward."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

import models
from radgal.config.keys import TrainingSection
from radgal.data.splits import Split, TrainingData
from radgal.images.preparation import Preparation
from radgal.layers import steerable
from radgal.layers.basis import Symmetry
from radgal.layers.cpu import spectral
from radgal.layers.cpu.harmonic import HarmonicForm, make_plan, mixing_matrices, real_fourier
from radgal.layers.cpu.maps import Maps
from radgal.layers.cpu.twice import relu_max_blur
from radgal.layers.e2cnn_compat import quick_einsum
from radgal.layers.plain import gaussian_blur
from radgal.layers.steerable import ReluMaxPool, SteerableConv
from radgal.training.learner import make_learner
from radgal.training.loop import Progress, Setup, fit
from tests.published import PublishedSteerable

USUAL = [Symmetry("C", n) for n in (1, 3, 4, 6, 16)] + [Symmetry("D", n) for n in (1, 3, 4, 5, 8)]
OTHERS = [Symmetry("C", n) for n in (2, 5, 8, 12, 20)] + [
    Symmetry("D", n) for n in range(1, 21) if n not in (1, 3, 4, 5, 8)
]
GROUPS = USUAL + [pytest.param(symmetry, marks=pytest.mark.slow) for symmetry in OTHERS]


def relative(got: torch.Tensor, expected: torch.Tensor) -> float:
    return ((got - expected).abs().max() / expected.abs().max()).item()


def stock_layer(symmetry: Symmetry, regular_input: bool, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """e2cnn's layer with 2 input and 3 output fields; without its initialization, which takes seconds for D_20."""
    from radgal.layers import e2cnn_layers as stock

    with monkeypatch.context() as patch, quick_einsum():
        patch.setattr("e2cnn.nn.init.generalized_he_init", lambda weights, basis: None)
        return stock.SteerableConv(symmetry, 2, 3, 5, padding=1, regular_input=regular_input)


def fixed_gradient(out: torch.Tensor) -> torch.Tensor:
    return torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).to(out)


def gradients(conv: torch.nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Returns the output, and the gradients of weights and input from a fixed random one."""
    out = conv(x)
    return out.detach(), *torch.autograd.grad(out, (conv.weights, x), fixed_gradient(out))


def harmonic_gradients(conv: SteerableConv, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Returns the same, of the harmonic form, for images whose output has an even number of rows and columns."""
    form, padding = HarmonicForm(make_plan(conv.symmetry, conv.kernel_size)), [conv.padding] * 4
    matrices, windows = conv._matrices(), F.pad(x.detach(), padding)
    out = form.convolve(windows, matrices)
    sums = [torch.zeros_like(matrix) for matrix in matrices]
    with torch.no_grad():
        grad_x = form.add_gradients(windows, matrices, fixed_gradient(out), sums)
    (grad_weights,) = torch.autograd.grad(matrices, conv.weights, sums)
    return out.detach(), grad_weights, F.pad(grad_x, [-n for n in padding])


@pytest.mark.parametrize("regular_input", [False, True], ids=["trivial", "regular"])
@pytest.mark.parametrize("symmetry", GROUPS, ids=str)
def test_outputs_and_gradients_are_those_of_stock_e2cnn(
    symmetry: Symmetry, regular_input: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dense and harmonic form in float32, to 1e-4; in float64, where the dense form is always used, to 1e-10."""
    torch.manual_seed(0)
    stock = stock_layer(symmetry, regular_input, monkeypatch)
    fast = SteerableConv(symmetry, 2, 3, 5, padding=1, regular_input=regular_input)
    with torch.no_grad():
        stock.weights.copy_(fast.weights)
    x = torch.randn(1, fast.in_channels, 20, 18)
    for dtype, largest in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
        x = x.to(dtype).requires_grad_()
        theirs = gradients(stock.to(dtype), x)
        forms = [gradients(fast.to(dtype), x)]
        if regular_input and dtype == torch.float32:
            forms.append(harmonic_gradients(fast, x))
        for ours in forms:
            for got, right in zip(ours, theirs, strict=True):
                assert relative(got, right) < largest
        x = x.detach()


@pytest.mark.parametrize("shape", [(2, 20, 20), (1, 13, 18), (0, 12, 12)])
@pytest.mark.parametrize(("kernel_size", "padding"), [(5, 1), (3, 0), (4, 2)])
@pytest.mark.parametrize("regular_input", [False, True], ids=["first", "later"])
def test_convolution_and_pooling_in_one_are_those_in_turn(
    shape: tuple[int, ...], kernel_size: int, padding: int, regular_input: bool
) -> None:
    torch.manual_seed(0)
    symmetry = Symmetry("D", 4)
    conv = SteerableConv(symmetry, 2, 6, kernel_size, padding, regular_input=regular_input).double()
    pool = ReluMaxPool(symmetry, 6).double()
    x = torch.randn(shape[0], conv.in_channels, *shape[1:], dtype=torch.float64, requires_grad=True)
    expected, got = pool(conv(x)), conv.with_sky(Maps(x), pool).joined()
    torch.testing.assert_close(got, expected)
    grad = torch.randn_like(got)
    theirs = torch.autograd.grad(expected, (x, conv.weights), grad)
    torch.testing.assert_close(torch.autograd.grad(got, (x, conv.weights), grad), theirs)


@pytest.mark.parametrize("regular_input", [False, True], ids=["first", "later"])
def test_hooks_see_the_maps_between_a_layer_and_its_pooling(regular_input: bool) -> None:
    symmetry, seen = Symmetry("C", 4), []
    conv, pool = SteerableConv(symmetry, 1, 2, 5, 1, regular_input=regular_input), ReluMaxPool(symmetry, 2)
    x = torch.randn(1, conv.in_channels, 14, 14)
    without = conv.with_sky(Maps(x), pool).joined()
    conv.register_forward_hook(lambda module, inputs, output: seen.append(output))
    torch.testing.assert_close(conv.with_sky(Maps(x), pool).joined(), without)
    torch.testing.assert_close(pool(seen[0]), without)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("nrot", [4, 16], ids=["dense", "harmonic"])
def test_bfloat16_autocast_on_a_cpu_is_as_exact_as_bfloat16(nrot: int, training: bool) -> None:
    torch.manual_seed(0)
    model = models.build_model("CNSteerableLeNet", n_classes=2, side=50, nrot=nrot, dropout=0.0).train(training)
    x, found = torch.randn(2, 1, 50, 50), []
    for enabled in (False, True, False):  # the last: autocast must leave nothing behind in eval mode
        with torch.set_grad_enabled(training), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits = model(x)
        assert logits.dtype == (torch.bfloat16 if enabled else torch.float32)
        found.append([logits.detach().float()])
        if training:
            found[-1] += torch.autograd.grad(logits.float().square().sum(), (model.conv1.weights, model.conv2.weights))
    for exact, ours, again in zip(*found, strict=True):
        assert 0 < (ours - exact).norm() / exact.norm() < 0.1
        torch.testing.assert_close(again, exact)


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_harmonic_form_takes_other_kernels_and_several_windows(kernel_size: int) -> None:
    torch.manual_seed(0)
    symmetry = Symmetry("C", 8)
    conv = SteerableConv(symmetry, 1, 2, kernel_size)
    windows = torch.randn(3, 8, kernel_size + 5, kernel_size + 3)
    form = HarmonicForm(make_plan(symmetry, kernel_size))
    with torch.no_grad():
        got = form.convolve(windows, mixing_matrices(form.plan, conv.weights, 1, 2))
        assert relative(got, F.conv2d(windows, conv.expand())) < 1e-5


@pytest.mark.parametrize("n_rot", [1, 2, 5, 8])
def test_fourier_transform_keeps_lengths(n_rot: int) -> None:
    transform = real_fourier(n_rot)
    torch.testing.assert_close(transform.t() @ transform, torch.eye(n_rot, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["C", "D"])
def test_the_network_that_uses_it_agrees_with_stock_e2cnn(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, train and eval mode, through loss and gradients."""
    monkeypatch.setattr(steerable, "HARMONIC_FROM_ROTATIONS", 1)
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
    convolve = HarmonicForm.convolve
    monkeypatch.setattr(HarmonicForm, "convolve", lambda *args: called.append(1) or convolve(*args))
    for symmetry, n_calls in ((Symmetry("C", 8), 0), (Symmetry("C", 16), 1)):
        conv, pool = SteerableConv(symmetry, 1, 1, 5, padding=1), ReluMaxPool(symmetry, 1)
        conv.with_sky(Maps(torch.randn(1, symmetry.order, 9, 9)), pool)
        assert len(called) == n_calls
    conv.double().with_sky(Maps(torch.randn(1, 16, 9, 9, dtype=torch.float64)), pool.double())
    assert len(called) == 1


def write_by_data(conv: SteerableConv, x: torch.Tensor) -> None:
    conv.weights.data.mul_(2)  # changes neither the version nor the address of the weights


def write_in_place(conv: SteerableConv, x: torch.Tensor) -> None:
    with torch.no_grad():
        conv.weights.mul_(2)


def take_new_storage(conv: SteerableConv, x: torch.Tensor) -> None:
    conv.weights.data = 2 * conv.weights.data


def load(conv: SteerableConv, x: torch.Tensor) -> None:
    conv.load_state_dict({"weights": 2 * conv.weights})


def step(conv: SteerableConv, x: torch.Tensor) -> None:
    before = conv.weights.detach().clone()
    conv.weights.grad = -before
    torch.optim.SGD([conv.weights], lr=1.0).step()


def there_and_back(conv: SteerableConv, x: torch.Tensor) -> None:
    write_by_data(conv, x)
    conv.double()
    layer(conv)(x.double())
    conv.float()


def layer(conv: SteerableConv):
    pool = ReluMaxPool(conv.symmetry, 1).to(conv.weights.dtype)
    return lambda x: conv.with_sky(Maps(x), pool).joined()


@pytest.mark.parametrize("order", [4, 16], ids=["dense", "harmonic"])
@pytest.mark.parametrize("change", [write_by_data, write_in_place, take_new_storage, load, step, there_and_back])
def test_what_eval_mode_keeps_is_never_stale(order: int, change) -> None:
    conv = SteerableConv(Symmetry("C", order), 1, 1, 5, padding=1).eval()
    x = torch.randn(1, order, 9, 9)
    with torch.no_grad():
        before = layer(conv)(x)
        kept = conv._cached
        assert torch.equal(layer(conv)(x), before) and conv._cached is kept  # so something is kept
        twin = copy.deepcopy(conv)
        change(conv, x)
        torch.testing.assert_close(layer(conv)(x), 2 * before)
        torch.testing.assert_close(layer(twin)(x), before)


@pytest.mark.parametrize("harmonic_from", [4, 5], ids=["harmonic", "plane waves"])
def test_training_with_either_engine_gives_the_same_curves(harmonic_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs with dropout, rotation, validation and the learning-rate schedule."""
    monkeypatch.setattr(steerable, "HARMONIC_FROM_ROTATIONS", harmonic_from)
    curves = {}
    for engine in models.ENGINES:
        torch.manual_seed(3)
        model = models.build_model("DNSteerableLeNet", n_classes=2, side=50, nrot=4, engine=engine)
        training, progress = TrainingSection(batch_size=4, epochs=2, lr0=1e-3, seed=1), Progress()
        setup = Setup(training, Preparation(0.02, 0.1, 50), "rotate")
        list(fit(make_learner(model, training), galaxies(), setup, progress=progress))
        curves[engine] = [row[key] for row in progress.history for key in ("train_loss", "test_loss")]
    assert curves["fast"] == pytest.approx(curves["e2cnn"], rel=1e-3)
    assert len(set(curves["fast"])) == 4


def galaxies(n: int = 8, n_val: int = 4) -> TrainingData:
    """One or two blobs on an empty background, uint8."""
    grid = torch.arange(50.0) - 24.5
    images = []
    for i in range(n + n_val):
        spots = ((-8 - i, 0.0), (8 + i, 3.0)) if i % 2 else ((0.0, i - 5.0),)
        blobs = [torch.exp(-((grid[:, None] - y) ** 2 + (grid - x) ** 2) / 8) for y, x in spots]
        images.append((255 * sum(blobs)).to(torch.uint8)[None])
    whole = Split(torch.stack(images), torch.arange(n + n_val) % 2, tuple(map(str, range(n + n_val))))
    val = whole.take(list(range(n, n + n_val)))
    return TrainingData(
        whole.take(list(range(n))), val, ("FRI", "FRII"), Preparation(0.02, 0.1, 50), "blobs", "v1", "none"
    )


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


@pytest.mark.parametrize("shape", [(3, 11, 14), (2, 37, 36), (5, 73, 40)])
@pytest.mark.parametrize(("kernel_size", "padding"), [(5, 1), (3, 0), (4, 2)])
def test_plane_waves_give_the_convolution_and_its_gradients(
    shape: tuple[int, ...], kernel_size: int, padding: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32, to 1e-5 of float64, of maps cut into windows and of batches worked on in parts."""
    torch.manual_seed(0)
    monkeypatch.setattr(spectral, "WORKSPACE", 100_000)
    monkeypatch.setattr(spectral, "few_maps_of", lambda size: 7)
    conv = SteerableConv(Symmetry("C", 4), 2, 3, kernel_size, padding)
    x = torch.randn(shape[0], conv.in_channels, *shape[1:], requires_grad=True)
    blur, dense = gaussian_blur(), conv.expand().detach().requires_grad_()
    got = spectral.SpectralLayer.apply(x, dense, blur, padding, True)
    grad = torch.randn_like(got)
    ours = [got, *torch.autograd.grad(got, (x, dense), grad, retain_graph=True)]
    x64, dense64 = x.detach().double().requires_grad_(), dense.detach().double().requires_grad_()
    right = relu_max_blur(F.conv2d(x64, dense64, padding=padding), blur.double())
    for found, expected in zip(ours, [right, *torch.autograd.grad(right, (x64, dense64), grad.double())], strict=True):
        assert (found - expected).norm() < 1e-5 * expected.norm()
    # a gradient with a graph of its own is that of the stock operators
    (again,) = torch.autograd.grad(got, dense, grad, create_graph=True)
    (second,) = torch.autograd.grad(again.square().sum(), x)
    assert relative(again, ours[2]) < 1e-5 and second.norm() > 0


@pytest.mark.parametrize("symmetry", GROUPS, ids=str)
def test_plane_waves_agree_with_stock_e2cnn(symmetry: Symmetry, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    stock = stock_layer(symmetry, True, monkeypatch).double()
    fast, pool = SteerableConv(symmetry, 2, 3, 5, padding=1), ReluMaxPool(symmetry, 3)
    monkeypatch.setattr(steerable, "HARMONIC_FROM_ROTATIONS", 1000)
    monkeypatch.setattr(steerable.LaterLayer, "apply", lambda *_: pytest.fail("not as plane waves"))
    with torch.no_grad():
        stock.weights.copy_(fast.weights)
    x = torch.randn(1, fast.in_channels, 20, 18)
    ours, theirs = fast.with_sky(Maps(x), pool).joined(), pool.double()(stock(x.double()))
    assert relative(ours, theirs) < 1e-5
    grad = fixed_gradient(ours)
    (ours,) = torch.autograd.grad(ours, fast.weights, grad)
    (theirs,) = torch.autograd.grad(theirs, stock.weights, grad.double())
    assert (ours - theirs).norm() < 1e-5 * theirs.norm()
