"""The moving average of the weights: its formula, what is validated, and what training does not notice of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from radgal.config.keys import TrainingSection
from radgal.training.average import Average
from radgal.training.learner import make_learner
from radgal.training.loop import Progress, Setup, fit, validate
from tests.training.test_loop import HOW, SIDE, make_data, make_model


def test_the_average_is_that_of_the_formula() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average, expected = Average(model, 0.5), {name: value.clone() for name, value in model.state_dict().items()}
    for n in range(1, 12):
        model(torch.randn(4, 3))  # changes the means and variances of batch normalization
        with torch.no_grad():
            model[0].weight.add_(torch.randn(2, 3))
        average.update()
        decay = min(0.5, (1 + n) / (10 + n))
        for name, value in model.state_dict().items():
            is_count = name.endswith("num_batches_tracked")
            expected[name] = value.clone() if is_count else decay * expected[name] + (1 - decay) * value
    assert average.values.keys() == expected.keys() and len(expected) == 7
    for name, value in expected.items():
        torch.testing.assert_close(average.values[name], value)
    torch.testing.assert_close(average.values["0.bias"], model[0].bias.detach(), rtol=0, atol=0)  # which never changed


def test_what_is_validated_is_the_average_and_training_does_not_notice() -> None:
    weights, rows = [], []
    for ema in (None, 0.9):
        training = TrainingSection(batch_size=5, epochs=3, seed=1, lr0=1e-2, scheduler="none", ema=ema)
        learner, setup = make_learner(make_model(), training), Setup(training, HOW, "rotate")
        *_, (progress, _) = fit(learner, make_data(), setup, progress=Progress())
        weights.append(learner.model.state_dict())
        rows.append(progress.history[-1])
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())
    assert rows[0]["train_loss"] == rows[1]["train_loss"] and rows[0]["test_loss"] != rows[1]["test_loss"]
    other = make_model(seed=3)
    other.load_state_dict(learner.state()["model"])
    assert validate(other, make_data().val, setup)[0] == rows[1]["test_loss"]


def test_a_stop_while_validating_leaves_the_trained_weights_in_place() -> None:
    learner = make_learner(make_model(), TrainingSection(ema=0.9))
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    learner.average.values["1.weight"].zero_()
    with pytest.raises(ZeroDivisionError), learner.as_kept():
        assert not learner.model(torch.ones(1, 1, SIDE, SIDE)).isnan().any() and not learner.model[1].weight.any()
        raise ZeroDivisionError
    assert all(torch.equal(before[name], value) for name, value in learner.model.state_dict().items())
