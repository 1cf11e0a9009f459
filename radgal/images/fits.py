"""FITS images, read within bounds, with where they are on the sky.

Legend: H rows, W columns (pixels); arrays keep the order of the file, row 0 first.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from radgal.files.packing import is_gzip
from radgal.images.fitsheaders import is_compressed_image, read_headers
from radgal.images.hdus import choose_image, damaged
from radgal.images.sky import Sky, beam_of, celestial, sky_at
from radgal.images.unpacking import unpack_images
from utils import UserError, without_warnings

if TYPE_CHECKING:
    from astropy.wcs import WCS

MAX_PIXELS = 8192**2


@dataclass(frozen=True, eq=False)
class FitsImage:
    """One image of a FITS file."""

    data: np.ndarray  # float64 (H, W), in the machine's byte order, longitude along the columns
    wcs: WCS | None  # of the sky, None if the header does not give one for these two axes
    flags: tuple[str, ...] = ()  # keys of ``reading.FLAGS``: what there is to say of the choice of the image
    label: str = ""  # which image of the file it is
    rivals: tuple[str, ...] = ()  # labels of those that might as well be meant
    beam: tuple[float, float, float] | None = None  # see ``sky.beam_of``

    @cached_property
    def sky(self) -> Sky:
        """What the header says of the middle of the image."""
        height, width = self.data.shape
        return Sky() if self.wcs is None else sky_at(self.wcs, (width - 1) / 2, (height - 1) / 2)


def read_fits(path: str | Path, max_pixels: int = MAX_PIXELS, hdu: str | None = None) -> FitsImage:
    """Returns the image of a FITS file (.fits, .fits.gz, .fits.fz), whichever HDU it is in.

    Axes of length 1 are dropped, wherever they are. BSCALE, BZERO and BLANK are applied.

    Args:
        path: the file.
        max_pixels: larger images, and files with more bytes than such an image needs, are refused unread.
        hdu: number or EXTNAME of the HDU; None: see :func:`radgal.images.hdus.choose_image`.

    Raises:
        UserError: if there is no such image, or it is damaged or too large.
    """
    path = Path(path)
    with open_fits(path, max_pixels) as hdus:
        try:
            choice = choose_image(hdus, path, max_pixels, hdu)
            data = np.array(choice.hdu.data, dtype=np.float64)
            sky, beam = celestial(choice.hdu.header), beam_of(choice.hdu.header)
        except UserError:
            raise
        except Exception as error:  # what astropy raises depends on where a file is cut, or a header damaged
            raise damaged(path, error) from None
        data = data.reshape([side for side in data.shape if side > 1])
        if sky is not None and sky.swapped:
            data = np.ascontiguousarray(data.T)
        return FitsImage(data, sky and sky.wcs, choice.flags, choice.label, choice.rivals, beam)


@contextmanager
def open_fits(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Any]:
    """Opens a FITS file whose size is bounded, also after unpacking; astropy's warnings are not shown.

    Raises:
        UserError: if it cannot be read.
    """
    from astropy.io import fits

    limit = 8 * max_pixels + (64 << 20)
    with without_warnings(), ExitStack() as stack:
        try:
            packed = is_gzip(path)
            file = stack.enter_context(path.open("rb"))
            if packed:
                with gzip.open(file) as unpacked:
                    file = io.BytesIO(unpacked.read(limit + 1))
            if file.seek(0, io.SEEK_END) > limit:
                raise UserError(f"{path} has more than {limit:,} bytes, too many for an image of {max_pixels:,} pixels")
            file = stack.enter_context(without_compression(file, path, limit))
            hdus = stack.enter_context(fits.open(file, memmap=False, lazy_load_hdus=True))
        except UserError:
            raise
        except Exception as error:  # astropy and gzip raise many kinds on files that are none
            if isinstance(error, OSError) and error.strerror:
                raise UserError(f"{path} cannot be read: {error.strerror}") from None
            raise damaged(path, error) from None
        yield hdus


def without_compression(file: BinaryIO, path: Path, limit: int) -> BinaryIO:
    """Returns a FITS file, at its start, as astropy may open it: headers looked through, compressed images unpacked.

    Args:
        file: the file, not packed by gzip.
        path: the same file as it lies on the disk.
        limit: bytes, of what is returned if images are unpacked.

    Raises:
        UserError: if a header announces what cannot be, or compressed images are damaged or longer than that.
    """
    found = []
    try:
        for header_and_end in read_headers(file):
            found.append(header_and_end)
    except Exception as error:  # what astropy raises depends on where a header is damaged
        if not found or isinstance(error, ValueError):
            raise damaged(path, error) from None
        file.seek(0)
        file = io.BytesIO(file.read(found[-1][1]))  # what follows is no HDU
    if any(is_compressed_image(header) for header, _ in found):
        return unpack_images(path, limit)
    file.seek(0)
    return file
