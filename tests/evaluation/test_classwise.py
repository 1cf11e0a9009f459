"""Calibration by class and of the entropy, against sums over bins written out, and of calibrated networks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from radgal.evaluation.questions import classwise
from radgal.evaluation.questions.question import Asked
from tests.evaluation.test_questions import ODD, as_saved, drawn


def gaps(x: np.ndarray, hits: np.ndarray) -> float:
    """The error in 15 bins, one source at a time."""
    found = {}
    for value, hit in zip(x, hits, strict=True):
        found.setdefault(next(b for b in range(15) if value <= (b + 1) / 15 or b == 14), []).append((value, hit))
    return sum(abs(sum(h for _, h in some) - sum(v for v, _ in some)) for some in found.values()) / len(x)


@pytest.mark.parametrize("name", ODD)
def test_errors_are_sums_over_bins(name) -> None:
    probs, labels = ODD[name]
    found = classwise.ask(Asked(as_saved(probs, labels)[1], as_saved(probs, labels)[0]))
    for k, one in enumerate(found["per_class"].values()):
        assert one["value"] == pytest.approx(gaps(probs[:, k], labels == k))
    unsure = [-sum(p * np.log(p) for p in row if p > 0) / np.log(len(row)) for row in probs]
    assert found["uce"]["value"] == pytest.approx(gaps(np.minimum(unsure, 1), probs.argmax(axis=1) != labels))
    assert found["classwise_ece"]["value"] == pytest.approx(
        np.mean([one["value"] for one in found["per_class"].values()])
    )


def test_bins_are_those_of_scikit_learn() -> None:
    probs, labels = drawn(500, 3)
    found = classwise.ask(Asked(as_saved(probs, labels)[1], as_saved(probs, labels)[0]))
    for k, one in enumerate(found["per_class"].values()):
        share, mean = calibration_curve(labels == k, probs[:, k], n_bins=15)
        np.testing.assert_allclose([b["value"] for b in one["bins"]], share)
        np.testing.assert_allclose([b["x"] for b in one["bins"]], mean)


def test_labels_of_a_calibrated_network_are_as_frequent_as_it_says() -> None:
    probs = np.array([[0.2, 0.5, 0.3], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    labels = np.concatenate(list(classwise.labels_of_calibrated(probs, 0)))
    assert labels.shape == (1000, 3)
    np.testing.assert_allclose([(labels == k).mean(axis=0) for k in range(3)], probs.T, atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("n_classes", [2, 4])
def test_a_calibrated_network_is_rarely_above_and_an_overconfident_one_often_is(n_classes) -> None:
    above = {1.0: [], 3.0: []}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        logits = 1.5 * rng.normal(size=(104, n_classes))
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        labels = np.array([rng.choice(n_classes, p=row) for row in probs])
        for sureness, found in above.items():
            said = probs**sureness / (probs**sureness).sum(axis=1, keepdims=True)
            answer = classwise.ask(Asked(as_saved(said, labels)[1], as_saved(said, labels)[0]))
            found.append([answer[key]["value"] > answer[key]["calibrated_high"] for key in ("classwise_ece", "uce")])
    assert np.mean(above[1.0], axis=0) == pytest.approx([0.05, 0.05], abs=0.06)
    assert np.mean(above[3.0], axis=0)[0] > 0.75  # the UCE hardly tells: entropy is no error rate
