"""A mosaic gives the pixels that astropy reads, however they are stored, and says so when the file becomes shorter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from radgal.images.mosaic import Mosaic
from utils import UserError

SKY = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 20.0, "CRPIX2": 15.0}
SKY |= {"CDELT1": -0.0005, "CDELT2": 0.0005}


def write(path: Path, kind: str) -> np.ndarray:
    """Writes an image of 40 x 30 pixels and returns what astropy reads of it."""
    pixels = np.arange(1200.0).reshape(30, 40) - 300
    header, data = fits.Header(SKY), pixels.astype(np.float32)
    if kind == "integers":
        data = pixels.astype(np.int16)
    elif kind == "unsigned":
        data = (pixels + 300).astype(np.uint16)  # BZERO is 32768
    elif kind == "float64 with axes of length 1":
        data = pixels[None, None]
    hdu = fits.PrimaryHDU(data, header)
    if kind == "scaled":
        hdu.scale("int16", bscale=0.5, bzero=3.0)
    elif kind == "blank":
        hdu = fits.PrimaryHDU(pixels.astype(np.int16), fits.Header(SKY | {"BLANK": 30}))
    if kind == "second":
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, header)]).writeto(path)
    else:
        hdu.writeto(path)
    with fits.open(path) as hdus:
        return np.squeeze(np.array(hdus[-1].data, dtype=float))


KINDS = ["float32", "float64 with axes of length 1", "integers", "unsigned", "scaled", "blank", "second"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_pixels_are_those_of_the_file(kind: str, tmp_path: Path) -> None:
    whole = write(tmp_path / "mosaic.fits", kind)
    mosaic = Mosaic(tmp_path / "mosaic.fits")
    assert np.isnan(whole).sum() == (kind == "blank")
    np.testing.assert_array_equal(mosaic.cut(10.0, 8.0, (7, 5)), whole[6:11, 7:14])
    inside = mosaic.cut(0.0, 29.0, (5, 5))  # over a corner
    np.testing.assert_array_equal(inside[:3, 2:], whole[27:, :3])
    assert np.isnan(inside[3:]).all() and np.isnan(inside[:, :2]).all()


def test_a_file_that_becomes_shorter_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "mosaic.fits"
    write(path, "float32")
    mosaic = Mosaic(path)
    with path.open("r+b") as file:
        file.truncate(4000)
    with pytest.raises(UserError, match="mosaic.fits is damaged"):
        mosaic.cut(10.0, 28.0, (7, 3))
