"""Packed files: how far they may unpack before anything reads them, and whether they are as they were written."""

from __future__ import annotations

import gzip
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

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
    limit, size = max_unpacked(path), 0
    with gzip.open(path) as file:
        while chunk := file.read(1 << 20):
            size += len(chunk)
            if size > limit:
                raise UserError(f"{path} is refused: it unpacks to more than {limit:,} bytes")
    return True


def max_unpacked(path: Path) -> int:
    """Returns how many bytes a packed file may unpack to."""
    return max(MAX_UNPACKED_BYTES, MAX_RATIO * path.stat().st_size)


def written_again(write: Callable[[BinaryIO], object]) -> BinaryIO:
    """Returns what ``write`` writes into a file without a name, to be read from its start; it is gone once closed."""
    with tempfile.TemporaryFile() as file:
        write(file)
        file.seek(0)
        return os.fdopen(os.dup(file.fileno()), "rb")


def is_gzip(path: Path) -> bool:
    """Returns whether a file is packed by gzip; UserError if it is packed in another way."""
    with path.open("rb") as file:
        start = file.read(LONGEST_START)
    if start.startswith(OTHER_PACKINGS):
        raise UserError(f"{path} is packed, and not by gzip; unpack it first")
    return start.startswith(GZIP)


def check_zip(path: Path) -> dict[str, int]:
    """Refuses a zip that is packed, or whose members overlap or are no longer what was written.

    Whoever reads it then need not look at the checksums of its members, which most readers of zips do not, or only of
    what they read.

    Returns:
        Bytes by name of member.

    Raises:
        ValueError: for a zip of another kind, and for one bit that is not as it was written.
        OSError, zipfile.BadZipFile or what else zipfile raises: if it is no whole zip.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        sizes = {member.filename: member.file_size for member in members}
        if len(sizes) < len(members) or any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it has packed or repeated members")
        if sum(sizes.values()) > path.stat().st_size:
            raise ValueError("its members overlap")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"{damaged} in it is not what was written (its checksum does not hold)")
    return sizes
