"""Sources unlike those that were trained on: how far scores of oddness part them, against other programs' numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.covariance import EmpiricalCovariance
from sklearn.metrics import roc_auc_score

from radgal.evaluation import novelty


def test_scores_are_the_larger_the_odder_a_source_is():
    logits = np.array([[9.0, -9.0], [2.0, -1.0], [0.1, 0.0], [-40.0, 700.0]])
    found = novelty.oddness(logits[None], np.array([0.0, 0.2, 0.69, 0.0]))
    assert set(found) | {"distance"} == set(novelty.ODDNESS)
    np.testing.assert_allclose(found["energy"], -np.logaddexp(*logits.T))
    np.testing.assert_allclose(found["probability"], 1 - np.exp(logits.max(1) - np.logaddexp(*logits.T)), atol=1e-15)
    assert found["probability"][0] == pytest.approx(np.exp(-18), rel=1e-6) and np.argmax(found["probability"]) == 2


def test_of_several_networks_probabilities_and_energies_are_averaged():
    logits, nothing = np.random.default_rng(0).normal(size=(3, 20, 2), scale=4), np.zeros(20)
    found, alone = novelty.oddness(logits, nothing), [novelty.oddness(one[None], nothing) for one in logits]
    np.testing.assert_allclose(found["energy"], np.mean([one["energy"] for one in alone], axis=0))
    probs = (np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(found["probability"], 1 - probs.max(axis=1))
    np.testing.assert_array_equal(novelty.oddness(logits[[1, 1]], nothing)["energy"], alone[1]["energy"])


def test_the_distance_is_mahalanobis_to_the_nearest_class():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=300)
    features = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)) + 4 * rng.normal(size=(3, 6))[labels]
    features = np.concatenate([features, np.zeros((300, 2)), features[:, :1]], axis=1)  # dead and doubled units
    means = np.stack([features[labels == k].mean(0) for k in range(3)])
    shared = EmpiricalCovariance(assume_centered=True).fit(features - means[labels])
    new = features[:40] + rng.normal(size=(40, 1)) * features[40:80]
    new[:, 6:8], new[:, 8] = 0, new[:, 0]
    expected = np.min([shared.mahalanobis(new - mean) for mean in means], axis=0)
    found = novelty.Features(features, labels)
    np.testing.assert_allclose(found.distance(new), expected, rtol=1e-6)
    np.testing.assert_allclose(found.distance(means), 0, atol=1e-9)
    assert (novelty.Features(features[labels > 0], labels[labels > 0]).distance(means[1:]) < 1e-9).all()


@pytest.mark.parametrize("seed", range(3))
def test_areas_and_passing_shares_are_those_of_other_programs(seed):
    rng = np.random.default_rng(seed)
    usual, odd = np.round(rng.normal(size=83), 1), np.round(rng.normal(size=31) + seed, 1)  # with ties
    found = novelty.tell_apart(usual, odd)
    truth = np.repeat([0, 1], [83, 31])
    assert found["roc_auc"]["value"] == pytest.approx(roc_auc_score(truth, np.concatenate([usual, odd])))
    threshold = min(one for one in usual if np.mean(usual <= one) >= 0.95)
    assert found["fpr95"]["value"] == pytest.approx(np.mean(odd <= threshold))
    for one in found.values():
        assert one["low"] <= one["value"] <= one["high"] and one["low"] < one["high"]


@pytest.mark.parametrize(
    ("usual", "odd", "area", "passing"),
    [
        ([0.0] * 30, [1.0] * 9, 1, 0),
        ([1.0] * 30, [0.0] * 9, 0, 1),
        ([0.0] * 30, [0.0] * 9, 0.5, 1),
        ([0.0, 1.0], [2.0], 1, 0),
        (list(range(20)), [18.0, 18.5], 0.95, 0.5),
    ],
)
def test_sets_without_overlap_or_spread_have_intervals(usual, odd, area, passing):
    found = novelty.tell_apart(np.array(usual, float), np.array(odd))
    assert found["roc_auc"]["value"] == pytest.approx(area, abs=0.03) and found["fpr95"]["value"] == passing
    for one in found.values():
        assert 0 <= one["low"] <= one["value"] <= one["high"] <= 1 and one["high"] - one["low"] > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.5, 1.5, 3.0])
@pytest.mark.parametrize(("n", "m"), [(104, 34), (104, 438), (50, 20)])
def test_the_interval_of_the_passing_share_holds_the_truth(shift, n, m):
    rng = np.random.default_rng(2)
    truth = {"roc_auc": norm.cdf(shift / np.sqrt(2)), "fpr95": norm.cdf(norm.ppf(0.95) - shift)}
    held = dict.fromkeys(truth, 0)
    for _ in range(1000):
        found = novelty.tell_apart(rng.normal(size=n), rng.normal(size=m) + shift)
        for key, value in truth.items():
            held[key] += found[key]["low"] <= value <= found[key]["high"]
    # DeLong's of few odd sources that hardly overlap with the usual ones is a little narrow
    assert held["roc_auc"] >= 920 and 950 <= held["fpr95"] <= 998, held
