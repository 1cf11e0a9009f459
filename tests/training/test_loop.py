"""The training engine: what is random, what is kept, when it stops, and that it learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from radgal.config.keys import TrainingSection
from radgal.data.splits import Split, TrainingData
from radgal.images.preparation import Preparation
from radgal.training.learner import make_learner
from radgal.training.loop import NonFiniteLoss, Progress, Setup, fit, train_epoch, validate

SIDE = 12
HOW = Preparation(0.3, 0.3, SIDE)
ONE_PASS = Setup(TrainingSection(batch_size=5, seed=0), HOW)


def make_data(n: int = 16, n_val: int = 8, seed: int = 0) -> TrainingData:
    """Two classes that differ in brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n + n_val) % 2
    images = torch.randint(0, 60, (n + n_val, 1, SIDE, SIDE), generator=generator)
    images = (images + 150 * labels[:, None, None, None]).to(torch.uint8)
    whole = Split(images, labels, tuple(f"s{i}" for i in range(n + n_val)))
    val = whole.take(list(range(n, n + n_val))) if n_val else None
    return TrainingData(whole.take(list(range(n))), val, ("FRI", "FRII"), HOW, "toy", "v1", "none")


def make_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def run(data: TrainingData, seed: int = 1, lr: float = 1e-2, **changes) -> tuple[nn.Module, Progress]:
    training = TrainingSection(**(dict(batch_size=5, epochs=4, seed=seed, lr0=lr) | changes))
    learner, progress = make_learner(make_model(), training), Progress()
    for _ in fit(learner, data, Setup(training, HOW, "rotate"), progress=progress):
        pass
    return learner.model, progress


def numbers(progress: Progress) -> list[tuple]:
    return [tuple(v for k, v in row.items() if k != "seconds") for row in progress.history]


def test_same_seed_same_run_other_seed_another() -> None:
    first, second, other = (numbers(run(make_data(), seed)[1]) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_resuming_after_two_epochs_is_the_same_run() -> None:
    model, whole = run(make_data(), epochs=4)

    setups = [Setup(TrainingSection(batch_size=5, epochs=n, seed=1, lr0=1e-2), HOW, "rotate") for n in (2, 4)]
    learner = make_learner(make_model(), setups[0].training)
    *_, (progress, _) = fit(learner, make_data(), setups[0], progress=Progress())
    torch.rand(17)  # whatever happens in between
    *_, (progress, _) = fit(learner, make_data(), setups[1], progress=progress)
    assert numbers(progress) == numbers(whole)
    for a, b in zip(model.parameters(), learner.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_overfits_sixteen_images() -> None:
    assert run(make_data(), epochs=40)[1].history[-1]["train_accuracy"] == 1.0


def test_shuffled_labels_stay_at_chance_in_validation() -> None:
    data = make_data(64, 200)
    shuffled = data.train.labels[torch.randperm(64, generator=torch.Generator().manual_seed(3))]
    noise = torch.randint(0, 256, data.train.images.shape, generator=torch.Generator().manual_seed(4))
    train = Split(noise.to(torch.uint8), shuffled, data.train.names)
    noise = torch.randint(0, 256, data.val.images.shape, generator=torch.Generator().manual_seed(5))
    val = Split(noise.to(torch.uint8), data.val.labels, data.val.names)
    _, progress = run(
        TrainingData(
            train,
            val,
            *[getattr(data, k) for k in ("classes", "preparation", "dataset", "version", "checksum")],
        ),
        epochs=10,
    )
    assert abs(progress.history[-1]["test_accuracy"] - 0.5) < 0.15  # four binomial standard errors


def test_best_epoch_is_by_validation_accuracy_then_loss() -> None:
    _, progress = run(make_data(), epochs=12)
    scores = [(row["test_accuracy"], -row["test_loss"]) for row in progress.history]
    assert progress.best_epoch == 1 + scores.index(max(scores))


def test_monitoring_the_loss_keeps_the_lowest_loss() -> None:
    _, progress = run(make_data(), epochs=12, monitor="val_loss", lr=0.05)
    losses = [row["test_loss"] for row in progress.history]
    assert progress.best_epoch == 1 + losses.index(min(losses))


def test_patience_really_stops() -> None:
    _, progress = run(make_data(), epochs=200, patience=3, lr=0.5, monitor="val_loss")
    assert progress.epoch < 200
    assert progress.epoch == progress.best_epoch + 3


def test_without_validation_the_last_epoch_is_the_best() -> None:
    _, progress = run(make_data(n_val=0), epochs=3)
    assert progress.best_epoch == progress.epoch == 3
    assert progress.history[-1]["test_loss"] is None and progress.history[-1]["test_accuracy"] is None


def test_adamw_shrinks_weights_that_have_no_gradient_and_adam_does_not() -> None:
    """With L2 the gradient of the decay is scaled to a step of lr like any other; decoupled it is lr * decay."""
    for name, left in (("adamw", 1 - 0.1 * 0.5), ("adam", 1 - 0.1)):
        model = nn.Linear(1, 1, bias=False)
        nn.init.ones_(model.weight)
        learner = make_learner(model, TrainingSection(lr0=0.1, decay=0.5, optimizer=name))
        model.weight.grad = torch.zeros(1, 1)
        learner.optimizer.step()
        assert float(model.weight.detach()) == pytest.approx(left, rel=1e-5)


@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_onecycle_is_set_batch_by_batch_up_to_lr0_and_down_to_zero(warmup: float) -> None:
    training = TrainingSection(batch_size=4, epochs=4, seed=1, lr0=0.1, scheduler="onecycle", warmup=warmup)
    learner, rates = make_learner(make_model(), training), []
    learner.optimizer.register_step_pre_hook(lambda *_: rates.append(learner.optimizer.param_groups[0]["lr"]))
    *_, (progress, _) = fit(learner, make_data(), Setup(training, HOW), progress=Progress())
    n, top = 16, int(16 * warmup)
    assert rates[:top] == pytest.approx([0.1 * (1 + 24 * i / top) / 25 for i in range(top)])
    assert rates[top:] == pytest.approx([0.1 * (n - i) / (n - top) for i in range(top, n)])
    assert [row["lr"] for row in progress.history] == rates[::4]


def test_labels_are_smoothed_in_training_only() -> None:
    setups = [Setup(TrainingSection(batch_size=16, seed=0, label_smoothing=s), HOW) for s in (0.0, 0.2)]
    data, models = make_data(), [make_model(), make_model()]
    plain, smoothed = (
        train_epoch(make_learner(model, setup.training), data.train, setup, epoch=1)[0]
        for model, setup in zip(models, setups, strict=True)
    )
    assert plain != smoothed
    assert validate(models[0], data.val, setups[0]) == validate(models[0], data.val, setups[1])


def test_non_finite_loss_names_epoch_and_batch() -> None:
    data, model = make_data(), make_model()
    with torch.no_grad():
        model[1].bias[0] = float("nan")
    with pytest.raises(NonFiniteLoss, match=r"epoch 7, batch 1 .*lr0"):
        train_epoch(make_learner(model, ONE_PASS.training), data.train, ONE_PASS, epoch=7)


def test_validation_ignores_dropout_and_batch_size() -> None:
    data, model = make_data(), make_model()
    (one, again), (smaller, _) = (
        [validate(model, data.val, Setup(TrainingSection(batch_size=b), HOW))[0] for _ in range(2)] for b in (8, 3)
    )
    assert one == again
    assert smaller == pytest.approx(one, rel=1e-6)


def test_validation_is_the_mean_over_the_rotations() -> None:
    training = TrainingSection(batch_size=5, epochs=1, seed=1)
    rows, data = {}, make_data()
    for n in (1, 2, 4):
        setup = Setup(training.model_copy(update={"val_rotations": n}), HOW)
        learner = make_learner(make_model(), training)
        *_, (progress, _) = fit(learner, data, setup, progress=Progress())
        rows[n] = progress.history[-1]
    quarters = [data.val.images.rot90(k, (2, 3)) for k in range(4)]
    losses, accuracies = zip(
        *(validate(learner.model, Split(turned, data.val.labels, data.val.names), setup) for turned in quarters),
        strict=True,
    )
    for n in rows:
        assert rows[n]["test_loss"] == pytest.approx(sum(losses[:: 4 // n]) / n, rel=1e-5)
        assert rows[n]["test_accuracy"] == pytest.approx(sum(accuracies[:: 4 // n]) / n)
        assert rows[n]["train_loss"] == rows[1]["train_loss"]
    assert rows[1]["test_loss"] == losses[0] != losses[1]


def test_every_source_is_trained_on_once_an_epoch() -> None:
    seen = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.extend(x.sum((1, 2, 3)).tolist())
            return self.bias.expand(len(x), 2)

    data, model = make_data(17, 0), Spy()
    train_epoch(make_learner(model, ONE_PASS.training), data.train, ONE_PASS, epoch=1)
    assert len(seen) == 17 == len(set(seen))
