"""Images and mosaics, damaged or packed: pixels that are some, or a UserError."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from radgal.images import mosaic
from radgal.images.fits import read_fits
from radgal.images.reading import read_image
from tests.fuzz.tokens import CARDS, NPY, NUMBERS
from tests.fuzz.tools import (
    MANY,
    PIXELS,
    Reader,
    check_refusal,
    each,
    fits_bytes,
    fuzz,
    memory_limit,
    real_folder,
    time_limit,
)
from utils import UserError


def check_position(image: Any) -> None:
    assert image.position is None or np.isfinite(image.position).all()
    assert image.pixel_scale_arcsec is None or image.pixel_scale_arcsec > 0


def real_fits() -> bytes:
    return gzip.decompress(sorted((real_folder() / "fits").glob("*.fits.gz"))[0].read_bytes())


def check_fits(path: Path) -> None:
    image = read_fits(path)
    assert image.data.ndim == 2 and image.data.dtype == np.float64
    check_image(path)


def check_image(path: Path) -> None:
    image = read_image(path, recipe="mirabest_v2", native_size=30)
    assert image.pixels.dtype == np.uint8 and image.pixels.shape == (30, 30)
    check_position(image)


def check_mosaic(path: Path) -> None:
    found = mosaic.Mosaic(path)
    place = mosaic.Position("a", 180.0, 30.0, float("nan"))
    image = mosaic.read_cutout(found, place, recipe="mirabest_v1", native_size=10, rescale_to_arcsec=1.8)
    assert image.pixels.shape == (10, 10)
    image = mosaic.read_cutout(found, place, recipe="mirabest_v1", native_size=10)
    assert image.pixels.dtype == np.uint8 and image.pixels.shape == (10, 10)


def picture(kind: str, mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    pixels = PIXELS.astype(np.uint16) * 200 if mode == "I;16" else PIXELS.astype(np.uint8)
    image = PillowImage.fromarray(pixels)
    (image.convert(mode) if mode in ("P", "RGBA") else image).save(stream, kind)
    return stream.getvalue()


def array(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, pixels)
    return stream.getvalue()


READERS = [
    Reader("fits", ".fits", fits_bytes, check_fits, CARDS + NUMBERS),
    Reader("fits-real", ".fits", real_fits, check_fits, CARDS + NUMBERS),
    Reader("fits-gz", ".fits.gz", lambda: gzip.compress(fits_bytes(), mtime=0), check_fits),
    Reader("fits-fz", ".fits.fz", lambda: fits_bytes("RICE_1"), check_fits, CARDS + NUMBERS, n_slow=MANY),
    Reader("mosaic", ".fits", fits_bytes, check_mosaic, CARDS + NUMBERS),
    Reader("png", ".png", lambda: picture("PNG"), check_image, (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"acTL", b"iCCP")),
    Reader("png-16", ".png", lambda: picture("PNG", "I;16"), check_image),
    Reader("png-color", ".png", lambda: picture("PNG", "P"), check_image),
    Reader("jpeg", ".jpg", lambda: picture("JPEG"), check_image, (b"\xff\xd8", b"\xff\xda", b"\xff\xc0", b"\xff\xd9")),
    Reader("npy", ".npy", lambda: array(PIXELS.astype(np.float32)), check_image, NPY + NUMBERS),
    Reader("npy-uint8", ".npy", lambda: array(PIXELS.astype(np.uint8)), check_image, NPY + NUMBERS),
]


CODECS = ("GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1")


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_damaged_compressed_images(codec: str, tmp_path: Path) -> None:
    fuzz(Reader(codec, ".fits.fz", lambda: fits_bytes(codec), check_fits, CARDS + NUMBERS), tmp_path, MANY)


@each(READERS)
def test_damaged_files(reader: Reader, n_cases: int, tmp_path: Path) -> None:
    fuzz(reader, tmp_path, n_cases)


def test_images_that_unpack_without_bound_are_refused(huge: bytes, tmp_path: Path) -> None:
    for read in (lambda path: read_fits(path, max_pixels=100), mosaic.Mosaic):
        check_refusal(read, tmp_path / "a.fits", huge)


def jpeg_of_scans(n: int) -> bytes:
    """Returns a progressive JPEG whose last scan is there n times."""
    stream = io.BytesIO()
    PillowImage.fromarray(PIXELS.astype(np.uint8)).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * n + content[-2:]


def test_a_jpeg_of_scans_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_of_scans(20))
    check_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(jpeg_of_scans(5000))
    with time_limit(), pytest.raises(UserError, match="JPEG of more than 100 scans"):
        check_image(tmp_path / "a.jpg")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGBA", "I;16"])
def test_large_pictures_take_little_more_memory_than_their_pixels(mode: str, tmp_path: Path) -> None:
    PillowImage.new(mode, (8192, 8192)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 2**20
    with memory_limit():
        check_image(tmp_path / "a.png")


def test_images_are_bounded_before_they_are_decoded(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 9000, 9000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    png += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    (tmp_path / "a.png").write_bytes(png)
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (10**5, 10**5)})
    with (tmp_path / "a.npy").open("wb") as file:
        file.write(stream.getvalue())
        file.truncate(10**10 + 200)  # a hole: no disk is used
    for name in ("a.png", "a.npy"):
        with memory_limit(), pytest.raises(UserError, match="at most 67,108,864"):
            check_image(tmp_path / name)
