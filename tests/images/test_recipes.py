"""The recipes: the published images to the last bit, and what becomes of noise, edges and missing pixels."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from radgal.commands.prepare import LIKE
from radgal.config.keys import DataSection
from radgal.data.datasets import DATASETS, PUBLISHED
from radgal.images.reading import read_image
from radgal.images.recipes import RECIPES, clipped_std, fit_to_side, noise_threshold, resample, to_uint8
from tests.images.test_fits import a_field
from utils import UserError


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["MiraBest_full", "MiraBest_full_v2"])
def test_every_cutout_gives_the_published_image_in_every_pixel(cutouts, real_data, tmp_path_factory, name) -> None:
    root = tmp_path_factory.getbasetemp() / "mirabest"
    published = {}
    for train in (True, False):
        data = DATASETS[name](root, train=train, mirror=real_data)
        published |= dict(zip(data.names, data.data.numpy(), strict=True))
    for path in cutouts:
        image = read_image(path, recipe=DATASETS[name].recipe)
        expected = published[path.name.removesuffix(".fits.gz")]
        assert np.array_equal(image.pixels, expected), f"{path.name}: {(image.pixels != expected).sum()} pixels differ"
        assert image.pixel_scale_arcsec == pytest.approx(1.8) and image.flags == ()


@pytest.mark.real_data
def test_frdeep_is_made_as_mirabest_v1_is(real_data, tmp_path) -> None:
    """The same FIRST image of a source stands in both, so one recipe made both."""

    def contents(name):
        parts = [DATASETS[name](tmp_path, train=train, mirror=real_data).data.numpy() for train in (True, False)]
        return {image.tobytes() for image in np.concatenate(parts)}

    assert len(contents("FRDEEPF") & contents("MiraBest_full")) == 39
    assert RECIPES[DATASETS["FRDEEPF"].recipe] == RECIPES["mirabest_v1"]


def test_every_data_set_names_a_recipe_and_a_pixel_scale() -> None:
    for dataset in PUBLISHED.values():
        assert dataset.recipe in RECIPES and dataset.pixel_scale_arcsec > 0


def test_missing_pixels_are_background_and_no_part_of_the_noise() -> None:
    field = a_field((60, 60))
    whole = to_uint8(field, "mirabest_v1", 20)
    field[0, 0] = field[59, 3] = np.nan
    field[30, 59] = np.inf
    assert noise_threshold(field, "mirabest_v1") == pytest.approx(3.0, rel=0.1)
    assert np.array_equal(to_uint8(field, "mirabest_v1", 20) > 0, whole > 0)
    assert to_uint8(np.full((9, 9), np.nan), "mirabest_v1", 20).max() == 0


@pytest.mark.real_data
def test_the_noise_is_astropy_s_to_the_last_bit(cutouts) -> None:
    from astropy.io.fits import getdata
    from astropy.stats import sigma_clipped_stats

    generator = np.random.default_rng(0)
    fields = [getdata(path).astype(np.float64).ravel() for path in cutouts[::4]]
    fields += [generator.normal(size=n) for n in (1, 2, 3, 10, 99, 4001)]
    fields += [generator.standard_cauchy(9000), np.round(generator.normal(size=9000)), np.full(81, 7.0)]
    for values in fields:
        for n in (1, 5, 50):
            assert clipped_std(values, n) == sigma_clipped_stats(values, sigma=3.0, maxiters=n)[2], (len(values), n)
    assert np.isnan(clipped_std(np.empty(0), 5))


@pytest.mark.parametrize("value", [0.0, 7.0, 1e308, -1e308])
def test_a_field_of_one_value_is_blank_or_one_level(value) -> None:
    assert to_uint8(np.full((30, 30), value), "mirabest_v1", 20).min() == 0


def test_version_2_blanks_beyond_the_inscribed_circle() -> None:
    field = np.random.default_rng(0).normal(size=(60, 60))
    field[20:40, 20:40] += 100
    y, x = np.mgrid[:20, :20]
    outside = np.hypot(x - 10, y - 10) > 10
    assert to_uint8(field, "mirabest_v1", 20)[outside].max() > 0
    assert to_uint8(field, "mirabest_v2", 20)[outside].max() == 0


def test_the_middle_is_taken_and_the_small_is_surrounded() -> None:
    image = np.arange(1, 301 * 300 + 1, dtype=float).reshape(301, 300)
    assert np.array_equal(fit_to_side(image, 150), image[75:225, 75:225])
    small = fit_to_side(np.ones((3, 8)), 6)
    assert small.shape == (6, 6) and np.array_equal(np.flatnonzero(small.any(1)), [1, 2, 3])


def test_resampling_keeps_the_middle_and_the_level() -> None:
    field = np.zeros((40, 40))
    field[15:25, 15:25] = 1.0
    for factor in (0.5, 1.0, 2.5):
        scaled = resample(field, (factor, factor))
        side = round(40 * factor)
        rows = scaled.sum(1)
        assert scaled.shape == (side, side) and scaled.sum() == pytest.approx(100 * factor**2, rel=0.05)
        assert (rows * np.arange(side)).sum() / rows.sum() == pytest.approx((side - 1) / 2)
    with pytest.raises(UserError, match="factor of 1e-05"):
        resample(field, (1e-5, 1e-5))


def test_a_recipe_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match="'mirabest_v3' is no recipe.*mirabest_v1"):
        to_uint8(a_field(), "mirabest_v3")


def test_every_recipe_can_be_asked_for() -> None:
    """In a config for one's own images, and of the command prepare."""
    assert set(get_args(DataSection.model_fields["recipe"].annotation)) == set(LIKE) == set(RECIPES)
    assert all(DATASETS[like].recipe == recipe for recipe, like in LIKE.items())
