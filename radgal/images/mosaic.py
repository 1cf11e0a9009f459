"""Sources by their positions, cut out of a mosaic."""

from __future__ import annotations

import gzip
import io
import shutil
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from radgal.files.packing import check_packing, max_unpacked, written_again
from radgal.images.fits import MAX_PIXELS, without_compression
from radgal.images.hdus import choose_image
from radgal.images.reading import Field, Image, as_image, factors_to
from radgal.images.recipes import CUTOUT_SIDES
from radgal.images.sky import Sky, beam_of, celestial, frame_of, pixels_at, sky_at
from utils import UserError, reason_of, without_warnings


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

    Args:
        path: the file.
        hdu: number or EXTNAME of the HDU; None: see :func:`radgal.images.hdus.choose_image`.

    Raises:
        UserError: if it is no FITS image, or its header does not say where on the sky its pixels are.
    """

    def __init__(self, path: str | Path, hdu: str | None = None):
        from astropy.io import fits as astropy_fits

        self.path, self._lock = Path(path), threading.Lock()
        try:
            with without_warnings():
                self._file, size = self._open(check_packing(self.path))
                self._hdus = astropy_fits.open(self._file, memmap=False, lazy_load_hdus=True)
                self.choice = choose_image(self._hdus, self.path, max_pixels=2**40, name=hdu)
                sky, self.beam = celestial(self.choice.hdu.header), beam_of(self.choice.hdu.header)
        except UserError:
            raise
        except Exception as error:  # what astropy raises for a damaged file depends on where it is damaged
            raise UserError(f"{self.path} cannot be read as a mosaic: {reason_of(error)}") from None
        found = self.choice.hdu
        self._pixels, self._shape = found.section, tuple(found.shape)
        self._type, self._start = _plain_type(found.header), found.fileinfo()["datLoc"]
        self._check_size(found, size)
        if sky is None:
            raise UserError(
                f"{self.path} has no celestial WCS in its header, so positions cannot be found in it; add one "
                "(CTYPE, CRVAL, CRPIX, CDELT or CD), or cut the sources out yourself and give the files"
            )
        try:
            frame_of(sky.wcs)
        except Exception:  # astropy raises many kinds for an equinox that is none
            said = f"{sky.wcs.wcs.ctype[0]}, RADESYS {sky.wcs.wcs.radesys or 'not given'}"
            raise UserError(f"{self.path} has coordinates of a system that is not known ({said})") from None
        self._wcs, self._swapped = sky.wcs, sky.swapped
        self._lengths = tuple(side for side in self._shape if side > 1)  # of the slow and of the fast axis of the file
        self.height, self.width = self._lengths[::-1] if sky.swapped else self._lengths

    def _open(self, packed: bool) -> tuple[BinaryIO, int]:
        """Returns the file as astropy may open it, and its length; compressed images are unpacked into another."""
        file: BinaryIO = self.path.open("rb")
        if packed:
            with gzip.open(file) as unpacked:
                file = written_again(lambda other: shutil.copyfileobj(unpacked, other))
        file = without_compression(file, self.path, max_unpacked(self.path))
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        return file, size

    def _check_size(self, hdu: Any, size: int) -> None:
        """Raises a UserError if the file ends before its image does."""
        end = hdu.fileinfo()["datLoc"] + hdu.size
        if size < end:
            raise UserError(f"{self.path} is cut off: its header announces {end:,} bytes, the file has {size:,}")

    def find(self, ra_deg: float, dec_deg: float) -> tuple[float, float] | None:
        """Returns column and row of an ICRS position, pixels from 0 at the middle of the first; None if not there.

        Of several pixels that show the position, the one that is furthest from an edge.
        """
        with self._lock:  # wcslib keeps its working space in the WCS: one thread at a time
            candidates = pixels_at(self._wcs, ra_deg, dec_deg)
        ends = np.array([self.width, self.height])
        margins = np.minimum(candidates, ends - 1 - candidates).min(axis=1)
        if not (margins >= -0.5).any():
            return None
        x, y = candidates[margins.argmax()]
        return float(x), float(y)

    def sky_at(self, x: float, y: float, position: tuple[float, float] | None = None) -> Sky:
        """Returns what is known of a place: in a wide mosaic pixels differ from those at its reference position."""
        with self._lock:
            return sky_at(self._wcs, x, y, position)

    def cut(self, x: float, y: float, sides: tuple[int, int]) -> np.ndarray:
        """Returns the pixels of the mosaic's own grid nearest to being centered on (x, y).

        Args:
            x, y: pixels.
            sides: number of columns and of rows.

        Returns:
            float64 (rows, columns); NaN outside the mosaic.
        """
        left, top = _corner(x, y, sides)
        cutout = np.full(sides[::-1], np.nan)
        rows = slice(max(top, 0), min(top + sides[1], self.height))
        columns = slice(max(left, 0), min(left + sides[0], self.width))
        if rows.start < rows.stop and columns.start < columns.stop:
            try:
                with self._lock:
                    inside = self._read(rows, columns)
            except Exception as error:  # as above: the pixels are read here for the first time
                raise UserError(f"{self.path} is damaged: {reason_of(error)}") from None
            cutout[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = inside
        return cutout

    def _read(self, rows: slice, columns: slice) -> np.ndarray:
        """Returns a part of the image, (H, W), whatever axes of length 1 the file has, and wherever."""
        long = [columns, rows] if self._swapped else [rows, columns]
        shape = [part.stop - part.start for part in long]
        if self._type is None:
            parts = iter(long)
            index = tuple(next(parts) if length > 1 else slice(0, 1) for length in self._shape)
            inside = np.array(self._pixels[index], dtype=np.float64).reshape(shape)
        else:
            inside = self._read_plain(*long).astype(np.float64)
        return inside.T if self._swapped else inside

    def _read_plain(self, slow: slice, fast: slice) -> np.ndarray:
        """Returns a part of the two long axes as it is in the file; astropy takes far longer, line by line.

        Raises:
            ValueError: if the file has become shorter.
        """
        length, n, lines = self._lengths[1], fast.stop - fast.start, []
        for i in range(slow.start, slow.stop):
            self._file.seek(self._start + (i * length + fast.start) * self._type.itemsize)
            lines.append(self._file.read(n * self._type.itemsize))
        return np.frombuffer(b"".join(lines), self._type).reshape(slow.stop - slow.start, n)

    def holds(self, x: float, y: float, sides: tuple[int, int]) -> bool:
        """Returns whether so many columns and rows around (x, y) are all inside the mosaic."""
        left, top = _corner(x, y, sides)
        return left >= 0 and top >= 0 and left + sides[0] <= self.width and top + sides[1] <= self.height


def _plain_type(header: Any) -> np.dtype | None:
    """Returns the type of the pixels in the file; None where they stand for other numbers, scaled or for no value."""
    if header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) != 0 or (header["BITPIX"] > 0 and "BLANK" in header):
        return None
    return np.dtype({8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}[header["BITPIX"]])


def _corner(x: float, y: float, sides: tuple[int, int]) -> tuple[int, int]:
    return round(x - (sides[0] - 1) / 2), round(y - (sides[1] - 1) / 2)


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
    place = mosaic.find(ra, dec)
    if place is None:
        raise OffEdge(f"the position is outside the mosaic {mosaic.path.name}")
    sky, factors = mosaic.sky_at(*place, (ra, dec)), (1.0, 1.0)
    if rescale_to_arcsec is not None:
        if sky.scales_arcsec is None:
            raise UserError(f"{mosaic.path} cannot be resampled there: its header gives no pixel scale")
        factors = factors_to(sky.scales_arcsec, rescale_to_arcsec)
    sides = tuple(max(1, round(CUTOUT_SIDES * native_size / factor)) for factor in factors)
    if sides[0] * sides[1] > MAX_PIXELS:
        scales = " x ".join(f"{scale:g}" for scale in sky.scales_arcsec)
        raise UserError(f"{mosaic.path} has pixels of {scales} arcsec, too small to be resampled")
    image = as_image(
        Field(mosaic.cut(*place, sides), replace(sky, position=(ra, dec)), mosaic.choice.flags, mosaic.beam),
        recipe=recipe,
        native_size=native_size,
        rescale_to_arcsec=rescale_to_arcsec,
        expected_arcsec=expected_arcsec,
    )
    field = tuple(max(1, round(native_size / factor)) for factor in factors)
    return image if mosaic.holds(*place, field) else image.flagged("off_edge")


class OffEdge(UserError):
    """A position outside the mosaic."""
