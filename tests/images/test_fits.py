"""FITS to network input: the published images to the last bit, every kind of file, and files that are wrong."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits as pyfits

from radgal.data.datasets import DATASETS
from radgal.images.fits import RECIPES, fit_to_side, noise_threshold, read_fits, resample, to_uint8
from radgal.images.reading import read_image
from utils import UserError

SKY = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 20.0,
    "CRPIX1": 10.5,
    "CRPIX2": 10.5,
    "CDELT1": -0.0005,
    "CDELT2": 0.0005,
}


def a_field(shape=(20, 20), seed=0) -> np.ndarray:
    """Noise of 1 with a bright block in the middle, which no recipe can miss."""
    field = np.random.default_rng(seed).normal(size=shape)
    top, left = (side // 2 - 2 for side in shape)
    field[top : top + 4, left : left + 4] = 100 + np.arange(16.0).reshape(4, 4)
    return field


def write(path: Path, *arrays, **header) -> Path:
    """A FITS file with an HDU per array (None: an empty one), the header words in the last."""
    hdus = [pyfits.PrimaryHDU(arrays[0])] + [pyfits.ImageHDU(array) for array in arrays[1:]]
    hdus[-1].header.update(header)
    pyfits.HDUList(hdus).writeto(path)
    return path


@pytest.fixture(scope="module")
def cutouts(real_data) -> list[Path]:
    found = sorted((real_data / "fits").glob("*.fits.gz"))
    assert len(found) == 22
    return found


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


@pytest.mark.real_data
def test_positions_are_those_in_the_names(cutouts) -> None:
    for path in cutouts[::7]:
        ra, dec = read_fits(path).center_deg()
        assert (ra, dec) == pytest.approx((float(path.name[4:11]), float(path.name[11:19])), abs=6e-4)


def test_every_data_set_names_a_recipe_and_a_pixel_scale() -> None:
    for dataset in DATASETS.values():
        assert dataset.recipe in RECIPES and dataset.pixel_scale_arcsec > 0


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">f8", "<f8", ">i2", "<i4"])
def test_any_number_type_and_byte_order(tmp_path, dtype) -> None:
    field = np.round(a_field() * 10).astype(dtype)
    data = read_fits(write(tmp_path / "a.fits", field)).data
    assert data.dtype == np.dtype(np.float64) and data.dtype.isnative
    assert np.array_equal(data, field.astype(np.float64))


def test_scaled_integers_have_their_values_and_blanks(tmp_path) -> None:
    path = write(tmp_path / "a.fits", np.arange(16, dtype=np.int16).reshape(4, 4))
    with pyfits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header.update(BSCALE=0.5, BZERO=-1.0, BLANK=3)
    image = read_fits(path)
    assert np.isnan(image.data[0, 3]) and image.nan_fraction == 1 / 16
    assert image.data[0, 2] == 0.0 and image.data[3, 3] == 6.5


@pytest.mark.parametrize("shape", [(1, 1, 20, 20), (20, 20, 1), (1, 20, 1, 20)])
def test_degenerate_axes_are_dropped(tmp_path, shape) -> None:
    field = a_field()
    assert np.array_equal(read_fits(write(tmp_path / "a.fits", field.reshape(shape))).data, field)


def test_the_first_image_is_found_in_any_hdu_packed_or_not(tmp_path) -> None:
    field = a_field()
    plain = write(tmp_path / "a.fits", None, np.zeros(5), np.zeros((3, 4, 5)), field)
    packed = tmp_path / "a.fits.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    tiled = tmp_path / "a.fits.fz"
    pyfits.HDUList(
        [pyfits.PrimaryHDU(), pyfits.CompImageHDU(field, compression_type="GZIP_1", quantize_level=0)]
    ).writeto(tiled)
    for path in (plain, packed, tiled):
        assert np.array_equal(read_fits(path).data, field)


def test_the_sky_is_read_where_it_is_that_of_the_image(tmp_path) -> None:
    image = read_fits(write(tmp_path / "a.fits", a_field()[None], **SKY))
    assert image.pixel_scale_arcsec == pytest.approx(1.8)
    assert image.center_deg() == pytest.approx((150.0, 20.0))
    other = dict(SKY, CTYPE1="FREQ", CTYPE2="DEC--TAN")
    for name, header in (("none", {}), ("other", other), ("wrong", dict(SKY, CDELT1=0.0))):
        image = read_fits(write(tmp_path / f"{name}.fits", a_field(), **header))
        assert image.wcs is None and image.pixel_scale_arcsec is None and image.center_deg() is None


def test_missing_pixels_are_background_and_no_part_of_the_noise() -> None:
    field = a_field((60, 60))
    whole = to_uint8(field, "mirabest_v1", 20)
    field[0, 0] = field[59, 3] = np.nan
    field[30, 59] = np.inf
    assert noise_threshold(field, "mirabest_v1") == pytest.approx(3.0, rel=0.1)
    assert np.array_equal(to_uint8(field, "mirabest_v1", 20) > 0, whole > 0)
    assert to_uint8(np.full((9, 9), np.nan), "mirabest_v1", 20).max() == 0


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
        scaled = resample(field, factor)
        side = round(40 * factor)
        rows = scaled.sum(1)
        assert scaled.shape == (side, side) and scaled.sum() == pytest.approx(100 * factor**2, rel=0.05)
        assert (rows * np.arange(side)).sum() / rows.sum() == pytest.approx((side - 1) / 2)
    with pytest.raises(UserError, match="factor of 1e-05"):
        resample(field, 1e-5)


def test_what_is_no_single_image_is_refused_with_its_shape(tmp_path) -> None:
    with pytest.raises(UserError, match="(?s)arrays of 3 x 20 x 20 pixels.*channel or plane"):
        read_fits(write(tmp_path / "cube.fits", np.zeros((3, 20, 20), dtype=np.float32)))
    table = pyfits.BinTableHDU.from_columns([pyfits.Column("x", "E", array=np.zeros(3))])
    pyfits.HDUList([pyfits.PrimaryHDU(), table]).writeto(tmp_path / "table.fits")
    with pytest.raises(UserError, match="holds no image"):
        read_fits(tmp_path / "table.fits")
    with pytest.raises(UserError, match="No such file"):
        read_fits(tmp_path / "absent.fits")
    with pytest.raises(UserError, match="'mirabest_v3' is no recipe.*mirabest_v1"):
        to_uint8(a_field(), "mirabest_v3")


def test_damaged_files_are_refused_wherever_they_are_cut(tmp_path) -> None:
    whole = write(tmp_path / "a.fits", a_field((60, 60)), **SKY).read_bytes()
    packed = gzip.compress(whole)
    part = tmp_path / "part.fits"
    for content in (
        b"",
        b"no FITS at all" * 300,
        *(whole[:n] for n in (7, 100, 2879, 2880, 2881, 9000, 20000)),
        *(packed[:n] for n in (1, 2, 11, 500, len(packed) - 9)),
        whole[:2880].replace(b"BITPIX  =                  -64", b"BITPIX  =                   77") + whole[2880:],
        whole[:2880].replace(b"NAXIS1  =                   60", b"NAXIS1  =                  -60") + whole[2880:],
    ):
        part.write_bytes(content)
        with pytest.raises(UserError, match="part.fits"):
            read_fits(part)


def test_files_that_would_fill_the_memory_are_refused_unread(tmp_path) -> None:
    path = tmp_path / "huge.fits"
    head = write(tmp_path / "a.fits", np.zeros((4, 4), dtype=np.uint8)).read_bytes()[:2880]
    head = head.replace(b"NAXIS1  =                    4", b"NAXIS1  =              4000000")
    path.write_bytes(head + bytes(2880))
    with pytest.raises(UserError, match="4 x 4000000 pixels; at most 1,000,000"):
        read_fits(path, max_pixels=1_000_000)
    endless = io.BytesIO()
    with gzip.GzipFile(fileobj=endless, mode="wb") as file:
        file.write(head[:80])
        for _ in range(100):
            file.write(b" " * (1 << 20))
    path.write_bytes(endless.getvalue())
    tracemalloc.start()
    with pytest.raises(UserError, match="more than .* bytes"):
        read_fits(path, max_pixels=1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 400 << 20
    tracemalloc.stop()
