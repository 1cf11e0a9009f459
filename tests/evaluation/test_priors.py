"""Another mix of classes: probabilities, purity and counts, against Bayes' rule and simulated surveys."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from radgal.evaluation import priors
from radgal.evaluation.questions import purity
from radgal.evaluation.questions.question import Asked
from tests.evaluation.test_questions import as_saved, drawn
from utils import UserError

SURVEY, TRAINING = (0.9, 0.1), (0.47, 0.53)


def sky(n: int, share: float, rng: np.random.Generator, trained: float = TRAINING[1], separation: float = 2.35):
    """Sources with normal margins, a share of them FR II, and posteriors calibrated for the mix of training."""
    labels = (rng.random(n) < share).astype(int)
    margin = (2 * labels - 1) * separation**2 / 2 + separation * rng.normal(size=n)
    p = 1 / (1 + np.exp(-margin) * (1 - trained) / trained)
    return np.stack([1 - p, p], axis=1), labels


def test_probabilities_are_those_that_bayes_gives_under_the_other_mix() -> None:
    margins = np.random.default_rng(0).normal(size=(50, 3))
    densities = np.exp(margins)
    mixes = np.array([(0.2, 0.3, 0.5), (0.6, 0.3, 0.1)])
    here, there = (densities * mix / (densities * mix).sum(axis=1, keepdims=True) for mix in mixes)
    np.testing.assert_allclose(priors.rescaled(here, mixes[1], mixes[0]), there)
    np.testing.assert_array_equal(priors.rescaled(np.eye(2), SURVEY, TRAINING), np.eye(2))


def test_corrected_probabilities_are_calibrated_in_the_survey_and_sum_to_its_counts() -> None:
    probs, labels = sky(200_000, SURVEY[1], np.random.default_rng(1))
    corrected = priors.rescaled(probs, SURVEY, TRAINING)
    for low in np.arange(0, 1, 0.1):
        rows = (corrected[:, 1] >= low) & (corrected[:, 1] < low + 0.1)
        assert labels[rows].mean() == pytest.approx(corrected[rows, 1].mean(), abs=0.03)
    (_, one), (_, raw) = priors.summed_counts(corrected), priors.summed_counts(probs)
    assert one["low"] < labels.sum() < one["high"] and raw["low"] > 1.5 * labels.sum()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_completeness_and_purity_are_recall_and_precision_at_each_threshold(n_classes) -> None:
    probs, labels = drawn(150, n_classes)
    found = purity.ask(Asked(as_saved(probs, labels)[1], as_saved(probs, labels)[0]))
    for k, one in enumerate(found["per_class"].values()):
        for i, at in enumerate(found["thresholds"]):
            kept = probs[:, k] >= at
            assert one["completeness"][i][0] == pytest.approx(recall_score(labels == k, kept))
            expected = precision_score(labels == k, kept) if kept.any() else None
            assert one["purity"][i][0] == (expected if expected is None else pytest.approx(expected))
            assert one["selected"][i] == pytest.approx(1000 * kept.mean())


def test_purity_in_a_survey_is_that_of_weighted_test_sources() -> None:
    probs, labels = drawn(150, 2)
    mix = {"survey": {"FRI": SURVEY[0], "FRII": SURVEY[1]}, "training": {"FRI": TRAINING[0], "FRII": TRAINING[1]}}
    metrics, table = as_saved(probs, labels, priors=mix, run_temperature=2.0)
    found = purity.ask(Asked(table, metrics))
    scaled = np.sqrt(probs) / np.sqrt(probs).sum(axis=1, keepdims=True)
    corrected = scaled * np.array(SURVEY) / TRAINING
    corrected /= corrected.sum(axis=1, keepdims=True)
    weights = np.array(SURVEY)[labels] / np.bincount(labels)[labels]
    for k, one in enumerate(found["per_class"].values()):
        for i, at in enumerate(found["thresholds"]):
            kept = corrected[:, k] >= at
            assert one["selected"][i] == pytest.approx(1000 * weights[kept].sum())
            if kept.any():
                value, low, high = one["purity"][i]
                assert value == pytest.approx(np.average(labels[kept] == k, weights=weights[kept]))
                assert low < value < high or value in (low, high) and low < high


def test_counts_are_corrected_for_confusion() -> None:
    confusion = [[80, 20], [5, 95]]
    (one, two) = priors.corrected_counts([0.8 * 300 + 0.05 * 700, 0.2 * 300 + 0.95 * 700], confusion)
    assert (one["value"], two["value"]) == pytest.approx((300, 700))
    assert 0 < one["low"] < 300 < one["high"] < 1000
    assert priors.corrected_counts([10, 20], [[5, 0], [0, 0]]) is None
    assert priors.corrected_counts([10, 20], [[5, 5], [5, 5]]) is None
    assert priors.corrected_counts([0, 0], confusion) is None
    perfect = priors.corrected_counts([10, 20], [[50, 0], [0, 50]])
    assert all(entry["low"] < entry["value"] < entry["high"] for entry in perfect)


@pytest.mark.slow
@pytest.mark.parametrize(("n_test", "separation"), [(104, 2.35), (104, 4.1), (300, 2.35)], ids=str)
def test_intervals_of_counts_and_of_purity_hold_the_truth(n_test, separation) -> None:
    """A test of a mix like training's, a survey of 1000 sources of another, and purity at a probability of 0.5."""
    rng, held, n_sky = np.random.default_rng(0), [], 1000
    probs, labels_of_all = sky(400_000, 0.3, rng, separation=separation)
    everything = priors.rescaled(probs, (0.7, 0.3), TRAINING)
    truth = (labels_of_all == 1)[everything[:, 1] >= 0.5].mean()
    at = purity.THRESHOLDS.index(0.5)
    for seed in range(600):
        probs, labels = sky(n_test, TRAINING[1], rng, separation=separation)
        confusion = np.zeros((2, 2))
        np.add.at(confusion, (labels, probs.argmax(axis=1)), 1)
        asked, true = sky(n_sky, 0.3, rng, separation=separation)
        counts = priors.corrected_counts(np.bincount(asked.argmax(axis=1), minlength=2), confusion)
        summed = priors.summed_counts(priors.rescaled(asked, (0.7, 0.3), TRAINING))
        scores = priors.rescaled(probs, (0.7, 0.3), TRAINING)[:, 1]
        kept, n = purity.selected(scores, labels, 2), np.bincount(labels, minlength=2)
        _, low, high = purity.purity_in_survey(kept, n, 1, np.array([0.7, 0.3]), seed)[at]
        inside = [one[1]["low"] <= true.sum() <= one[1]["high"] for one in (counts, summed)]
        held.append([*inside, low <= truth <= high])
    corrected, summed, pure = np.mean(held, axis=0)
    assert 0.92 < corrected <= 1 and 0.92 < summed < 0.98 and 0.92 < pure <= 0.99, (corrected, summed, pure)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["FRI=0.7"], "FRII has no share"),
        (["FRI=0.7", "FR2=0.3"], "FR2=0.3: give CLASS=SHARE.*nearest: FRI"),
        (["FRI=0.7", "FRII=0.4"], "must sum to 1, not to 1.1"),
        (["FRI=1", "FRII=0"], "above 0 and below 1"),
        (["FRI=much", "FRII=0.3"], "above 0 and below 1"),
        (["FRI=nan", "FRII=0.3"], "above 0 and below 1"),
        (["FRI=0.7", "FRI=0.7", "FRII=0.3"], "must sum to 1"),
        (["0.7", "0.3"], "give CLASS=SHARE"),
    ],
)
def test_mistakes_in_priors_are_said(words, message) -> None:
    with pytest.raises(UserError, match=message):
        priors.read_priors(words, ("FRI", "FRII"))
    assert priors.read_priors(["FRII=0.25", "FRI=.75"], ("FRI", "FRII")) == [0.75, 0.25]
