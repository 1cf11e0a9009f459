"""FITS images, read within bounds, with where they are on the sky.

Legend: H rows, W columns (pixels); arrays keep the order of the file, row 0 first.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from radgal.files.packing import is_gzip
from radgal.images.fitsheaders import MAX_HDUS, is_compressed_image, read_headers
from radgal.images.unpacking import unpack_images
from utils import UserError, reason_of, without_warnings

if TYPE_CHECKING:
    from astropy.wcs import WCS

MAX_PIXELS = 8192**2


@dataclass(frozen=True, eq=False)
class FitsImage:
    """One image of a FITS file."""

    data: np.ndarray  # float64 (H, W), in the machine's byte order; NaN where the file has no value
    wcs: WCS | None  # of the sky, None if the header does not give one for these two axes
    pixel_scale_arcsec: float | None  # mean side of a pixel at the reference position
    nan_fraction: float  # of pixels that are not finite

    def center_deg(self) -> tuple[float, float] | None:
        """Returns right ascension and declination (ICRS, degrees) of the middle of the image, if it is known."""
        if self.wcs is None:
            return None
        height, width = self.data.shape
        with without_warnings():
            try:
                sky = self.wcs.pixel_to_world((width - 1) / 2, (height - 1) / 2).icrs
                position = float(sky.ra.deg), float(sky.dec.deg)
            except Exception:  # a header can be wrong in any way: then it does not tell a position
                return None
        return position if np.isfinite(position).all() else None


def read_fits(path: str | Path, max_pixels: int = MAX_PIXELS) -> FitsImage:
    """Returns the first two-dimensional image of a FITS file (.fits, .fits.gz, .fits.fz), whichever HDU it is in.

    Axes of length 1 are dropped. BSCALE, BZERO and BLANK are applied.

    Args:
        path: the file.
        max_pixels: larger images, and files with more bytes than such an image needs, are refused unread.

    Raises:
        UserError: if there is no such image, or it is damaged or too large.
    """
    path = Path(path)
    with open_fits(path, max_pixels) as hdus:
        hdu = find_image(hdus, path, max_pixels)
        try:
            data = np.array(hdu.data, dtype=np.float64)
        except Exception as error:  # what astropy raises for a cut-off file depends on where it is cut
            raise _damaged(path, error) from None
        data = data.reshape([side for side in data.shape if side > 1])
        wcs = sky_of(hdu.header)
        return FitsImage(data, wcs, pixel_scale(wcs), float((~np.isfinite(data)).mean()))


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
            raise _damaged(path, error) from None
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
            raise _damaged(path, error) from None
        file.seek(0)
        file = io.BytesIO(file.read(found[-1][1]))  # what follows is no HDU
    if any(is_compressed_image(header) for header, _ in found):
        return unpack_images(path, limit)
    file.seek(0)
    return file


def find_image(hdus: Any, path: Path, max_pixels: int = MAX_PIXELS) -> Any:
    """Returns the first HDU that holds an image of two axes longer than 1, without reading its pixels.

    Raises:
        UserError: if there is none; the text names the shapes that were found.
    """
    others: list[str] = []
    for i in range(MAX_HDUS):
        try:
            hdu = hdus[i]
            shape = tuple(hdu.shape) if hdu.is_image else ()
        except IndexError:
            break
        except Exception as error:
            raise _damaged(path, error) from None
        sides = [side for side in shape if side != 1]
        if len(sides) == 2 and min(sides) > 1:
            if sides[0] * sides[1] > max_pixels:
                raise UserError(
                    f"{path} holds an image of {sides[0]} x {sides[1]} pixels; at most {max_pixels:,} are read"
                )
            return hdu
        if shape:
            others.append(" x ".join(map(str, shape)))
    if others:
        raise UserError(
            f"{path} holds no two-dimensional image, but arrays of {', '.join(others[:5])} pixels (slowest axis "
            "first); write the channel or plane that you want to a file of its own"
        )
    raise UserError(f"{path} holds no image")


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} cannot be read as a FITS image: it is damaged, cut off or something else ({reason_of(error)})"
    )


def sky_of(header: Any) -> WCS | None:
    """Returns the celestial coordinate system of the two axes of the image, or None."""
    from astropy.wcs import WCS

    with without_warnings():
        try:
            wcs = WCS(header)
            long_axes = {i for i in range(wcs.naxis) if header.get(f"NAXIS{i + 1}", 1) > 1}
            if not wcs.has_celestial or {wcs.wcs.lng, wcs.wcs.lat} != long_axes:
                return None
            return wcs.celestial
        except Exception:  # wcslib and astropy raise many kinds on headers that are wrong
            return None


def pixel_scale(wcs: WCS | None) -> float | None:
    """Returns the mean side of a pixel at the reference position, arcseconds; None if it is not known."""
    from astropy.wcs.utils import proj_plane_pixel_area

    if wcs is None:
        return None
    with without_warnings(), np.errstate(all="ignore"):
        scale = 3600 * float(np.sqrt(proj_plane_pixel_area(wcs)))
    return scale if np.isfinite(scale) and scale > 0 else None
