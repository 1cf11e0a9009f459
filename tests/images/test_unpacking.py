"""Compressed FITS images: what they hold, what they may not claim, and that one does nothing to another."""

from __future__ import annotations

import gzip
import io
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from radgal.images import mosaic, unpackchild
from radgal.images.fits import read_fits
from radgal.images.preparation import Preparation
from radgal.prediction.inputs import Where, read
from tests.fuzz.tools import PIXELS, fits_bytes, memory_limit
from utils import UserError

CODECS = ("RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1")


def card(key: str, value: object) -> bytes:
    return fits.Card(key, value).image.encode()


def changed(content: bytes, **cards: object) -> bytes:
    """Returns a FITS file with other values in its header."""
    for key, value in cards.items():
        at = content.index(f"{key:8}=".encode())
        content = content[:at] + card(key, value) + content[at + 80 :]
    return content


@pytest.mark.parametrize("codec", CODECS)
def test_pixels_are_those_that_were_compressed(codec: str, tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.fits", tmp_path / "a.fits.fz"
    plain.write_bytes(fits_bytes())
    packed.write_bytes(fits_bytes(codec))
    expected, found = read_fits(plain), read_fits(packed)
    assert np.array_equal(found.data, expected.data, equal_nan=True)
    assert found.sky.position == pytest.approx(expected.sky.position) and found.sky.position is not None
    assert found.sky.scales_arcsec == pytest.approx(expected.sky.scales_arcsec)
    other, one = mosaic.Mosaic(packed), mosaic.Mosaic(plain)
    assert np.array_equal(other.cut(3, 4, (20, 20)), one.cut(3, 4, (20, 20)), equal_nan=True)


@pytest.mark.parametrize("dithering", [-1, 1, 2])
def test_what_a_decoder_makes_of_floats_is_what_is_read(dithering: int, tmp_path: Path) -> None:
    """Dithering is taken off: no pixel is further from what was packed than half a step."""
    pixels = np.random.default_rng(0).normal(size=(50, 70)).astype(np.float32)
    pixels[3, 4] = np.nan
    header = fits.Header([("COMMENT", "a tab comes here: #")])
    how = dict(tile_shape=(20, 30), quantize_method=dithering, quantize_level=16, dither_seed=1)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, header, **how)]).writeto(tmp_path / "a.fz")
    content = (tmp_path / "a.fz").read_bytes()
    with fits.open(io.BytesIO(content)) as hdus:
        expected = hdus[1].data.astype(float)
    (tmp_path / "a.fits.fz").write_bytes(content.replace(b"here: #", b"here: \t"))  # as in the files of FIRST
    found = read_fits(tmp_path / "a.fits.fz").data
    assert np.array_equal(found, expected, equal_nan=True) and np.isnan(found[3, 4])
    assert 0.02 < np.nanmax(np.abs(found - pixels)) < 0.04  # the noise is 1, measured in each tile


@pytest.mark.parametrize(
    "codec, lies, said",
    [
        ("HCOMPRESS_1", dict(ZNAXIS1=20), "larger than its header says"),
        ("HCOMPRESS_1", dict(ZTILE2=40, ZNAXIS2=4, NAXIS2=1), "larger than its header says|decoder crash"),
        ("RICE_1", dict(ZNAXIS1=-40), "ZNAXIS1 = -40"),
        ("RICE_1", dict(ZTILE1=-40), "ZTILE1 = -40"),
        ("RICE_1", dict(ZTILE2=0), "ZTILE2 = 0"),
        ("RICE_1", dict(ZNAXIS2=4000), "has 4000 tiles, not 40"),
        ("GZIP_1", dict(TFIELDS=10**10), "TFIELDS = 10000000000"),
        ("GZIP_1", dict(ZNAXIS=10**10), "ZNAXIS = 10000000000"),
        ("GZIP_1", dict(ZCMPTYPE="NONE"), "compression 'NONE'"),
        ("GZIP_1", dict(ZBITPIX=17), "ZBITPIX = 17"),
        ("GZIP_1", dict(PCOUNT=-1), "PCOUNT = -1"),
        ("GZIP_1", dict(NAXIS1=1e10), "NAXIS1 = 10000000000.0"),
        ("GZIP_1", dict(ZNAXIS1=10**9, ZTILE1=10**9), "unpacks to more than|more memory|cannot be read"),
    ],
)
def test_headers_that_lie_are_refused(codec: str, lies: dict, said: str, tmp_path: Path) -> None:
    path, start = tmp_path / "a.fits.fz", time.monotonic()
    path.write_bytes(changed(fits_bytes(codec), **lies))
    with memory_limit(), pytest.raises(UserError, match=said):
        read_fits(path)
    assert time.monotonic() - start < 25


def test_tables_and_random_groups_before_the_image_are_no_way_to_hang(tmp_path: Path) -> None:
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])]).writeto(
        stream
    )
    (tmp_path / "a.fits").write_bytes(changed(stream.getvalue(), TFIELDS=10**10))
    with pytest.raises(UserError, match="TFIELDS = 10000000000"):
        read_fits(tmp_path / "a.fits")
    header = [card("SIMPLE", True), card("BITPIX", -32), card("NAXIS", 2), card("NAXIS1", 0), card("NAXIS2", 3)]
    header += [card("GROUPS", True), card("PCOUNT", 10**10), card("GCOUNT", 1), b"END".ljust(80)]
    (tmp_path / "a.fits").write_bytes(b"".join(header).ljust(2880))
    with pytest.raises(UserError, match="random groups"):
        read_fits(tmp_path / "a.fits")


def bomb() -> bytes:
    """A compressed image of which one tile unpacks to a gigabyte."""
    tile = gzip.compress(bytes(1 << 20), mtime=0) * 1024  # members in a row are one
    tiles = np.empty(40, dtype=object)
    tiles[:] = [np.frombuffer(tile if i == 0 else tile[:20], np.uint8) for i in range(40)]
    hdu = fits.BinTableHDU.from_columns([fits.Column("COMPRESSED_DATA", "QB()", array=tiles)])
    whole = fits.open(io.BytesIO(fits_bytes("GZIP_1")), disable_image_compression=True)[1].header
    hdu.header.update({key: whole[key] for key in whole if key.startswith("Z")})
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
    return stream.getvalue()


def test_one_bad_file_is_one_row_and_the_next_is_read_as_ever(tmp_path: Path) -> None:
    bad = {
        "bomb": bomb(),
        "cut": fits_bytes("RICE_1")[:-2880],
        "lie": changed(fits_bytes("HCOMPRESS_1"), ZNAXIS1=20),
    }
    how = Preparation(0.0, 1.0, imsize=20, native_size=30)
    (tmp_path / "good.fits.fz").write_bytes(fits_bytes("RICE_1"))
    for name, content in bad.items():
        (tmp_path / f"{name}.fits.fz").write_bytes(content)
        with memory_limit():
            found = read(str(tmp_path / f"{name}.fits.fz"), [how], Where())
        assert found.images == {} and f"{name}.fits.fz" in found.error and "Traceback" not in found.error
        good = read(str(tmp_path / "good.fits.fz"), [how], Where())
        assert len(good.images) == 1 and good.error == ""
    assert read_fits(tmp_path / "good.fits.fz").data.shape == PIXELS.shape


@pytest.mark.skipif(not unpackchild.CAN_FORK, reason="the system cannot fork")
@pytest.mark.parametrize(
    "work, said",
    [
        (lambda: time.sleep(60), b"busy for longer than 1 s"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), b"decoder crash"),
        (lambda: None, b""),
    ],
    ids=["endless", "crash", "well"],
)
def test_a_decoder_that_does_not_end_well_is_told(work: Callable, said: bytes, monkeypatch) -> None:
    monkeypatch.setattr(unpackchild, "PATIENCE_S", 1)
    assert said in unpackchild._in_a_copy(work) and (said or unpackchild._in_a_copy(work) == b"")
