"""One's own images, as FITS, PNG, JPEG or NPY: read within bounds, made what the networks read."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from radgal.images.fits import MAX_PIXELS, read_fits
from radgal.images.recipes import fit_to_side, resample, to_uint8
from utils import UserError, reason_of, without_warnings

FITS_NAME = re.compile(r"\.(fits?|fts)(\.[gf]z)?$", re.IGNORECASE)
PIXEL_NAME = re.compile(r"\.(png|jpe?g)$", re.IGNORECASE)
ARRAY_NAME = re.compile(r"\.npy$", re.IGNORECASE)
SUFFIXES = ".fits, .fits.gz, .fits.fz, .png, .jpg or .npy"

FLAGS = {
    "off_edge": "reaches over the edge of the mosaic it was cut from",
    "nan": "has pixels without a value",
    "blank": "has nothing above the noise, or one value everywhere",
    "saturated": "ten or more pixels have the largest value: the peak is cut off",
    "pixel_scale": "has another pixel scale than the training images",
    "too_large": "the source is larger than the field",
    "padded": "is smaller than the training images; background was added around it",
}
"""What may be unusual about an image."""

SATURATED_PIXELS = 10
SCALE_TOLERANCE = 0.02  # relative


@dataclass(frozen=True, eq=False)
class Image:
    """An image as the networks read it, before the crop to their input."""

    pixels: np.ndarray  # uint8 (native_size, native_size)
    position: tuple[float, float] | None  # ICRS right ascension and declination of the middle, degrees
    pixel_scale_arcsec: float | None  # of the file, before any resampling
    flags: tuple[str, ...]  # keys of FLAGS
    shape: tuple[int, int]  # of the file, after any resampling
    nan_fraction: float  # of pixels that are not finite

    def flagged(self, flag: str) -> Image:
        """Returns the image with one flag more."""
        return replace(self, flags=tuple(one for one in FLAGS if one == flag or one in self.flags))


def read_image(
    path: str | Path,
    *,
    recipe: str,
    native_size: int = 150,
    rescale_to_arcsec: float | None = None,
    expected_arcsec: float | None = None,
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

    Raises:
        UserError: if the file is no such image, is damaged or too large, or is to be rescaled and tells no scale.
    """
    path = Path(path)
    position = scale = None
    if path.exists() and not path.is_file():  # a device or a pipe might never end
        raise UserError(f"{path} is not a file")
    if FITS_NAME.search(path.name):
        image = read_fits(path)
        array, position, scale = image.data, image.center_deg(), image.pixel_scale_arcsec
        nan_fraction = image.nan_fraction
        if rescale_to_arcsec is not None:
            if scale is None:
                raise UserError(f"{path} cannot be resampled: its header gives no pixel scale (WCS)")
            array = resample(array, scale / rescale_to_arcsec)
    else:
        array = _read_plain(path)
        nan_fraction = float((~np.isfinite(array)).mean())
    return as_image(
        array,
        recipe=recipe,
        native_size=native_size,
        position=position,
        pixel_scale_arcsec=scale,
        nan_fraction=nan_fraction,
        expected_arcsec=None if rescale_to_arcsec is not None else expected_arcsec,
    )


def as_image(
    array: np.ndarray,
    *,
    recipe: str,
    native_size: int,
    position: tuple[float, float] | None,
    pixel_scale_arcsec: float | None,
    nan_fraction: float,
    expected_arcsec: float | None,
) -> Image:
    """Returns fluxes, or pixels if they are uint8, (H, W) as a network reads them; see :func:`read_image`."""
    pixels = fit_to_side(array, native_size) if array.dtype == np.uint8 else to_uint8(array, recipe, native_size)
    flags = {
        "nan": nan_fraction > 0,
        "blank": pixels.min() == pixels.max(),
        "saturated": int((pixels == 255).sum()) >= SATURATED_PIXELS,
        "pixel_scale": scales_differ(pixel_scale_arcsec, expected_arcsec),
        "padded": min(array.shape) < native_size,
    }
    found = tuple(flag for flag in FLAGS if flags.get(flag))
    return Image(pixels, position, pixel_scale_arcsec, found, array.shape, nan_fraction)


def scales_differ(scale: float | None, expected: float | None) -> bool:
    """Returns whether two pixel scales, as far as they are known, differ by more than 2 %."""
    return scale is not None and expected is not None and abs(scale / expected - 1) > SCALE_TOLERANCE


def _read_plain(path: Path) -> np.ndarray:
    """Returns an image that does not say where on the sky it is: pixels uint8 or fluxes float64, (H, W)."""
    if PIXEL_NAME.search(path.name):
        return _read_pixels(path)
    if ARRAY_NAME.search(path.name):
        return _read_array(path)
    raise UserError(f"{path} is none of the images that are read, {SUFFIXES}")


def _read_pixels(path: Path) -> np.ndarray:
    """Returns a PNG or JPEG as uint8 (H, W), its size checked before it is decoded."""
    try:
        with without_warnings(), path.open("rb") as file:
            image = PillowImage.open(file, formats=("PNG", "JPEG"))
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UserError(f"{path} has {height} x {width} pixels; at most {MAX_PIXELS:,} are read")
            if image.mode.startswith("I"):  # 16 bits; Pillow would cut them off at 255
                return (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
            return np.array(image.convert("L"))
    except UserError:
        raise
    except Exception as error:  # decoders raise many kinds on damaged files
        raise _unreadable(path, error) from None


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
