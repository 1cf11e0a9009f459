"""What people do to a torch module, done to these networks, with torch's own operators beside them."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, vmap

import models
from radgal.layers import conventional, steerable
from radgal.layers.cpu import maps
from utils import float32_in_full

SIDE = 18
NETWORKS = [("VanillaLeNet", None), ("CNSteerableLeNet", 4), ("DNSteerableLeNet", 8)]  # D_8: the harmonic form
QUICK = "CNSteerableLeNet"
each = pytest.mark.parametrize(
    "name, nrot", [pytest.param(*one, marks=[pytest.mark.slow] * (one[0] != QUICK), id=one[0]) for one in NETWORKS]
)

HAS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, HAS_CUDA])], autouse=True)
def device(request) -> Iterator[torch.device]:
    """Where all tensors are made."""
    with float32_in_full(), torch.device(request.param) as where:
        yield where


def build(name: str, nrot: int | None) -> nn.Module:
    torch.manual_seed(3)
    with torch.device("cpu"):
        model = models.build_model(name, n_classes=2, side=SIDE, nrot=nrot).eval()
    return model.to(torch.empty(0).device)


def images(n: int = 8) -> Tensor:
    """Mostly empty, as radio images are, so that the sky is made use of."""
    x = torch.zeros(n, 1, SIDE, SIDE)
    generator = torch.Generator("cpu").manual_seed(1)
    x[:, :, 7:10, 7:10] = torch.rand(n, 1, 3, 3, generator=generator, device="cpu").to(x) + 0.1
    return x


@contextmanager
def stock(monkeypatch) -> Iterator[None]:
    """Inside, every layer computes with torch's own operators."""
    with monkeypatch.context() as patch:
        for module in (conventional, steerable, maps):
            patch.setattr(module, "runs_eagerly_on_cpu", lambda x: False)
        yield


def check(found, expected, **tolerance: float) -> None:
    torch.testing.assert_close(found, expected, **({"rtol": 1e-3, "atol": 1e-5} | tolerance))


def penalty(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Returns the gradients of a gradient penalty, of the images and of every parameter."""
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x)[:, 0].sum(), x, create_graph=True)
    return list(torch.autograd.grad(slope.square().sum(), [x, *model.parameters()], allow_unused=True))


def curvature(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Returns a product with the Hessian of the loss, as influence functions need; the images need no gradient."""
    parameters = list(model.parameters())
    loss = model.loss(model(x), torch.arange(len(x)) % 2)
    slopes = torch.autograd.grad(loss, parameters, create_graph=True)
    return list(torch.autograd.grad(sum(slope.sum() for slope in slopes), parameters))


@each
@pytest.mark.parametrize("twice", [penalty, curvature])
def test_gradients_of_gradients(twice: Callable, name: str, nrot: int | None, monkeypatch) -> None:
    model, x = build(name, nrot), images()
    found = twice(model, x)
    with stock(monkeypatch):
        expected = twice(model, x)
    assert any(one is not None and one.abs().max() > 1e-4 for one in expected)
    for a, b in zip(found, expected, strict=True):
        if a is None or b is None:  # of a bias behind the last ReLU the penalty knows nothing
            assert (a is None or not a.any()) and (b is None or not b.any())
        else:
            check(a, b, atol=1e-4 * max(1.0, float(b.abs().max())))


@each
def test_functions_of_functions(name: str, nrot: int | None, monkeypatch) -> None:
    model, x = build(name, nrot), images(4)
    values = dict(model.named_parameters())

    def logits(parameters: dict, one: Tensor) -> Tensor:
        return functional_call(model, parameters, (one[None],))[0]

    jacobian = jacrev(lambda one: model(one[None])[0])(x[0])
    per_image = vmap(grad(lambda p, one: logits(p, one)[0]), in_dims=(None, 0))(values, x)
    batched = vmap(lambda one: model(one[None])[0])(x)
    with stock(monkeypatch):
        check(batched, model(x))
        check(jacobian, torch.autograd.functional.jacobian(lambda one: model(one[None])[0], x[0]))
        for i in range(len(x)):
            expected = torch.autograd.grad(model(x[i : i + 1])[0, 0], list(values.values()))
            check([one[i] for one in per_image.values()], list(expected))
    check(model(x), batched)


def global_hook(register: Callable, seen: list):
    return register(lambda module, *_: seen.append(type(module).__name__) or None)


HOOKS = {
    "forward": lambda m, seen: m.register_forward_hook(lambda *_: seen.append(1) or None),
    "forward pre": lambda m, seen: m.register_forward_pre_hook(lambda *_: seen.append(1) or None),
    "full backward": lambda m, seen: m.register_full_backward_hook(lambda *_: seen.append(1) or None),
    "full backward pre": lambda m, seen: m.register_full_backward_pre_hook(lambda *_: seen.append(1) or None),
    "all forward": lambda m, seen: global_hook(nn.modules.module.register_module_forward_hook, seen),
    "all forward pre": lambda m, seen: global_hook(nn.modules.module.register_module_forward_pre_hook, seen),
    "all full backward": lambda m, seen: global_hook(nn.modules.module.register_module_full_backward_hook, seen),
    "all full backward pre": lambda m, seen: global_hook(
        nn.modules.module.register_module_full_backward_pre_hook, seen
    ),
}


@each
@pytest.mark.parametrize("kind", HOOKS)
def test_hooks_are_called_for_every_layer(kind: str, name: str, nrot: int | None) -> None:
    model, x = build(name, nrot), images()
    leaves = [m for m in model.modules() if not list(m.children()) and not isinstance(m, nn.Dropout)]
    counts = []
    for layer in leaves[:1] if kind.startswith("all") else leaves:
        seen: list = []
        handle = HOOKS[kind](layer, seen)
        try:
            model(x.clone().requires_grad_() if "backward" in kind else x).sum().backward()
        finally:
            handle.remove()
        counts.append(len(seen))
    if kind.startswith("all"):
        types = [type(layer).__name__ for layer in leaves]
        assert {one: seen.count(one) for one in types} == {one: types.count(one) for one in types}
    else:
        assert counts == [1] * len(leaves)


@each
def test_what_a_hook_returns_counts(name: str, nrot: int | None) -> None:
    model, x = build(name, nrot), images()
    out = model(x)
    for layer in [m for m in model.modules() if not list(m.children()) and not isinstance(m, nn.Dropout)]:
        handle = layer.register_forward_hook(lambda module, given, out: out * 0)
        assert not torch.allclose(model(x), out)
        handle.remove()
        handle = layer.register_full_backward_hook(
            lambda module, grads, _: tuple(g if g is None else g * 0 for g in grads)
        )
        one = x.clone().requires_grad_()
        model(one).sum().backward()
        handle.remove()
        assert not one.grad.any()
    seen: list = []
    handles = [p.register_post_accumulate_grad_hook(seen.append) for p in model.parameters()]
    handles += [p.register_hook(lambda grad: seen.append(grad)) for p in model.parameters()]
    model(x).sum().backward()
    assert len(seen) == len(handles)
    check(model(x), out)


@each
def test_forward_derivatives(name: str, nrot: int | None) -> None:
    model, x = build(name, nrot), images(2)
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(model(forward_ad.make_dual(x, torch.ones_like(x)))).tangent
    check(found, jvp(model, (x,), (torch.ones_like(x),))[1])
    check(jacfwd(lambda one: model(one[None])[0])(x[0]), jacrev(lambda one: model(one[None])[0])(x[0]))


@each
@pytest.mark.parametrize("all_inside", [False, True])
def test_autocast_forward_and_backward(all_inside: bool, name: str, nrot: int | None) -> None:
    model, x = build(name, nrot), images()
    expected = torch.autograd.grad(model(x)[:, 0].sum(), list(model.parameters()))
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        out = model(x)[:, 0].float().sum()
        found = torch.autograd.grad(out, list(model.parameters())) if all_inside else None
    found = found or torch.autograd.grad(out, list(model.parameters()))
    largest = max(float(one.abs().max()) for one in expected)
    for a, b in zip(found, expected, strict=True):
        check(a, b, rtol=0.05, atol=0.03 * largest)


@each
def test_shapes_are_known_without_numbers(name: str, nrot: int | None) -> None:
    model = build(name, nrot).to("meta")
    assert model(images().to("meta")).shape == (8, 2)


def through_state_dict(model: nn.Module) -> nn.Module:
    other = copy.deepcopy(model)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    other.load_state_dict(model.train().state_dict())
    other.eval().load_state_dict(model.eval().state_dict())
    return other


def through_pickle(model: nn.Module) -> nn.Module:
    stream = io.BytesIO()
    torch.save(model, stream)
    return pickle.loads(pickle.dumps(torch.load(io.BytesIO(stream.getvalue()), weights_only=False)))


def averaged(model: nn.Module) -> nn.Module:
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    average.update_parameters(model)
    average.update_parameters(model)
    return average


WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "state_dict": through_state_dict,
    "deepcopy after use": copy.deepcopy,
    "pickle": through_pickle,
    "channels_last": lambda model: model.to(memory_format=torch.channels_last),
    "average": averaged,
    "DataParallel": nn.DataParallel,
    "jit.trace": lambda model: torch.jit.trace(model, images(3)),
}


@each
@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_same_network_comes_out(way: str, name: str, nrot: int | None) -> None:
    model, x = build(name, nrot), images()
    with torch.no_grad():
        expected = model(x)
        found = WAYS[way](model).eval()
        check(found(x.to(memory_format=torch.channels_last) if way == "channels_last" else x), expected)


@each
def test_channels_last_learns_the_same(name: str, nrot: int | None) -> None:
    grads = []
    for memory in (torch.contiguous_format, torch.channels_last):
        model = build(name, nrot).to(memory_format=memory)
        model(images().to(memory_format=memory)).square().sum().backward()
        grads.append([parameter.grad for parameter in model.parameters()])
    check(*grads)


@each
@pytest.mark.parametrize("n", [0, 1])
def test_batches_of_none_and_of_one(n: int, name: str, nrot: int | None) -> None:
    model, x = build(name, nrot), images()
    out = model(x[:n].clone().requires_grad_())
    assert out.shape == (n, 2)
    out.sum().backward()
    check(out, model(x)[:n])


@each
@pytest.mark.slow
@pytest.mark.parametrize("dtype, atol", [(torch.float64, 1e-4), (torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_other_precisions(dtype: torch.dtype, atol: float, name: str, nrot: int | None) -> None:
    model, x = build(name, nrot), images()
    with torch.no_grad():
        expected = model(x)
        found = model.to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    check(found.float(), expected, atol=atol)


def weights_of(module: nn.Module) -> str | None:
    return next((key for key in ("weights", "weight") if key in module._parameters), None)


@each
@pytest.mark.slow
def test_pruning_and_weight_norm(name: str, nrot: int | None, monkeypatch) -> None:
    from torch.nn.utils import parametrizations, prune

    model, x = build(name, nrot), images()
    with torch.no_grad():
        expected = model(x)
    layers = [(module, weights_of(module)) for module in model.modules() if weights_of(module)]
    assert len(layers) > 3
    normed = copy.deepcopy(model)
    for module in list(normed.modules()):
        if (key := weights_of(module)) and type(module).__name__ != "BatchNorm2d":
            parametrizations.weight_norm(module, key, dim=0 if module._parameters[key].ndim > 1 else None)
    with torch.no_grad():
        check(normed(x), expected)
    for module, key in layers:
        prune.l1_unstructured(module, key, amount=0.5)
    with torch.no_grad():
        found = model(x)
        with stock(monkeypatch):
            check(found, model(x))
    assert not torch.allclose(found, expected)
    for module, key in layers:
        prune.remove(module, key)
    with torch.no_grad():
        check(model(x), found)


@each
@pytest.mark.slow
def test_export_and_compile(name: str, nrot: int | None) -> None:
    model, x = build(name, nrot), images()
    with torch.no_grad():
        expected = model(x)
        check(torch.export.export(model, (x,)).module()(x), expected)
        check(torch.compile(model, backend="eager")(x), expected)
