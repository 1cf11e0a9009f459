"""Packed files: how far they may unpack before anything reads them."""

from __future__ import annotations

import gzip
from pathlib import Path

from utils import UserError

MAX_UNPACKED_BYTES = 1 << 30  # of files that are not bounded in pixels, or
MAX_RATIO = 200  # so many times their size; a FITS image that is mostly zeros has less
GZIP = b"\x1f\x8b"  # the first bytes of a file
OTHER_PACKINGS = (b"BZh", b"\xfd7zXZ", b"PK\x03\x04", b"\x1f\x9d")  # bzip2, xz, zip, compress
LONGEST_START = max(map(len, OTHER_PACKINGS))


def check_packing(path: Path) -> bool:
    """Refuses files that would unpack to far more than they are, before a reader unpacks them by itself.

    astropy opens whatever looks packed, whatever its name. Only gzip is let through, up to ``MAX_RATIO`` times the
    file's size (or 1 GiB).

    Returns:
        Whether the file is packed.

    Raises:
        UserError: for other packings, and beyond that.
        OSError: if the file cannot be read, or is no whole gzip file.
    """
    if not is_gzip(path):
        return False
    limit, size = max(MAX_UNPACKED_BYTES, MAX_RATIO * path.stat().st_size), 0
    with gzip.open(path) as file:
        while chunk := file.read(1 << 20):
            size += len(chunk)
            if size > limit:
                raise UserError(f"{path} is refused: it unpacks to more than {limit:,} bytes")
    return True


def is_gzip(path: Path) -> bool:
    """Returns whether a file is packed by gzip; UserError if it is packed in another way."""
    with path.open("rb") as file:
        start = file.read(LONGEST_START)
    if start.startswith(OTHER_PACKINGS):
        raise UserError(f"{path} is packed, and not by gzip; unpack it first")
    return start.startswith(GZIP)
