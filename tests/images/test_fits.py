"""FITS files: every kind that is read, where they are on the sky, and files that are wrong."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits as pyfits

from radgal.images.fits import read_fits
from radgal.images.mosaic import Mosaic
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


@pytest.mark.real_data
def test_positions_are_those_in_the_names(cutouts) -> None:
    for path in cutouts[::7]:
        ra, dec = read_fits(path).sky.position
        assert (ra, dec) == pytest.approx((float(path.name[4:11]), float(path.name[11:19])), abs=6e-4)


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
    assert np.isnan(image.data[0, 3]) and np.isfinite(image.data).sum() == 15
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
    assert image.sky.scales_arcsec == pytest.approx((1.8, 1.8))
    assert image.sky.position == pytest.approx((150.0, 20.0)) and image.sky.flags == ()
    other = dict(SKY, CTYPE1="FREQ", CTYPE2="DEC--TAN")
    for name, header in (("none", {}), ("other", other), ("wrong", dict(SKY, CDELT1=0.0))):
        image = read_fits(write(tmp_path / f"{name}.fits", a_field(), **header))
        assert image.wcs is None and image.sky.scales_arcsec is None and image.sky.position is None


def test_what_is_no_single_image_is_refused_with_its_shape(tmp_path) -> None:
    with pytest.raises(UserError, match="(?s)arrays of 3 x 20 x 20 pixels.*channel or plane"):
        read_fits(write(tmp_path / "cube.fits", np.zeros((3, 20, 20), dtype=np.float32)))
    table = pyfits.BinTableHDU.from_columns([pyfits.Column("x", "E", array=np.zeros(3))])
    pyfits.HDUList([pyfits.PrimaryHDU(), table]).writeto(tmp_path / "table.fits")
    with pytest.raises(UserError, match="holds no image"):
        read_fits(tmp_path / "table.fits")
    with pytest.raises(UserError, match="No such file"):
        read_fits(tmp_path / "absent.fits")


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


@pytest.mark.parametrize("key", ["CTYPE2", "CRVAL1", "BUNIT", "EXTNAME"])
def test_a_header_that_cannot_be_parsed_is_damage_not_a_traceback(tmp_path, key) -> None:
    header = pyfits.Header(
        {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 1.0, "BUNIT": "Jy", "EXTNAME": "image"}
    )
    pyfits.PrimaryHDU(np.ones((8, 9)), header).writeto(tmp_path / "a.fits")
    content = (tmp_path / "a.fits").read_bytes()
    place = content.index(key.ljust(8).encode() + b"=") + 10
    (tmp_path / "a.fits").write_bytes(content[:place] + b"a b c " + content[place + 6 :])
    for read in (read_fits, Mosaic):
        with suppress(UserError):  # what does not matter may be passed over
            read(tmp_path / "a.fits")
