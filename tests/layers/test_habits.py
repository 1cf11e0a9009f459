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
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, stack_module_state, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

import models
from radgal.layers import basis, conventional, steerable
from radgal.layers.cpu import harmonic, maps, spectral
from utils import float32_in_full

SIDE = 18
NETWORKS = [("VanillaLeNet", None), ("CNSteerableLeNet", 4), ("DNSteerableLeNet", 12)]  # D_12: the harmonic form
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


def build(name: str, nrot: int | None, seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
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
@pytest.mark.parametrize("create_graph", [False, True])
def test_many_gradients_at_once(create_graph: bool, name: str, nrot: int | None) -> None:
    """As for Jacobians: torch computes a batch of gradients in one pass, in either of its two ways."""
    model, x = build(name, nrot), images(4).requires_grad_()
    out, inputs = model(x), [x, *model.parameters()]
    given = torch.eye(2)[:, None].expand(2, len(x), 2)
    many = torch.autograd.grad(out, inputs, given, is_grads_batched=True, retain_graph=True, create_graph=create_graph)
    mapped = vmap(lambda one: torch.autograd.grad(out, inputs, one, retain_graph=True))(given)
    for k in range(2):
        expected = torch.autograd.grad(out[:, k].sum(), inputs, retain_graph=True)
        check([one[k] for one in many], list(expected))
        check([one[k] for one in mapped], list(expected))
    if create_graph:
        many[0].square().sum().backward()
        assert model.fc1.weight.grad.any()


@each
@pytest.mark.slow
def test_an_ensemble_is_stacked(name: str, nrot: int | None) -> None:
    members, x = [build(name, nrot, seed) for seed in range(3)], images(4)
    parameters, buffers = stack_module_state(members)
    shell = copy.deepcopy(members[0]).to("meta")

    def loss(parameters: dict, buffers: dict) -> Tensor:
        return functional_call(shell, (parameters, buffers), (x,)).square().sum()

    slopes = vmap(grad(loss))(parameters, buffers)
    for i, member in enumerate(members):
        member(x).square().sum().backward()
        check({key: one[i] for key, one in slopes.items()}, {k: p.grad for k, p in member.named_parameters()})


def emptied(model: nn.Module) -> nn.Module:
    return model.to_empty(device=model.fc1.weight.device)


def from_meta(model: nn.Module) -> nn.Module:
    return model.to("meta").to_empty(device=torch.empty(0).device)


def built_on_meta(model: nn.Module) -> nn.Module:
    with torch.device("meta"):
        return models.build_model(type(model).__name__, n_classes=2, side=SIDE, nrot=model.symmetry[1] or None).eval()


@each
@pytest.mark.parametrize(
    "forget, assign", [(emptied, False), (from_meta, False), (lambda m: m.to("meta"), True), (built_on_meta, True)]
)
def test_what_is_never_saved_is_made_again(
    forget: Callable, assign: bool, name: str, nrot: int | None, monkeypatch
) -> None:
    """A network that was made without numbers, or lost them, is whole again once it has its weights."""
    if name == "VanillaLeNet":
        monkeypatch.setattr(models.VanillaLeNet, "symmetry", ("e", None))
    model, x = build(name, nrot), images()
    expected, weights = model(x), {key: value.clone() for key, value in model.state_dict().items()}
    other = forget(model)
    other.load_state_dict(weights, assign=assign)
    check(other(x), expected)


MODES = {
    "inference": torch.inference_mode,
    "meta": lambda: torch.device("meta"),
    "double": lambda: default_dtype(torch.float64),
}


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("mode", MODES)
def test_the_mode_in_which_a_network_is_first_built_is_its_own_affair(mode: str) -> None:
    """What is computed once for all networks of a kind is none the wiser for it."""
    for cached in (basis.make_basis, harmonic.make_plan, spectral.make_plan):
        cached.cache_clear()
    for nrot in (4, 12):
        with MODES[mode]():
            first = models.build_model("CNSteerableLeNet", n_classes=2, side=SIDE, nrot=nrot)
            assert first(torch.zeros(2, 1, SIDE, SIDE)).shape == (2, 2)
        model, x = build("CNSteerableLeNet", nrot), images()
        with MODES[mode]() if mode != "double" else default_dtype(torch.float32):
            expected = model(x)
        check(model(x), expected)
        model(x).sum().backward()
        assert all(parameter.grad is not None and parameter.dtype == torch.float32 for parameter in model.parameters())
    penalty(model, x)
    left = basis.make_basis(basis.Symmetry("C", 4), True, 5).sampled
    basis.make_basis.cache_clear()
    assert torch.equal(left, basis.make_basis(basis.Symmetry("C", 4), True, 5).sampled)


@each
def test_weights_are_drawn_anew_by_the_method_that_layers_have(name: str, nrot: int | None) -> None:
    model, x = build(name, nrot), images()
    before = model(x)
    model.apply(lambda layer: layer.reset_parameters() if hasattr(layer, "reset_parameters") else None)
    assert not torch.allclose(model(x), before)


@each
def test_those_who_watch_the_operators_see_them(name: str, nrot: int | None) -> None:
    model, x = build(name, nrot), images()
    with FlopCounterMode(display=False) as counter:
        out = model(x)
    assert counter.get_total_flops() > 1e5
    with torch.no_grad():
        check(make_fx(model)(x)(x), out)


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
