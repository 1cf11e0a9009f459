"""One's own images, as FITS, PNG, JPEG or NPY: read within bounds, made what the networks read."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from radgal.images.fill import without_fill
from radgal.images.fits import MAX_PIXELS, read_fits
from radgal.images.pictures import flags_of_pixels, read_picture
from radgal.images.recipes import CUTOUT_SIDES, fit_to_side, noise_threshold, resample, to_uint8
from radgal.images.sky import TOLERANCE, Sky
from utils import UserError, reason_of

FITS_NAME = re.compile(r"\.(fits?|fts)(\.[gf]z)?$", re.IGNORECASE)
PIXEL_NAME = re.compile(r"\.(png|jpe?g)$", re.IGNORECASE)
ARRAY_NAME = re.compile(r"\.npy$", re.IGNORECASE)
SUFFIXES = ".fits, .fits.gz, .fits.fz, .png, .jpg or .npy"

FLAGS = {
    "off_edge": "reaches over the edge of the mosaic it was cut from",
    "nan": "has pixels without a value",
    "fill": "has large areas of exactly one value, or huge numbers, which count as no value",
    "no_noise": "has zeros in place of its noise, which cannot be measured",
    "uneven": "has parts with far less noise than the rest, as if they were beyond the coverage",
    "offset": "has a quarter of its pixels above the threshold: its background is not near 0",
    "rounded": "has values rounded as coarsely as its noise, which is not measured well",
    "blank": "has nothing above the noise, or one value everywhere",
    "saturated": "ten or more pixels have the largest value: the peak is cut off",
    "pixel_scale": "has another pixel scale than the training images along x or y, or pixels that are not square",
    "mirrored": "shows the sky mirrored: right ascension grows to the wrong side",
    "sheared": "has axes that are not at right angles on the sky",
    "several_images": "its file holds several images that might be meant",
    "other_kind": "its header says that it is no image of the sky but of rms, weights or another Stokes parameter",
    "too_large": "the source is larger than the field",
    "small_cutout": "is smaller than the cutouts that the recipe measures the noise on, though not than the images",
    "padded": "is smaller than the training images; background was added around it",
    "cropped": "is a picture larger than the training images, of which the middle was used",
    "transparent": "is a picture with transparent pixels; they count as black",
    "color": "is a picture in color; it was made gray",
    "bright_background": "is a picture whose border is not black, as the empty sky of the training images is",
    "dim": "is a picture whose brightest pixel is far from white, as that of the training images is",
}
"""What may be unusual about an image."""

SATURATED_PIXELS = 10
MANY = 0.25  # of the pixels, above three standard deviations of the noise; of 22 cutouts of FIRST at most 0.016 are


@dataclass(frozen=True, eq=False)
class Field:
    """What was read of a source, before a recipe makes an image of it."""

    array: np.ndarray  # (H, W), fluxes or, if uint8, pixels
    sky: Sky = Sky()  # at its middle
    flags: tuple[str, ...] = ()  # keys of FLAGS, of the reading
    beam: tuple[float, float, float] | None = None  # see ``sky.beam_of``


@dataclass(frozen=True, eq=False)
class Image:
    """An image as the networks read it, before the crop to their input."""

    pixels: np.ndarray  # uint8 (native_size, native_size)
    position: tuple[float, float] | None  # ICRS right ascension and declination of the middle, degrees
    scales_arcsec: tuple[float, float] | None  # sides of a pixel along x and y, of the file, before any resampling
    flags: tuple[str, ...]  # keys of FLAGS
    shape: tuple[int, int]  # of the file, after any resampling
    nan_fraction: float  # of pixels that have no value
    beam: tuple[float, float, float] | None = None  # see ``sky.beam_of``

    @property
    def pixel_scale_arcsec(self) -> float | None:
        """The side of a square as large as a pixel."""
        return self.scales_arcsec and float(np.sqrt(self.scales_arcsec[0] * self.scales_arcsec[1]))

    def flagged(self, flag: str) -> Image:
        """Returns the image with one flag more."""
        return replace(self, flags=in_order({*self.flags, flag}))


def in_order(flags: Collection[str]) -> tuple[str, ...]:
    """Returns flags in the order of ``FLAGS``."""
    return tuple(flag for flag in FLAGS if flag in flags)


def read_image(
    path: str | Path,
    *,
    recipe: str,
    native_size: int = 150,
    rescale_to_arcsec: float | None = None,
    expected_arcsec: float | None = None,
    hdu: str | None = None,
) -> Image:
    """Returns a FITS, PNG, JPEG or NPY file, whichever the suffix says, as a network reads it.

    FITS and NPY files hold fluxes, which go through the recipe; PNG, JPEG and NPY files of uint8 hold pixels, which
    are taken as they are (color as gray, 16 bits as the upper 8). The central part is used; smaller images are
    padded and flagged.

    Args:
        path: the file.
        recipe: a key of ``recipes.RECIPES``.
        native_size: pixels along each side of the result.
        rescale_to_arcsec: pixel scale to resample FITS images to; None leaves them as they are.
        expected_arcsec: pixel scale of the training images; images that differ are flagged 'pixel_scale'.
        hdu: number or EXTNAME of the HDU of FITS files; None: see :func:`radgal.images.hdus.choose_image`.

    Raises:
        UserError: if the file is no such image, is damaged or too large, or is to be rescaled and tells no scale.
    """
    field, is_fits = read_field(path, hdu), FITS_NAME.search(Path(path).name)
    if is_fits and rescale_to_arcsec is not None and field.sky.scales_arcsec is None:
        raise UserError(f"{path} cannot be resampled: its header gives no pixel scale (WCS)")
    rescale_to_arcsec = rescale_to_arcsec if is_fits else None
    how = dict(rescale_to_arcsec=rescale_to_arcsec, expected_arcsec=expected_arcsec)
    return as_image(field, recipe=recipe, native_size=native_size, **how)


def read_field(path: str | Path, hdu: str | None = None) -> Field:
    """Returns what is in a FITS, PNG, JPEG or NPY file, whichever the suffix says, before any recipe.

    Raises:
        UserError: if the file is no such image, is damaged or too large.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a device or a pipe might never end
        raise UserError(f"{path} is not a file")
    if not FITS_NAME.search(path.name):
        return Field(*_read_plain(path))
    image = read_fits(path, hdu=hdu)
    return Field(image.data, image.sky, image.flags, image.beam)


def as_image(
    field: Field,
    *,
    recipe: str,
    native_size: int,
    rescale_to_arcsec: float | None = None,
    expected_arcsec: float | None = None,
) -> Image:
    """Returns what was read as a network reads it; see :func:`read_image`."""
    array, scales, flags = field.array, field.sky.scales_arcsec, {*field.flags, *field.sky.flags}
    if array.dtype == np.uint8:
        nan_fraction, pixels = 0.0, fit_to_side(array, native_size)
        flags |= set(flags_of_pixels(array, native_size))
    else:
        array, found = without_fill(array)
        nan_fraction = float((~np.isfinite(array)).mean())
        threshold = noise_threshold(array, recipe)  # of the survey's own pixels: resampled, noise is another
        if rescale_to_arcsec is not None:
            array = resample(array, factors_to(scales, rescale_to_arcsec))
        pixels = to_uint8(array, recipe, native_size, threshold)
        is_small = native_size <= min(array.shape) < (1 - TOLERANCE) * CUTOUT_SIDES * native_size
        is_offset = np.isfinite(threshold) and (array[np.isfinite(array)] > threshold).mean() > MANY
        flags |= {*found, *(("small_cutout",) * is_small), *(("offset",) * int(is_offset))}
    unusual = {
        "nan": nan_fraction > 0,
        "blank": pixels.min() == pixels.max(),
        "saturated": int((pixels == 255).sum()) >= SATURATED_PIXELS,
        "pixel_scale": rescale_to_arcsec is None and is_another_scale(scales, expected_arcsec),
        "padded": min(array.shape) < native_size,
    }
    flags |= {flag for flag, is_so in unusual.items() if is_so}
    return Image(pixels, field.sky.position, scales, in_order(flags), array.shape, nan_fraction, field.beam)


def factors_to(scales: tuple[float, float], arcsec: float) -> tuple[float, float]:
    """Returns how many times as many pixels there are along x and y when they are made ``arcsec`` wide and high."""
    return scales[0] / arcsec, scales[1] / arcsec


def scales_differ(scale: float | None, expected: float | None) -> bool:
    """Returns whether two pixel scales, as far as they are known, differ by more than 2 %."""
    return scale is not None and expected is not None and abs(scale / expected - 1) > TOLERANCE


def is_another_scale(scales: tuple[float, float] | None, expected: float | None) -> bool:
    """Returns whether pixels differ by more than 2 % from those expected, along x or y; from squares if none are."""
    if scales is None:
        return False
    return any(scales_differ(one, expected or scales[0]) for one in scales)


def _read_plain(path: Path) -> tuple[np.ndarray, Sky, tuple[str, ...]]:
    """Returns an image that does not say where on the sky it is: the parts of a :class:`Field`."""
    if PIXEL_NAME.search(path.name):
        try:
            array, flags = read_picture(path)
        except UserError:
            raise
        except Exception as error:  # decoders raise many kinds on damaged files
            raise _unreadable(path, error) from None
        return array, Sky(), flags
    if ARRAY_NAME.search(path.name):
        return _read_array(path), Sky(), ()
    raise UserError(f"{path} is none of the images that are read, {SUFFIXES}")


def _read_array(path: Path) -> np.ndarray:
    """Returns a NPY file as uint8 or float64 (H, W), its shape checked before it is read."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # holds no objects, so nothing in it is run
        sides = [side for side in array.shape if side != 1]
        if array.dtype.kind not in "uif":
            raise ValueError(f"its values are of type {array.dtype}, not numbers")
        if len(sides) != 2 or array.size == 0:
            raise ValueError(f"its shape is {array.shape}; one image has two axes")
        if array.size > MAX_PIXELS:
            raise ValueError(f"its shape is {array.shape}; at most {MAX_PIXELS:,} pixels are read")
        kind = np.uint8 if array.dtype == np.uint8 else np.float64
        return np.array(array, dtype=kind).reshape(sides)
    except Exception as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, OSError) and error.strerror:
        return UserError(f"{path} cannot be read: {error.strerror}")
    return UserError(f"{path} cannot be read as an image: {reason_of(error)}")


def without_suffix(name: str) -> str:
    """Returns the name or path of an image without the suffix that tells its format."""
    for pattern in (FITS_NAME, PIXEL_NAME, ARRAY_NAME):
        name = pattern.sub("", name)
    return name


def is_image_name(path: Path) -> bool:
    """Returns whether the suffix is that of an image; hidden files and files in hidden folders are none."""
    if any(part.startswith(".") for part in path.parts):
        return False
    return any(pattern.search(path.name) for pattern in (FITS_NAME, PIXEL_NAME, ARRAY_NAME))
