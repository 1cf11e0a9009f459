"""Intervals over seeds and sources: against the textbook, at the edges, and how often they cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from radgal.repeats.differences import mean_interval, paired_difference

N = 104


def draw(rng: np.random.Generator, error: float, k: int, easy: np.ndarray, own: float, seeds: float) -> np.ndarray:
    """Returns (k, N) successes: some sources are easy, some for this recipe only, and some seeds fare better."""
    noise = [own * rng.normal(size=len(easy)), seeds * rng.normal(size=(k, 1)), rng.normal(size=(k, len(easy)))]
    middle = norm.isf(error) * np.sqrt(easy.var() + own**2 + seeds**2 + 1)
    return (middle + easy + sum(noise) > 0).astype(float)


def test_of_one_seed_it_is_the_adjusted_interval_of_paired_proportions():
    a, b = np.ones((1, 50)), np.ones((1, 50))
    a[0, :2], b[0, :9] = 0, 0  # only a has 7 right, only b none
    found = paired_difference(a, b)
    ratio = (7 + 1) / 52, (0 + 1) / 52  # Bonett & Price 2012, equation 8, with t for z
    middle, variance = ratio[1] - ratio[0], (sum(ratio) - (ratio[0] - ratio[1]) ** 2) / 52
    half = (found["high"] - found["low"]) / 2
    assert found["difference"] == pytest.approx(-7 / 50) and found["over"] == "sources"
    assert (found["high"] + found["low"]) / 2 == pytest.approx(middle)
    assert half == pytest.approx(2.0076 * np.sqrt(variance * 52 / 51), rel=1e-4)


def test_large_samples_give_the_analysis_of_variance():
    """Sources and seeds crossed, by the mean squares of a table that is written out."""
    rng = np.random.default_rng(0)
    y = rng.random((4, 3000)) * 0.4 + 0.05 * rng.normal(size=(4, 1)) + 0.2 * rng.random(3000)
    seeds, sources = y.mean(axis=1), y.mean(axis=0)
    rest = y - seeds[:, None] - sources + y.mean()
    variance = sources.var(ddof=1) / 3000 + seeds.var(ddof=1) / 4 - (rest**2).sum() / (3 * 2999) / 3000 / 4
    found = mean_interval(y)
    assert (found["high"] - found["low"]) / 2 == pytest.approx(3.182 * np.sqrt(variance), rel=0.05)  # 3 df, nearly


def test_order_of_seeds_and_of_recipes_does_not_matter():
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 3, N)) < 0.9
    a, b = a.astype(float), b.astype(float)
    one, two, back = paired_difference(a, b), paired_difference(a, b[::-1]), paired_difference(b, a)
    assert one == pytest.approx(two)
    assert (back["low"], back["high"]) == pytest.approx((-one["high"], -one["low"]))
    assert back["p"] == pytest.approx(one["p"])


@pytest.mark.parametrize("k", [1, 3])
def test_no_interval_is_without_width_and_none_leaves_the_range(k):
    right, wrong = np.ones((k, N)), np.zeros((k, N))
    for y in (right, wrong):
        found = mean_interval(y)
        assert 0 <= found["low"] < found["high"] <= 1 and found["low"] <= found["value"] <= found["high"]
        same = paired_difference(y, y)
        assert same["low"] < 0 < same["high"] and same["p"] == 1
    found = paired_difference(wrong, right)
    assert found["difference"] == 1 and found["low"] > 0.9 and found["high"] <= 1 and found["p"] < 1e-6


def test_recipes_may_have_different_numbers_of_seeds():
    rng = np.random.default_rng(4)
    easy = 2 * rng.normal(size=N)
    a, b = (draw(rng, error, 5, easy, 1, 0.2) for error in (0.2, 0.05))
    all_five, two = paired_difference(a, b), paired_difference(a[:2], b)
    assert two["difference"] == pytest.approx(b.mean() - a[:2].mean()) and two["low"] < two["high"] < 1
    assert two["high"] - two["low"] > all_five["high"] - all_five["low"]
    assert paired_difference(a[:1], b)["over"] == "sources"


def test_seeds_with_sources_of_their_own_are_one_design():
    """Where each seed lacks some sources the interval lies about where it would, and is somewhat wider."""
    rng = np.random.default_rng(2)
    easy = 2 * rng.normal(size=600)
    a, b = (draw(rng, error, 5, easy, 1, 0.2) for error in (0.15, 0.05))
    gone = rng.random(a.shape) < 0.5
    whole, part = paired_difference(a, b), paired_difference(*(np.where(gone, np.nan, y) for y in (a, b)))
    assert part["difference"] == pytest.approx(whole["difference"], abs=0.03) and part["p"] < 0.05
    assert 0.9 < (part["high"] - part["low"]) / (whole["high"] - whole["low"]) < 3


def test_seeds_that_share_few_sources_have_no_boundless_interval():
    """As validation sources, which each seed draws anew: degrees of freedom below those of the seeds made it [0, 1]."""
    rng, widths, held = np.random.default_rng(5), [], 0
    for _ in range(40):
        y = draw(rng, 0.2, 3, 2 * rng.normal(size=729), own=1, seeds=0.25)
        y[rng.random(y.shape) < 0.8] = np.nan
        found = mean_interval(y[:, np.isfinite(y).any(axis=0)])
        widths.append(found["high"] - found["low"])
        held += found["low"] <= 0.8 <= found["high"]
    assert np.median(widths) < 0.25 and max(widths) < 0.9 and held >= 34


@pytest.mark.slow
@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("errors", [(0.04, 0.04), (0.10, 0.04), (0.04, 0.02)], ids=str)
def test_intervals_cover_as_often_as_they_say(k, errors):
    """1500 pairs of recipes on 104 sources each; seeds spread by about as much as those of docs/results.md."""
    rng, n_trials, covered = np.random.default_rng(k), 1500, np.zeros(2)
    for _ in range(n_trials):
        easy = 2 * rng.normal(size=N)
        a, b = (draw(rng, error, k, easy, own=1, seeds=0.25) for error in errors)
        mean, both = mean_interval(a), paired_difference(a, b)
        covered += mean["low"] <= 1 - errors[0] <= mean["high"], both["low"] <= errors[0] - errors[1] <= both["high"]
    assert ((covered >= 0.925 * n_trials) & (covered <= 0.985 * n_trials)).all(), covered / n_trials
