"""FITS images, and the published recipes that turn them into what the networks were trained on.

Legend: H rows, W columns (pixels); arrays keep the order of the file, row 0 first.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radgal.files.packing import is_gzip
from utils import UserError, without_warnings

if TYPE_CHECKING:
    from astropy.wcs import WCS

MAX_PIXELS = 8192**2
MAX_HDUS = 1000


@dataclass(frozen=True)
class Recipe:
    """How the images of a data set were made from FITS cutouts; see :func:`to_uint8`."""

    n_sigma: float = 3.0  # what is not above so many standard deviations of the noise becomes 0
    max_iterations: int = 5  # of the clipping that measures the noise
    disc: bool = False  # whether pixels outside the inscribed circle become 0


RECIPES: dict[str, Recipe] = {
    "mirabest_v1": Recipe(),
    "mirabest_v2": Recipe(disc=True),
    "frdeep": Recipe(),
}
"""Measured, not only published: the first two give 22 of 22 MiraBest cutouts to the pixel (tests/images/test_fits.py).
That FR-DEEP's recipe is that of MiraBest v1 is seen from 39 sources whose FIRST images in both are the same in every
pixel; its NVSS images are taken to be made alike."""


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
            file.seek(0)
            hdus = stack.enter_context(fits.open(file, memmap=False, lazy_load_hdus=True))
        except UserError:
            raise
        except Exception as error:  # astropy and gzip raise many kinds on files that are none
            if isinstance(error, OSError) and error.strerror:
                raise UserError(f"{path} cannot be read: {error.strerror}") from None
            raise _damaged(path, error) from None
        yield hdus


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


def noise_threshold(data: np.ndarray, recipe: str) -> float:
    """Returns the value that pixels must exceed to count as the source's: n standard deviations of the noise.

    Args:
        data: (H, W) floating point; pixels that are not finite count for nothing.
        recipe: a key of ``RECIPES``.

    Returns:
        In the units of ``data``; infinity if there is no finite pixel.
    """
    from astropy.stats import sigma_clipped_stats

    steps, finite = RECIPES[recipe], np.isfinite(data)
    if not finite.any():
        return float("inf")
    with without_warnings(), np.errstate(all="ignore"):
        # All-finite data stay as they are: the last bit of a sum depends on the shape of what is summed.
        good = data if finite.all() else data[finite]
        _, _, std = sigma_clipped_stats(good, sigma=3.0, maxiters=steps.max_iterations)
    threshold = steps.n_sigma * float(std)
    return threshold if np.isfinite(threshold) else float("inf")


def to_uint8(data: np.ndarray, recipe: str, side: int = 150) -> np.ndarray:
    """Returns what a network trained on a published data set reads, made from a cutout by that data set's recipe.

    The noise is measured on the whole cutout (clipped at 3 standard deviations, five times). Every pixel that is
    not above 3 standard deviations becomes 0; of the central part, the smallest value left (mostly 0) goes to 0 and
    the largest to 255, fractions cut off. Version 2 of MiraBest blanks what is outside the inscribed circle before.

    In double precision and for 300 x 300 px from FIRST these are the published images, in every pixel; with
    single precision some pixels differ by one.

    Args:
        data: (H, W); pixels that are not finite do not count for the noise, and become 0.
        recipe: a key of ``RECIPES``.
        side: pixels of the result along each side. Smaller cutouts are surrounded by 0.

    Returns:
        uint8 (side, side); all 0 if nothing is above the noise.

    Raises:
        UserError: if there is no such recipe.
    """
    if recipe not in RECIPES:
        raise UserError(f"{recipe!r} is no recipe for FITS images; known: {', '.join(RECIPES)}")
    data = np.asarray(data, dtype=np.float64)
    threshold = noise_threshold(data, recipe)
    with np.errstate(invalid="ignore"):
        source = np.where(np.isfinite(data) & (data > threshold), data, 0.0)
    source = fit_to_side(source, side)
    if RECIPES[recipe].disc:
        y, x = np.mgrid[:side, :side]
        source[np.hypot(x - side / 2, y - side / 2) > side / 2] = 0.0
    low, high = source.min(), source.max()
    if high == low:
        return np.zeros((side, side), dtype=np.uint8)
    # Divided before it is multiplied: so were the published images, and the truncation sees the last bit.
    return ((source - low) / (high - low) * 255).astype(np.uint8)


def fit_to_side(image: np.ndarray, side: int) -> np.ndarray:
    """Returns the central side x side pixels, a new array; where the image is smaller there is 0 around it."""
    for axis, length in enumerate(image.shape):
        start = abs(length - side) // 2
        if length >= side:
            image = image.take(range(start, start + side), axis=axis)
        else:
            widths = [(0, 0), (0, 0)]
            widths[axis] = (start, side - length - start)
            image = np.pad(image, widths)
    return image.copy()


def resample(data: np.ndarray, factor: float) -> np.ndarray:
    """Returns the image with ``factor`` times as many pixels along each side, interpolated linearly.

    When pixels become larger, the image is smoothed first, so that no source falls between them. The beam stays
    what it was: a survey's resolution is not changed by its pixels.

    Args:
        data: (H, W); pixels that are not finite are taken as 0.
        factor: old pixel scale over new.

    Raises:
        UserError: if the result would be empty or too large.
    """
    from scipy import ndimage

    shape = [round(side * factor) for side in data.shape] if np.isfinite(factor) else [0]
    if min(shape) < 1 or shape[0] * shape[1] > MAX_PIXELS:
        sides = " x ".join(map(str, data.shape))
        raise UserError(f"an image of {sides} pixels cannot be resampled by a factor of {factor:g}")
    data = np.where(np.isfinite(data), data, 0.0)
    if factor < 1:
        data = ndimage.gaussian_filter(data, (1 / factor - 1) / 2)
    zoom = [new / old for new, old in zip(shape, data.shape, strict=True)]
    return ndimage.zoom(data, zoom, order=1, mode="nearest", grid_mode=True)


def _damaged(path: Path, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [""])[0][:150] or type(error).__name__
    return UserError(f"{path} cannot be read as a FITS image: it is damaged, cut off or something else ({reason})")


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
