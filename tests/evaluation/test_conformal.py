"""Sets of classes: the quantile against p values, and the promise in simulated surveys."""

from __future__ import annotations

import math

import numpy as np
import pytest

from radgal.evaluation import conformal
from tests.evaluation.test_questions import drawn


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_a_class_is_in_the_set_if_its_p_value_is_above_one_minus_the_coverage(coverage) -> None:
    """The definition by p values (Vovk et al. 2005): (1 + calibration scores of the class as large) / (n + 1)."""
    probs, labels = drawn(80, 3)
    asked, _ = drawn(40, 3, seed=1)
    found = conformal.sets_of(asked, conformal.thresholds(conformal.class_scores(probs, labels), coverage))
    for row, one in zip(asked, found, strict=True):
        for k in range(3):
            scores = 1 - probs[labels == k, k]
            p_value = (1 + (scores >= 1 - row[k]).sum()) / (len(scores) + 1)
            assert one[k] == (p_value > 1 - coverage + 1e-9)


def test_too_few_sources_leave_every_class_in() -> None:
    for coverage, n in ((0.9, 9), (0.95, 19), (0.5, 1)):
        assert conformal.fewest(coverage) == n
        assert conformal.thresholds([[0.1] * n, [0.1] * (n - 1), []], coverage) == [0.1, None, None]
    assert conformal.sets_of(np.array([[0.0, 1.0]]), [None, 0.1]).tolist() == [[True, True]]
    assert conformal.sets_of(np.array([[0.5, 0.5]]), [0.1, 0.1]).tolist() == [[False, False]]


def test_the_promise_is_kept_for_each_class_however_bad_the_network() -> None:
    """Over draws of calibration sources: at least the coverage, at most 1 / (n + 1) more, also of a rare class."""
    rng, held, coverage, n = np.random.default_rng(0), [], 0.9, (60, 15)
    for _ in range(400):
        labels = np.repeat([0, 1, 0, 1], [*n, 50, 50])
        logits = 3 * rng.normal(size=(len(labels), 2)) + np.eye(2)[labels] * (0.3, 2.0)
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        first = slice(0, sum(n))
        limits = conformal.thresholds(conformal.class_scores(probs[first], labels[first]), coverage)
        found = conformal.sets_of(probs[sum(n) :], limits)
        held.append([found[:50, 0].mean(), found[50:, 1].mean()])
    for share, size in zip(np.mean(held, axis=0), n, strict=True):
        exact = math.ceil((size + 1) * coverage) / (size + 1)
        assert share == pytest.approx(exact, abs=0.015) and share > coverage - 0.015
