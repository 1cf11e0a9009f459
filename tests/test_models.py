"""Every registered network: shapes, gradients, parameter counts, checkpoints, and mistakes in its arguments."""

from __future__ import annotations

import sys
import threading
import time

import pytest
import torch

import models
from utils import UserError

SIDE = 50


def build(name: str, side: int = SIDE, **options) -> models.GalaxyNet:
    nrot = 4 if models.MODELS[name].takes_nrot else None
    torch.manual_seed(3)
    return models.build_model(name, **{"n_classes": 2, "side": side, "nrot": nrot, **options})


def noise(n: int = 2, side: int = SIDE) -> torch.Tensor:
    return torch.randn(n, 1, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("head", ["flatten", "invariant"])
@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_gives_logits_and_trains_every_parameter(name: str, head: str) -> None:
    model = build(name, n_classes=3, head=head)
    logits = model(noise(4))
    assert logits.shape == (4, 3)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 1])).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", models.MODELS)
def test_images_of_a_batch_do_not_see_each_other(name: str) -> None:
    model = build(name).eval()
    x = noise(2)
    with torch.no_grad():
        alone = torch.cat([model(x[:1]), model(x[1:])])
        torch.testing.assert_close(model(x), alone, rtol=1e-5, atol=1e-6)
        assert not torch.equal(alone[0], alone[1])


@pytest.mark.parametrize("name", models.MODELS)
def test_forward_is_classify_of_embed_and_dropout_comes_after_it(name: str) -> None:
    model = build(name).eval()
    with torch.no_grad():
        z, expected = model.embed(noise()), model(noise())
        torch.testing.assert_close(model.classify(z), expected)
        model.drop.train()
        torch.testing.assert_close(model.embed(noise()), z)
        assert not torch.allclose(model.classify(z), expected)


@pytest.mark.parametrize("name", models.MODELS)
def test_dropout_can_be_enabled_alone_as_in_the_published_program(name: str) -> None:
    model = build(name).eval()
    with torch.no_grad():
        assert torch.equal(model(noise()), model(noise()))
        for _ in range(2):
            assert model.enable_dropout() is None
            on = [module for module in model.modules() if module.training]
            assert on == [model.drop] and not torch.equal(model(noise()), model(noise()))
        assert not any(module.training for module in model.eval().modules())


def test_the_loss_is_the_mean_cross_entropy_of_logits() -> None:
    p, y = torch.tensor([[0.0, 0.0], [1.0, 3.0]], requires_grad=True), torch.tensor([0, 1])
    loss = build("VanillaLeNet").loss(p, y)
    expected = (torch.tensor(2.0).log() + (1 + torch.tensor(-2.0).exp()).log()) / 2
    torch.testing.assert_close(loss, expected)
    loss.backward()
    torch.testing.assert_close(p.grad[0], torch.tensor([-0.25, 0.25]))


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(TypeError, match="masks"):
        build("VanillaLeNet", masks=True)


@pytest.mark.parametrize(
    ("name", "nrot", "count"),
    [
        ("VanillaLeNet", None, 2_501_346),
        ("CNSteerableLeNet", 4, 2_525_865 - 22_801),
        pytest.param("CNSteerableLeNet", 8, 2_530_089 - 22_801, marks=pytest.mark.slow),
        ("CNSteerableLeNet", 16, 2_538_537 - 22_801),
        pytest.param("CNSteerableLeNet", 20, 2_542_761 - 22_801, marks=pytest.mark.slow),
        ("DNSteerableLeNet", 4, 2_530_089 - 22_801),
        pytest.param("DNSteerableLeNet", 8, 2_538_537 - 22_801, marks=pytest.mark.slow),
        ("DNSteerableLeNet", 16, 2_555_433 - 22_801),
        pytest.param("DNSteerableLeNet", 20, 2_563_881 - 22_801, marks=pytest.mark.slow),
    ],
)
def test_published_parameter_counts(name: str, nrot: int | None, count: int) -> None:
    """The counts of Scaife & Porter's classes at 151 pixels, less their frozen mask of 151 x 151."""
    model = models.build_model(name, n_classes=2, side=151, nrot=nrot)
    assert models.count_parameters(model) == (count, count)


def test_layer_table_and_totals_are_right_for_steerable_layers() -> None:
    model = build("DNSteerableLeNet", side=150)
    state = torch.random.get_rng_state()
    text = models.summary_text(model)
    assert torch.equal(state, torch.random.get_rng_state()) and model.training
    assert "8,448" in text and "2,507,288 trainable parameters" in text
    conv1 = 48 * 25 * 148**2
    conv2 = 128 * 48 * 25 * 72**2
    fc = 16 * 36 * 36 * 120 + 120 * 84 + 84 * 2
    assert models.count_multiply_adds(model, 150) - conv1 - conv2 - fc == 0


def test_threads_that_summarize_at_once_leave_the_output_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchsummary.summary", lambda *args, **options: time.sleep(0.3))
    before, model = sys.stdout, build("VanillaLeNet")
    threads = [threading.Thread(target=models.summary_text, args=(model,)) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.15)
    for thread in threads:
        thread.join()
    assert sys.stdout is before


@pytest.mark.parametrize("engine", models.ENGINES)
@pytest.mark.parametrize("saved_in_eval", [True, False])
def test_state_dict_is_small_and_never_leaves_a_stale_filter(engine: str, saved_in_eval: bool) -> None:
    source, target = build("DNSteerableLeNet", engine=engine), build("DNSteerableLeNet", engine=engine).eval()
    with torch.no_grad():
        source.conv2.weights.mul_(1.5)
        target(noise())
        state = source.train(not saved_in_eval).state_dict()
        layers = [f"{fc}.{kind}" for fc in ("fc1", "fc2", "fc3") for kind in ("weight", "bias")]
        assert set(state) == {"conv1.weights", "conv2.weights", *layers}
        before = target(noise())
        target.load_state_dict(state)
        assert not torch.allclose(target(noise()), before)
        torch.testing.assert_close(target(noise()), source.eval()(noise()))


def test_a_weight_changed_in_eval_mode_is_seen() -> None:
    model = build("CNSteerableLeNet").eval()
    with torch.no_grad():
        before = model(noise())
        model.conv2.weights.data.mul_(1.5)
        assert not torch.allclose(model(noise()), before)


@pytest.mark.parametrize("name", ["CNSteerableLeNet", "DNSteerableLeNet"])
@pytest.mark.parametrize("training", [True, False])
def test_a_published_checkpoint_loads_strictly(name: str, training: bool) -> None:
    """The published classes keep e2cnn's modules as they are; their state dict is rebuilt here from those."""
    from tests.published import PublishedSteerable

    published = PublishedSteerable(name[0], 4, SIDE).train(training)
    state = published.state_dict()
    assert ("conv2.filter" in state) == (not training)
    assert {"dummy", "mask.mask", "pool1.filter"} <= set(state)
    model = build(name, mask=False).eval()
    model.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(model(noise()), published.eval()(noise()), rtol=1e-4, atol=1e-6)


def test_a_published_checkpoint_of_another_group_is_refused() -> None:
    """C8 and D4 have as many parameters: nothing but the bases in the checkpoint tells them apart."""
    from tests.published import PublishedSteerable

    state = PublishedSteerable("C", 8, SIDE).state_dict()
    with pytest.raises(RuntimeError, match="another group"):
        build("DNSteerableLeNet").load_state_dict(state)


def test_an_unknown_key_is_still_refused() -> None:
    model = build("VanillaLeNet")
    with pytest.raises(RuntimeError, match="surprise"):
        model.load_state_dict(model.state_dict() | {"surprise": torch.zeros(1)})


@pytest.mark.parametrize("name", models.MODELS)
def test_the_mask_hides_the_corners_and_puts_no_step_at_its_edge(name: str) -> None:
    background = -0.089
    model = build(name, background=background).eval()
    empty = torch.full((1, 1, SIDE, SIDE), background)
    torch.testing.assert_close(model.prepare(empty), empty, rtol=0, atol=0)
    corner = empty.clone()
    corner[..., :5, :5] = 9.0
    with torch.no_grad():
        torch.testing.assert_close(model(corner), model(empty), rtol=1e-5, atol=1e-6)
        unmasked = build(name, mask=False).eval()
        assert not torch.allclose(unmasked(corner), unmasked(empty))


@pytest.mark.parametrize("side", [49, 50, 150, 151])
def test_the_mask_is_e2cnns_and_exactly_symmetric(side: int) -> None:
    from radgal.layers.conventional import circular_mask
    from radgal.layers.e2cnn_compat import patch_e2cnn

    patch_e2cnn()
    from e2cnn.nn.modules.masking_module import build_mask

    mask = circular_mask(side).reshape(side, side)
    torch.testing.assert_close(mask, build_mask(side, margin=1)[0, 0], rtol=1e-5, atol=1e-30)
    assert torch.equal(mask, mask.rot90()) and torch.equal(mask, mask.flip(0))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("VanilaLeNet", {}, "did you mean 'VanillaLeNet'"),
        ("VanillaLeNet", {"nrot": 4}, "has no group"),
        ("CNSteerableLeNet", {"nrot": None}, "nrot is missing"),
        ("DNSteerableLeNet", {"nrot": 0}, "nrot: 0 is not the number of rotations of D_N"),
        ("CNSteerableLeNet", {"nrot": -4}, "whole number from 1 to 64"),
        ("DNSteerableLeNet", {"nrot": 33}, "whole number from 1 to 32"),
        ("CNSteerableLeNet", {"nrot": 4.0}, "4.0 is not"),
        ("CNSteerableLeNet", {"nrot": True}, "True is not"),
        ("CNSteerableLeNet", {"side": 9}, "smallest side that works is 10"),
        ("VanillaLeNet", {"side": 0}, "smallest side that works is 10"),
        ("HMTNet", {"side": 31}, "smallest side that works is 32"),
        ("VanillaLeNet", {"head": "flat"}, "head: 'flat' is not one of 'flatten', 'invariant'"),
        ("VanillaLeNet", {"dropout": 1.0}, "dropout: 1.0"),
        ("CNSteerableLeNet", {"engine": "jax"}, "engine: 'jax'"),
    ],
)
def test_wrong_arguments_say_what_is_right(name: str, options: dict, message: str) -> None:
    nrot = {"nrot": 4} if name in models.MODELS and models.MODELS[name].takes_nrot else {}
    with pytest.raises(UserError, match=message):
        models.build_model(name, **{"n_classes": 2, "side": SIDE, **nrot, **options})


@pytest.mark.parametrize(("name", "side"), [("CNSteerableLeNet", 10), ("VanillaLeNet", 10), ("HMTNet", 32)])
def test_the_smallest_side_that_is_named_works(name: str, side: int) -> None:
    assert build(name, side=side)(noise(2, side)).shape == (2, 2)


def test_images_of_another_side_are_refused() -> None:
    with pytest.raises(UserError, match="51 x 51 pixels given to a network built for 50 x 50"):
        build("VanillaLeNet")(noise(1, 51))


def test_warning_names_the_nearest_sides_that_keep_the_symmetry() -> None:
    assert models.exact_sides(151) == (150, 154) and models.exact_sides(50) == (50, 50)
    assert "150 and 154" in models.equivariance_warning(build("DNSteerableLeNet", side=151))
    assert models.equivariance_warning(build("DNSteerableLeNet", side=150)) is None
    assert models.equivariance_warning(build("VanillaLeNet", side=151)) is None


@pytest.mark.parametrize("name", [name for name, network in models.MODELS.items() if network.takes_nrot])
def test_quarter_turns_are_exact_where_no_warning_is_given(name: str) -> None:
    built = [build(name, side=side).eval() for side in range(SIDE, SIDE + 8)]
    silent = [model for model in built if models.equivariance_warning(model) is None]
    assert silent
    for model in (model for model in silent if model.symmetry != ("e", 1)):
        x = noise(1, model.imsize)
        with torch.no_grad():
            torch.testing.assert_close(model.trunk(x.rot90(1, (2, 3))), model.trunk(x).rot90(1, (2, 3)))
