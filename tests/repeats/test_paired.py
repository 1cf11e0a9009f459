"""Two networks on the same sources: differences, their intervals, and that pairing is what makes them narrow."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from radgal.evaluation.metrics import score_predictions
from radgal.repeats.paired import compare_networks, difference_of_means, mcnemar


def networks(n: int = 300, shift: float = 0.0, seed: int = 0) -> tuple[dict, dict, np.ndarray]:
    """Two networks that find the same sources hard; ``shift`` makes the second one surer of the truth."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    shared = np.where(labels == 1, 1, -1) * (1 + 1.5 * rng.normal(size=n))
    found = []
    for more in (0.0, shift):
        logit = shared + np.where(labels == 1, more, -more) + 0.3 * rng.normal(size=n)
        found.append({"upright": softmax(np.stack([-logit / 2, logit / 2], axis=1), axis=1)})
    return *found, labels


@pytest.mark.parametrize("key", ["accuracy", "roc_auc", "nll", "brier"])
def test_a_difference_is_that_of_the_scores_and_pairing_narrows_its_interval(key: str) -> None:
    a, b, labels = networks(shift=0.5)
    found = compare_networks(a, b, labels)["upright", key]
    alone = [score_predictions(np.log(one["upright"]), labels, ("x", "y"))[key] for one in (a, b)]
    assert found["difference"] == pytest.approx(alone[1]["value"] - alone[0]["value"], abs=1e-12)
    assert found["low"] < found["difference"] < found["high"] and found["p"] < 0.05
    unpaired = np.hypot(*(one["high"] - one["low"] for one in alone))
    assert found["high"] - found["low"] < 0.7 * unpaired


@pytest.mark.slow
@pytest.mark.parametrize("key", ["accuracy", "roc_auc", "nll", "brier"])
def test_intervals_of_networks_that_are_alike_hold_0(key: str) -> None:
    held = 0
    for seed in range(300):
        a, b, labels = networks(104, seed=seed)
        found = compare_networks(a, b, labels)["upright", key]
        held += found["low"] <= 0 <= found["high"]
    assert 0.92 * 300 <= held <= 300


def test_networks_that_say_the_same_do_not_differ() -> None:
    a, _, labels = networks(50)
    found = compare_networks(a, a, labels)
    assert [entry["difference"] for entry in found.values()] == [0.0] * 4
    assert found["upright", "accuracy"]["low"] < 0 < found["upright", "accuracy"]["high"]
    assert difference_of_means(np.full(9, 0.25)) == {"difference": 0.25, "low": None, "high": None, "p": None}


def test_mcnemar_is_the_sign_test_of_the_sources_that_one_alone_has_right() -> None:
    a, b = np.array([1] * 20 + [1] * 9 + [0] * 1 + [0] * 4), np.array([1] * 20 + [0] * 9 + [1] * 1 + [0] * 4)
    assert mcnemar(a, b) == {"both": 20, "only_a": 9, "only_b": 1, "neither": 4, "p": pytest.approx(22 / 1024)}
    assert mcnemar(a, a)["p"] == 1.0
