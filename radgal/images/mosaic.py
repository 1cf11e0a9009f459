"""Sources by their positions, cut out of a mosaic."""

from __future__ import annotations

import gzip
import io
import math
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from radgal.files.packing import check_packing, max_unpacked, written_again
from radgal.images import fits
from radgal.images.reading import Image, as_image
from radgal.images.recipes import resample
from utils import UserError, reason_of, without_warnings

CUTOUT_SIDES = 2
"""The noise is measured on cutouts so many times as wide as the images: 300 px for the published 150."""


@dataclass(frozen=True)
class Position:
    """A source to cut out. What is not known of it is NaN."""

    id: str
    ra_deg: float  # ICRS
    dec_deg: float
    las_arcsec: float  # largest angular size


class Mosaic:
    """A large FITS image of which only the parts that are asked for are read.

    Packed files, by gzip or as compressed FITS, are unpacked once, into a file that has no name.

    Raises:
        UserError: if it is no FITS image, or its header does not say where on the sky its pixels are.
    """

    def __init__(self, path: str | Path):
        from astropy.io import fits as astropy_fits

        self.path, self._lock = Path(path), threading.Lock()
        try:
            with without_warnings():
                file, size = self._open(check_packing(self.path))
                self._hdus = astropy_fits.open(file, memmap=False, lazy_load_hdus=True)
                hdu = fits.find_image(self._hdus, self.path, max_pixels=2**40)
                self._pixels = hdu.section
        except UserError:
            raise
        except Exception as error:  # what astropy raises for a damaged file depends on where it is damaged
            raise UserError(f"{self.path} cannot be read as a mosaic: {reason_of(error)}") from None
        self._shape = tuple(hdu.shape)
        self.height, self.width = (side for side in self._shape if side > 1)
        self._check_size(hdu, size)
        self.wcs = fits.sky_of(hdu.header)
        if self.wcs is None:
            raise UserError(
                f"{self.path} has no celestial WCS in its header, so positions cannot be found in it; add one "
                "(CTYPE, CRVAL, CRPIX, CDELT or CD), or cut the sources out yourself and give the files"
            )
        self.pixel_scale_arcsec = fits.pixel_scale(self.wcs)

    def _open(self, packed: bool) -> tuple[BinaryIO, int]:
        """Returns the file as astropy may open it, and its length; compressed images are unpacked into another."""
        file: BinaryIO = self.path.open("rb")
        if packed:
            with gzip.open(file) as unpacked:
                file = written_again(lambda other: shutil.copyfileobj(unpacked, other))
        file = fits.without_compression(file, self.path, max_unpacked(self.path))
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        return file, size

    def _check_size(self, hdu: Any, size: int) -> None:
        """Raises a UserError if the file ends before its image does."""
        end = hdu.fileinfo()["datLoc"] + hdu.size
        if size < end:
            raise UserError(f"{self.path} is cut off: its header announces {end:,} bytes, the file has {size:,}")

    def find(self, ra_deg: float, dec_deg: float) -> tuple[float, float]:
        """Returns column and row of an ICRS position, pixels from 0 at the middle of the first; NaN if not mapped."""
        from astropy.coordinates import SkyCoord

        with without_warnings(), self._lock:  # wcslib keeps its working space in the WCS: one thread at a time
            try:
                x, y = self.wcs.world_to_pixel(SkyCoord(ra_deg, dec_deg, unit="deg", frame="icrs"))
            except Exception:  # wcslib and astropy raise many kinds where a projection has no such position
                return math.nan, math.nan
        return float(x), float(y)

    def cut(self, x: float, y: float, side: int) -> np.ndarray:
        """Returns the side x side pixels of the mosaic's own grid nearest to being centered on (x, y).

        Returns:
            float64 (side, side); NaN outside the mosaic.
        """
        left, top = round(x - (side - 1) / 2), round(y - (side - 1) / 2)
        cutout = np.full((side, side), np.nan)
        rows = slice(max(top, 0), min(top + side, self.height))
        columns = slice(max(left, 0), min(left + side, self.width))
        if rows.start < rows.stop and columns.start < columns.stop:
            long = iter((rows, columns))
            index = tuple(next(long) if length > 1 else 0 for length in self._shape)
            try:
                with self._lock:
                    inside = np.array(self._pixels[index], dtype=np.float64)
            except Exception as error:  # as above: the pixels are read here for the first time
                raise UserError(f"{self.path} is damaged: {reason_of(error)}") from None
            cutout[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = inside
        return cutout

    def holds(self, x: float, y: float, side: int) -> bool:
        """Returns whether the side x side pixels around (x, y) are all inside the mosaic."""
        left, top = round(x - (side - 1) / 2), round(y - (side - 1) / 2)
        return left >= 0 and top >= 0 and left + side <= self.width and top + side <= self.height


def read_cutout(
    mosaic: Mosaic,
    position: Position,
    *,
    recipe: str,
    native_size: int,
    rescale_to_arcsec: float | None = None,
    expected_arcsec: float | None = None,
) -> Image:
    """Returns the source at a position as a network reads it, see ``images.read_image``.

    Raises:
        UserError: if the position is none, or outside the mosaic.
    """
    ra, dec = position.ra_deg, position.dec_deg
    if not (np.isfinite([ra, dec]).all() and -360 <= ra <= 360 and -90 <= dec <= 90):
        raise UserError(f"ra {ra}, dec {dec} is no position on the sky, in degrees")
    x, y = mosaic.find(ra, dec)
    if not (-0.5 <= x <= mosaic.width - 0.5 and -0.5 <= y <= mosaic.height - 0.5):
        raise OffEdge(f"the position is outside the mosaic {mosaic.path.name}")
    factor = 1.0
    if rescale_to_arcsec is not None:
        factor = mosaic.pixel_scale_arcsec / rescale_to_arcsec
    side = max(1, round(CUTOUT_SIDES * native_size / factor))
    if side**2 > fits.MAX_PIXELS:
        raise UserError(f"{mosaic.path} has pixels of {mosaic.pixel_scale_arcsec:g} arcsec, too small to be resampled")
    data = mosaic.cut(x, y, side)
    nan_fraction = float((~np.isfinite(data)).mean())
    if rescale_to_arcsec is not None:
        data = resample(data, factor)
    image = as_image(
        data,
        recipe=recipe,
        native_size=native_size,
        position=(ra, dec),
        pixel_scale_arcsec=mosaic.pixel_scale_arcsec,
        nan_fraction=nan_fraction,
        expected_arcsec=None if rescale_to_arcsec is not None else expected_arcsec,
    )
    off_edge = not mosaic.holds(x, y, max(1, round(native_size / factor)))
    return image.flagged("off_edge") if off_edge else image


class OffEdge(UserError):
    """A position outside the mosaic."""
