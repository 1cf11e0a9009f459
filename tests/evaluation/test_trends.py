"""Accuracy against what sources are like: bins, trends, and what is measured on the images."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from radgal.evaluation import trends
from radgal.images.measured import MEASURED, measure


def draw(n: int, slope: float, rng: np.random.Generator, intercept: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=n)
    return x, rng.random(n) < 1 / (1 + np.exp(-intercept - slope * x))


def test_a_trend_of_many_sources_is_that_of_logistic_regression():
    x, correct = draw(4000, 0.7, np.random.default_rng(0))
    found = trends.logistic_trend(x, correct)
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(x[:, None], correct).coef_[0, 0]
    ratio = found["odds_ratio"]
    assert np.log(ratio["value"]) == pytest.approx(expected, abs=2e-3)
    assert ratio["low"] < np.exp(0.7) < ratio["high"] and found["p"] < 1e-10


def test_a_trend_of_few_sources_is_firths():
    rng = np.random.default_rng(3)
    x, correct = draw(25, 1.0, rng, intercept=1.0)

    def penalized(a, b):
        p = 1 / (1 + np.exp(-a - b * x))
        design = np.stack([np.ones_like(x), x])
        return np.log(np.where(correct, p, 1 - p)).sum() + 0.5 * np.linalg.slogdet(design * p * (1 - p) @ design.T)[1]

    best = np.array([0.0, 0.0])
    for step in (0.5, 0.1, 0.02, 0.004):  # a search by hand
        grid = [best + step * np.array([i, j]) for i in range(-8, 9) for j in range(-8, 9)]
        best = max(grid, key=lambda one: penalized(*one))
    assert np.log(trends.logistic_trend(x, correct)["odds_ratio"]["value"]) == pytest.approx(best[1], abs=5e-3)


def test_sources_that_a_size_parts_wholly_have_a_finite_trend():
    x = np.arange(30.0)
    found = trends.logistic_trend(x, x > 9)
    assert 1 < found["odds_ratio"]["low"] < found["odds_ratio"]["value"] < found["odds_ratio"]["high"] < 1e6
    assert found["p"] < 1e-4
    some_wrong = trends.logistic_trend(x, x % 6 > 0)
    assert some_wrong["odds_ratio"]["low"] < 1 < some_wrong["odds_ratio"]["high"] and some_wrong["p"] > 0.2
    for few in (0, 4, 26, 30):  # one source would be the whole trend
        assert trends.logistic_trend(x, x < few) == {"odds_ratio": None, "p": None}


def test_bins_have_all_sources_once_and_part_no_equal_values():
    rng = np.random.default_rng(1)
    values = rng.choice([1.0, 2.0, 2.5, 9.0], p=[0.5, 0.3, 0.1, 0.1], size=203)
    correct = rng.random(203) < 0.8
    bins = trends.quantile_bins(values, correct)
    assert sum(one["n"] for one in bins) == 203
    assert all(a["high"] < b["low"] for a, b in zip(bins, bins[1:], strict=False))
    for one in bins:
        inside = (values >= one["low"]) & (values <= one["high"])
        assert one["n"] == inside.sum() and one["accuracy"]["value"] == pytest.approx(correct[inside].mean())
    assert [one["n"] for one in trends.quantile_bins(np.arange(40.0), np.ones(40, bool))] == [10] * 4


def test_only_what_is_known_is_asked_and_all_of_it_is_corrected_for():
    rng = np.random.default_rng(2)
    x, correct = draw(200, 1.5, rng)
    size = 2.0**x
    size[:5] = [np.nan, 0, -1, np.inf, np.nan]
    known = {
        "las_arcsec": size,
        "contrast": np.append(np.full(199, 255.0), 127),
        "redshift": np.where(np.arange(200) < 19, 0.1, np.nan),
    }
    found = trends.accuracy_trends(correct, known | {"size_px": rng.random(200)})
    assert set(found) == {"las_arcsec", "size_px"} and found["las_arcsec"]["n"] == 195
    alone = trends.logistic_trend(x[5:], correct[5:])["odds_ratio"]
    assert found["las_arcsec"]["odds_ratio"] == pytest.approx(alone, rel=1e-5)
    p = [found[key]["p"] for key in ("las_arcsec", "size_px")]
    assert [found[key]["p_holm"] for key in ("las_arcsec", "size_px")] == pytest.approx([2 * p[0], max(2 * p[0], p[1])])
    assert trends.holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    none_wrong = trends.accuracy_trends(np.ones(200, bool), {"size_px": rng.random(200)})
    assert none_wrong["size_px"]["p_holm"] is None and none_wrong["size_px"]["bins"][0]["accuracy"]["value"] == 1


def test_sizes_and_contrasts_are_measured_on_images():
    y, x = np.mgrid[:60, :60]
    round_ones = [255 * np.exp(-((x - 20) ** 2 + (y - 35) ** 2) / (2 * sd**2)) for sd in (2.0, 5.0)]
    point = np.zeros((60, 60))
    point[7, 50] = 255
    images = np.stack([*round_ones, point, np.zeros((60, 60))]).round().astype(np.uint8)
    found = measure(images)
    assert set(found) == set(MEASURED)
    np.testing.assert_allclose(found["size_px"][:3], [2 * np.sqrt(2), 5 * np.sqrt(2), 0], rtol=0.02, atol=1e-6)
    np.testing.assert_allclose(found["flux_per_peak"][:3], [2 * np.pi * 4, 2 * np.pi * 25, 1], rtol=0.01)
    assert all(np.isnan(values[3]) for values in found.values())
    assert found["contrast"][0] == 255 and found["contrast"][2] == 1
    images[images < 51] = 0  # as a recipe leaves what is under 3 standard deviations of the noise
    assert measure(images)["contrast"][1] == pytest.approx(5, rel=0.1)


@pytest.mark.slow
def test_trends_are_found_as_often_as_p_says_and_intervals_hold_the_truth():
    rng, n_tests = np.random.default_rng(5), 150
    for slope in (0.0, 0.8):
        found = [trends.logistic_trend(*draw(104, slope, rng, 2.5)) for _ in range(n_tests)]
        there = [one for one in found if one["p"] is not None]
        held = np.mean([one["odds_ratio"]["low"] <= np.exp(slope) <= one["odds_ratio"]["high"] for one in there])
        assert 0.9 <= held <= 0.99
        if slope == 0:
            assert np.mean([one["p"] < 0.05 for one in there]) == pytest.approx(1 - held)
