"""The training engine: what is random, what is kept, when it stops, and that it learns."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from radgal.data.splits import Split, TrainingData
from radgal.images.preparation import Preparation
from radgal.training.loop import NonFiniteLoss, Progress, fit, make_optimizer, make_scheduler, train_epoch, validate

SIDE = 12


def make_data(n: int = 16, n_val: int = 8, seed: int = 0) -> TrainingData:
    """Two classes that differ in brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n + n_val) % 2
    images = torch.randint(0, 60, (n + n_val, 1, SIDE, SIDE), generator=generator)
    images = (images + 150 * labels[:, None, None, None]).to(torch.uint8)
    whole = Split(images, labels, tuple(f"s{i}" for i in range(n + n_val)))
    val = whole.take(list(range(n, n + n_val))) if n_val else None
    return TrainingData(
        whole.take(list(range(n))), val, ("FRI", "FRII"), Preparation(0.3, 0.3, SIDE), "toy", "v1", "none"
    )


def make_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def settings(**changes) -> SimpleNamespace:
    values = dict(batch_size=5, epochs=4, patience=None, monitor="val_accuracy", val_augment=False)
    return SimpleNamespace(**(values | changes))


def run(data: TrainingData, seed: int = 1, model: nn.Module | None = None, lr: float = 1e-2, **changes):
    model = model or make_model()
    optimizer = make_optimizer(model, lr, 1e-6)
    scheduler = make_scheduler(optimizer, "plateau", 4)
    progress = Progress()
    for _ in fit(
        model,
        data,
        settings(**changes),
        augment="rotate",
        seed=seed,
        optimizer=optimizer,
        scheduler=scheduler,
        progress=progress,
    ):
        pass
    return model, progress


def numbers(progress: Progress) -> list[tuple]:
    return [tuple(v for k, v in row.items() if k != "seconds") for row in progress.history]


def test_same_seed_same_run_other_seed_another() -> None:
    first, second, other = (numbers(run(make_data(), seed)[1]) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_resuming_after_two_epochs_is_the_same_run() -> None:
    model, whole = run(make_data(), epochs=4)

    half = make_model()
    optimizer = make_optimizer(half, 1e-2, 1e-6)
    scheduler = make_scheduler(optimizer, "plateau", 4)
    options = dict(augment="rotate", seed=1, optimizer=optimizer, scheduler=scheduler)
    *_, (progress, _) = fit(half, make_data(), settings(epochs=2), progress=Progress(), **options)
    torch.rand(17)  # whatever happens in between
    *_, (progress, _) = fit(half, make_data(), settings(epochs=4), progress=progress, **options)
    assert numbers(progress) == numbers(whole)
    for a, b in zip(model.parameters(), half.parameters(), strict=True):
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


def test_non_finite_loss_names_epoch_and_batch() -> None:
    data, model = make_data(), make_model()
    with torch.no_grad():
        model[1].bias[0] = float("nan")
    with pytest.raises(NonFiniteLoss, match=r"epoch 7, batch 1 .*lr0"):
        train_epoch(
            model,
            data.train,
            make_optimizer(model, 1e-2, 0),
            epoch=7,
            seed=0,
            batch_size=5,
            augment="none",
            preparation=Preparation(0.3, 0.3, SIDE),
        )


def test_validation_ignores_dropout_and_batch_size() -> None:
    data, model = make_data(), make_model()
    results = {validate(model, data.val, batch_size=b, preparation=Preparation(0.3, 0.3, SIDE)) for b in (8, 8)}
    assert len(results) == 1
    loss, _ = validate(model, data.val, batch_size=3, preparation=Preparation(0.3, 0.3, SIDE))
    assert loss == pytest.approx(results.pop()[0], rel=1e-6)


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
    train_epoch(
        model,
        data.train,
        make_optimizer(model, 1e-2, 0),
        epoch=1,
        seed=0,
        batch_size=5,
        augment="none",
        preparation=Preparation(0.3, 0.3, SIDE),
    )
    assert len(seen) == 17 == len(set(seen))
