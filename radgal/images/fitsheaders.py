"""What the headers of a FITS file announce, checked before astropy believes it."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any, BinaryIO

MAX_HDUS = 1000
MAX_AXES = MAX_COLUMNS = 999  # as the FITS standard has it
BLOCK = 2880
BITPIX = (8, 16, 32, 64, -32, -64)
CODECS = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS")


def read_headers(file: BinaryIO) -> Iterator[tuple[Any, int]]:
    """Yields the header of each HDU, an ``astropy.io.fits.Header``, and where the next one begins.

    Raises:
        ValueError: if a header announces what cannot be, such as axes or tiles of negative length.
        OSError or what else astropy raises: if there is no header where one should be.
    """
    from astropy.io.fits import Header

    end = file.seek(0, io.SEEK_END)
    at = 0
    for _ in range(MAX_HDUS):
        if at >= end:
            return
        file.seek(at)
        header = Header.fromfile(file)
        at = file.tell() + -(-_data_bytes(header) // BLOCK) * BLOCK
        yield header, at


def is_plain_image(header: Any) -> bool:
    """Returns whether an HDU is an image that is not compressed, as astropy will see it."""
    key, value = header.cards[0][:2]
    return key == "SIMPLE" or (key == "XTENSION" and str(value).rstrip() == "IMAGE")


def is_compressed_image(header: Any) -> bool:
    """Returns whether an HDU is a table in which an image is packed, tile by tile."""
    return not is_plain_image(header) and bool(header.get("ZIMAGE"))


def compressed_shape(header: Any) -> list[int]:
    """Returns the axes of a compressed image, fastest first, once all that tells its tiles holds together.

    Raises:
        ValueError: if it does not.
    """
    if header.get("ZCMPTYPE") not in CODECS:
        raise ValueError(f"its compression {header.get('ZCMPTYPE')!r} is not known")
    if header.get("ZBITPIX") not in BITPIX:
        raise ValueError(f"ZBITPIX = {header.get('ZBITPIX')!r} is no type of pixels")
    n_axes = _whole(header, "ZNAXIS", 1, MAX_AXES)
    sides = [_whole(header, f"ZNAXIS{i + 1}", 1) for i in range(n_axes)]
    tiles = [_whole(header, f"ZTILE{i + 1}", 1, default=sides[0] if i == 0 else 1) for i in range(n_axes)]
    n_tiles = math.prod(-(-side // tile) for side, tile in zip(sides, tiles, strict=True))
    if n_tiles != header["NAXIS2"]:
        raise ValueError(f"an image of {sides} pixels in tiles of {tiles} has {n_tiles} tiles, not {header['NAXIS2']}")
    return sides


def _data_bytes(header: Any) -> int:
    """Returns the bytes after a header; ValueError if the header contradicts itself."""
    if header.get("BITPIX") not in BITPIX:
        raise ValueError(f"BITPIX = {header.get('BITPIX')!r} is no type of pixels")
    sides = [_whole(header, f"NAXIS{i + 1}") for i in range(_whole(header, "NAXIS", 0, MAX_AXES))]
    if not is_plain_image(header):
        _whole(header, "TFIELDS", 0, MAX_COLUMNS, default=0)
        if is_compressed_image(header):
            if len(sides) != 2:
                raise ValueError(f"a compressed image is a table of 2 axes, not {len(sides)}")
            compressed_shape(header)
    if header.get("GROUPS") and sides[:1] == [0]:
        raise ValueError("it holds random groups, which are no image")
    n_values = math.prod(sides) if sides else 0
    n_values += _whole(header, "PCOUNT", default=0) if sides else 0
    return abs(header["BITPIX"]) // 8 * _whole(header, "GCOUNT", default=1) * n_values


def _whole(header: Any, key: str, lowest: int = 0, highest: int = 2**62, default: int | None = None) -> int:
    value = header.get(key, default)
    if type(value) is not int or not lowest <= value <= highest:
        raise ValueError(f"{key} = {value!r} must be a whole number from {lowest}")
    return value
