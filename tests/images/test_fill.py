"""Numbers that stand for no value: found wherever they are, and no data taken for them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits as pyfits

from radgal.images.fill import without_fill
from radgal.images.reading import read_image
from tests.images.test_fits import write

y, x = np.mgrid[:300, :300]
BEYOND = {
    "a side": x < 90,
    "a corner": x + y < 120,
    "a circle": np.hypot(x - 150, y - 150) > 140,
    "three rows": y > 296,
    "aslant": x - 0.3 * y > 200,
    "a hole": np.hypot(x - 60, y - 60) < 15,
    "a square": (abs(x - 60.5) < 10) & (abs(y - 200.5) < 10),
    "many squares": (x % 60 < 12) & (y % 50 < 10),
}
FILLS = [0.0, -32768.0, -9.2e18, 1e30, -999.0, 32767.0, float(np.float32(1e-6))]


@pytest.fixture(scope="module")
def cutout(cutouts) -> np.ndarray:
    return np.asarray(pyfits.getdata(cutouts[14]), dtype=np.float64)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """A field of noise as smooth as that of a survey, with a standard deviation of 1."""
    from scipy import ndimage

    field = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(300, 300)), 1.3)
    return field / field.std()


@pytest.mark.real_data
@pytest.mark.parametrize("where", BEYOND)
def test_areas_of_one_value_are_no_value_whatever_it_is(cutout, where) -> None:
    for value in FILLS:
        found, flags = without_fill(np.where(BEYOND[where], value, cutout))
        assert flags == ("fill",) and np.array_equal(np.isnan(found), BEYOND[where]), value
        assert np.array_equal(found[~BEYOND[where]], cutout[~BEYOND[where]])


@pytest.mark.real_data
def test_images_without_them_are_left_as_they_are(cutouts, cutout) -> None:
    for path in cutouts[::5]:
        data = np.asarray(pyfits.getdata(path), dtype=np.float64)
        assert without_fill(data)[0] is data and without_fill(data)[1] == ()
    few = cutout.copy()
    few.flat[np.random.default_rng(0).choice(few.size, 200, replace=False)] = 0.0
    few[100:105, 100:105] = 0.0
    few[0, :20] = 0.0
    assert without_fill(few)[0] is few


@pytest.mark.real_data
def test_what_is_read_is_what_nan_gives_and_is_flagged(cutout, tmp_path) -> None:
    how = dict(recipe="mirabest_v1")
    beyond = BEYOND["a side"]
    nan = read_image(write(tmp_path / "nan.fits", np.where(beyond, np.nan, cutout)), **how)
    for i, value in enumerate((0, -32768, 1e30)):
        image = read_image(write(tmp_path / f"{i}.fits", np.where(beyond, value, cutout).astype(np.float32)), **how)
        assert np.array_equal(image.pixels, nan.pixels) and image.nan_fraction == nan.nan_fraction == 0.3
        assert image.flags == ("nan", "fill") and nan.flags == ("nan",)
    array = tmp_path / "a.npy"
    np.save(array, np.where(beyond, 0, cutout))
    assert np.array_equal(read_image(array, **how).pixels, nan.pixels)
    assert read_image(write(tmp_path / "one.fits", np.zeros((300, 300))), **how).nan_fraction == 1


@pytest.mark.real_data
@pytest.mark.parametrize("dithering, flags", [(-1, {"nan", "fill"}), (1, {"uneven"}), (2, {"nan", "fill"})])
def test_fills_are_seen_in_compressed_images(cutout, tmp_path, dithering, flags) -> None:
    """With dithering they are no longer of one value."""
    data = np.where(BEYOND["a side"], 0, cutout).astype(np.float32)
    how = dict(compression_type="RICE_1", quantize_level=4, quantize_method=dithering)
    pyfits.HDUList([pyfits.PrimaryHDU(), pyfits.CompImageHDU(data, **how)]).writeto(tmp_path / "a.fits.fz")
    image = read_image(tmp_path / "a.fits.fz", recipe="mirabest_v1")
    assert set(image.flags) == flags
    assert image.nan_fraction == pytest.approx(0.3 if "fill" in flags else 0, abs=0.001)


@pytest.mark.parametrize(
    "digit, flags", [(0.1, ()), (0.5, ()), (1.0, ("rounded",)), (1.5, ("rounded",)), (3.0, ("rounded",))]
)
def test_rounded_noise_is_data(noise, digit, flags) -> None:
    rounded = np.round(noise / digit) * digit
    found, said = without_fill(rounded)
    assert said == flags and np.array_equal(found, rounded)


def test_fills_of_rounded_values_are_found_where_the_noise_is_seen(noise) -> None:
    for digit, value in ((0.1, 0.0), (0.3, 0.0), (1.5, -32768.0)):
        found, flags = without_fill(np.where(BEYOND["a side"], value, np.round(noise / digit) * digit))
        assert "fill" in flags and np.isnan(found).mean() == pytest.approx(0.3, abs=0.01), digit


def test_zeros_in_place_of_noise_are_data_that_tell_no_noise(noise) -> None:
    source = noise + 50 * (np.hypot(x - 150, y - 150) < 20)
    for data in (np.where(source > 3, source, 0.0), np.maximum(source, 0.0)):
        found, flags = without_fill(data)
        assert found is data and flags == ("no_noise",)


def test_a_peak_that_is_cut_off_is_data(noise) -> None:
    source = noise + 100 * np.exp(-((x - 150.0) ** 2 + (y - 150) ** 2) / 2 / 60**2)
    cut = np.minimum(source, 80.0)
    assert (cut == 80).sum() > 1000 and without_fill(cut)[0] is cut
