"""Intervals that hold the truth as often as they say, and that have a width however few sources there are."""

from __future__ import annotations

import numpy as np
import pytest

from radgal.evaluation import intervals, metrics
from radgal.evaluation.questions import selective
from radgal.evaluation.scorer import Predictions

CLASSES = ("FRI", "FRII")
OF_A_TEST = {score.key: score for score in metrics.SCORES}
OF_A_CLASS = {score.key: score for score in metrics.CLASS_SCORES}


def draw(separation: float, n: int, scale: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two classes (55 of 104 are FRII) with normal margins, which are calibrated if ``scale`` is 1."""
    labels = (rng.random(n) < 55 / 104).astype(int)
    margin = (2 * labels - 1) * separation**2 / 2 + separation * rng.normal(size=n)
    return scale * np.stack([-margin / 2, margin / 2 + np.log(55 / 49)], axis=1), labels


def values_and_ends(of: Predictions) -> dict[str, dict]:
    shown = {key: OF_A_TEST[key].measure(of)[0] for key in ("accuracy", "balanced_accuracy", "mcc", "roc_auc")}
    shown |= {key: OF_A_TEST[key].measure(of)[0] for key in ("nll", "brier")}
    shown |= {"f1": OF_A_CLASS["f1"].measure(of)[1]}
    shown |= {key: OF_A_CLASS[key].measure(of)[0] for key in ("recall", "precision")}
    mistakes, confidence = selective.mistakes_kept(of.probs, of.labels)
    return shown | {"error of the surest 90 %": selective.error_at(mistakes, confidence, 0.9)}


@pytest.mark.slow
@pytest.mark.parametrize(("n", "n_tests", "lowest"), [(104, 1000, 0.93), (50, 500, 0.92)])
@pytest.mark.parametrize(
    ("separation", "scale"), [(2.35, 1.0), (2.35, 2.5), (4.1, 1.0)], ids=["calibrated", "overconfident", "good"]
)
def test_intervals_hold_the_truth(separation, scale, n, n_tests, lowest):
    """In tests of networks with 12 % error, of the same made overconfident, and of those with 2 % error."""
    rng = np.random.default_rng(0)
    everything = Predictions(*draw(separation, 400_000, scale, rng))
    truth = {key: one["value"] for key, one in values_and_ends(everything).items()}
    held = dict.fromkeys(truth, 0)
    for seed in range(n_tests):
        found = values_and_ends(Predictions(*draw(separation, n, scale, rng), seed=seed))
        for key, one in found.items():
            assert one["low"] <= one["value"] <= one["high"] and one["low"] < one["high"]
            held[key] += one["low"] <= truth[key] <= one["high"]
    coverage = {key: number / n_tests for key, number in held.items()}
    # one mistake more or less moves Wilson's interval past a rare truth, as is known of it
    least = {key: 0.88 if key in ("accuracy", "recall", "precision") else lowest for key in coverage}
    least["error of the surest 90 %"] = 0.93 if n > 100 else 0.83  # fewer mistakes yet
    assert {key: share for key, share in coverage.items() if not least[key] <= share <= 0.99} == {}


@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("n", [6, 104])
def test_a_test_without_a_mistake_leaves_every_score_open(n, n_classes):
    labels = np.arange(n) % n_classes
    n_seen = len(set(labels))
    found = metrics.score_predictions(20.0 * np.eye(n_classes)[labels], labels, list(map(str, range(n_classes))))
    for score in metrics.SCORES:
        one = found[score.key]
        if score.key.startswith("ece") or one["value"] is None:
            assert one["low"] is None
            continue
        is_best = one["value"] == pytest.approx(1.0 if score.larger_is_better else 0.0, abs=1e-6)
        assert is_best and one["high"] - one["low"] > 0.01, score.key
    f1 = [one["f1"] for one in found["per_class"].values() if one["n_sources"]]
    assert len(f1) == n_seen and all(one["low"] < 0.999 and one["high"] == 1 for one in f1)
    assert "[" in metrics.ERROR.text(found["error"])


def test_newcombe_interval_is_that_of_the_paper_s_equation():
    low, high = intervals.newcombe(0.9, 30, 40)
    for end in (low, high):
        q1, q2, middle = end / (2 - end), 2 * end**2 / (1 + end), 35 - 1
        variance = (end * (1 - end) + middle * (q1 - end**2) + middle * (q2 - end**2)) / (30 * 40)
        assert abs(end - 0.9) == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-5)
    assert low < 0.9 < high
    assert intervals.newcombe(1.0, 5, 5)[0] < 0.9 and intervals.newcombe(1.0, 5, 5)[1] == 1.0


def test_the_variance_of_a_roc_area_is_delongs():
    rng = np.random.default_rng(1)
    logits, labels = draw(2.0, 60, 1.0, rng)
    logits[::5] = np.round(logits[::5])  # ties
    ours = metrics.score_predictions(logits, labels, CLASSES)["roc_auc"]
    positive, negative = (logits[labels == k, 1] - logits[labels == k, 0] for k in (1, 0))
    wins = (np.sign(positive[:, None] - negative) + 1) / 2
    variance = wins.mean(1).var(ddof=1) / len(positive) + wins.mean(0).var(ddof=1) / len(negative)
    assert ours["value"] == pytest.approx(wins.mean())
    expected = intervals.logit_interval(wins.mean(), variance)
    assert (ours["low"], ours["high"]) == pytest.approx(expected)


def test_studentized_interval_of_even_losses_is_students():
    values = np.linspace(0, 2, 2001)
    low, high = intervals.studentized(values, 1.0)
    half = 1.959964 * values.std(ddof=1) / np.sqrt(2001)
    assert (low, high) == (pytest.approx(1 - half, rel=1e-3), pytest.approx(1 + half, rel=1e-3))
    assert intervals.studentized(np.full(9, 0.7), 0.7) == (None, None)


def test_calibration_error_stands_beside_that_of_a_calibrated_network():
    rng = np.random.default_rng(2)
    calibrated, overconfident = (
        metrics.score_predictions(*draw(2.35, 2000, scale, rng), CLASSES) for scale in (1.0, 2.5)
    )
    assert calibrated["ece"]["value"] < calibrated["ece"]["calibrated_high"]
    assert abs(calibrated["ece_debiased"]["value"]) < 0.02
    assert overconfident["ece"]["value"] > overconfident["ece"]["calibrated_high"]
    gap = overconfident["ece"]["value"] - overconfident["ece"]["calibrated"]
    assert overconfident["ece_debiased"]["value"] == pytest.approx(gap)
    assert "of a calibrated network" in metrics.ECE.text(calibrated["ece"])
    few = [metrics.score_predictions(*draw(2.35, 104, 1.0, rng), CLASSES)["ece_debiased"]["value"] for _ in range(40)]
    assert abs(np.mean(few)) < 3 * np.std(few) / np.sqrt(40)
