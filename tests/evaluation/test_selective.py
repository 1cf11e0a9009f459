"""Risk against coverage, against thresholds tried one by one."""

from __future__ import annotations

import numpy as np
import pytest

from radgal.evaluation.questions import selective
from tests.evaluation.test_intervals import draw
from tests.evaluation.test_questions import ODD, drawn


@pytest.mark.parametrize("name", ODD)
def test_mistakes_of_the_surest_are_those_above_each_threshold(name) -> None:
    probs, labels = ODD[name]
    mistakes, confidence = selective.mistakes_kept(probs, labels)
    sure, wrong = probs.max(axis=1), probs.argmax(axis=1) != labels
    for threshold in np.unique(sure):
        kept = sure >= threshold
        assert mistakes[kept.sum() - 1] == pytest.approx(wrong[kept].sum())
        assert confidence[kept.sum() - 1] == threshold
    assert (np.diff(np.append(0, mistakes)) >= -1e-12).all() and (np.diff(confidence) <= 0).all()


def test_ties_count_as_any_order_of_them_does_on_average() -> None:
    rng = np.random.default_rng(0)
    sure = np.array([0.9, 0.8, 0.8, 0.8, 0.6])
    probs, labels = np.stack([sure, 1 - sure], axis=1), np.array([0, 1, 0, 0, 1])
    found = selective.mistakes_kept(probs, labels)[0]
    orders = [rng.permutation(5) for _ in range(4000)]
    orders = [order[np.argsort(-sure[order], kind="stable")] for order in orders]
    np.testing.assert_allclose(found, np.mean([np.cumsum(labels[order]) for order in orders], axis=0), atol=0.03)


def test_area_against_its_definition_and_the_best_and_worst_order() -> None:
    probs, labels = drawn(104, 2)
    area, excess = selective.area_under_risk(selective.mistakes_kept(probs, labels)[0])
    wrong = (probs.argmax(axis=1) != labels)[np.argsort(-probs.max(axis=1))]
    assert 0 < wrong.sum() < 104
    risks = [wrong[:k].mean() for k in range(1, 105)]
    best = [np.sort(wrong)[:k].mean() for k in range(1, 105)]
    assert (area, excess) == pytest.approx((np.mean(risks), np.mean(risks) - np.mean(best)))
    assert selective.area_under_risk(np.cumsum(np.sort(wrong)))[1] == pytest.approx(0)
    assert selective.area_under_risk(np.zeros(10)) == (0, 0)
    assert selective.area_under_risk(np.arange(1.0, 11)) == (1, 0)


def test_the_error_at_a_coverage_is_of_no_fewer_sources_than_it_says() -> None:
    mistakes, confidence = np.arange(1.0, 105), np.linspace(1, 0, 104)
    assert [selective.error_at(mistakes, confidence, at)["n"] for at in (1, 0.9, 0.5)] == [104, 94, 52]
    assert selective.error_at(np.arange(1.0, 11), np.ones(10), 0.7)["n"] == 7  # 0.7 * 10 is above 7 in floats


@pytest.mark.slow
@pytest.mark.parametrize(
    ("separation", "scale"), [(2.35, 1.0), (2.35, 2.5), (4.1, 1.0)], ids=["calibrated", "overconfident", "good"]
)
@pytest.mark.parametrize("n", [104, 50])
def test_the_interval_of_the_error_at_90_per_cent_coverage_holds_the_truth(separation, scale, n) -> None:
    """The truth is the error above the threshold that answers 90 % of endless sources."""
    rng = np.random.default_rng(3)

    def error(n_sources: int) -> dict:
        logits, labels = draw(separation, n_sources, scale, rng)
        probs = 1 / (1 + np.exp(logits[:, ::-1] - logits))
        return selective.error_at(*selective.mistakes_kept(probs, labels), 0.9)

    truth = error(1_000_000)["value"]
    found = [error(n) for _ in range(2000)]
    coverage = np.mean([one["low"] <= truth <= one["high"] for one in found])
    # of 50 sources hardly one is wrong, and one more moves Wilson's interval past so rare a truth
    assert (0.85 if (n, separation) == (50, 4.1) else 0.93) <= coverage <= 0.995, coverage
