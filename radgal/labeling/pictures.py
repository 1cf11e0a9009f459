"""Images as a labeler sees them: whole, in one of four stretches of brightness, as PNG."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from radgal.figures.style import load_matplotlib
from radgal.images.fill import without_fill
from radgal.images.reading import Field, read_field

MAX_SIDE = 600  # pixels along each side that are shown, from the middle
FIELD = 150  # pixels along each side that a network reads, of the middle, where none says otherwise
STRETCHES = {
    "linear": lambda x: x,
    "sqrt": np.sqrt,
    "log": lambda x: np.log1p(1000 * x) / np.log1p(1000.0),
    "asinh": lambda x: np.arcsinh(10 * x) / np.arcsinh(10.0),
}
"""What becomes of brightness from 0 to 1; log and asinh as astropy.visualization has them."""


@dataclass(frozen=True, eq=False)
class Scaled:
    """An image from 0, the sky, to 1, the brightest pixel of its middle; row 0 at the top."""

    pixels: np.ndarray  # float32 (H, W)
    position: tuple[float, float] | None  # ICRS, degrees
    scale_arcsec: float | None  # of a pixel


@lru_cache(maxsize=16)
def read_scaled(path: Path) -> Scaled:
    """Returns the middle of an image file, north up where it says where north is.

    Raises:
        UserError: if it cannot be read.
    """
    field = read_field(path)
    array = _middle(field.array, MAX_SIDE)
    scales = field.sky.scales_arcsec
    pixels = _from_sky_to_peak(array)
    if scales is not None:
        pixels = pixels[::-1]  # FITS counts rows from the bottom
    return Scaled(pixels, _position(field), scales and float(np.sqrt(scales[0] * scales[1])))


def _position(field: Field) -> tuple[float, float] | None:
    return field.sky.position and (float(field.sky.position[0]), float(field.sky.position[1]))


def _middle(array: np.ndarray, side: int) -> np.ndarray:
    top, left = (max(0, (n - side) // 2) for n in array.shape)
    return array[top : top + side, left : left + side]


def _from_sky_to_peak(array: np.ndarray) -> np.ndarray:
    """Returns an array scaled to 0..1: pixels by their brightest; fluxes from the median to the peak of the middle."""
    if array.dtype == np.uint8:
        low, high = 0.0, float(array.max())
    else:
        array = without_fill(array)[0]
        known = array[np.isfinite(array)]
        if not known.size:
            return np.zeros(array.shape, dtype=np.float32)
        middle = _middle(array, max(1, min(array.shape) // 2))
        middle = middle[np.isfinite(middle)]
        low, high = float(np.median(known)), float((middle if middle.size else known).max())
    if not high > low:
        return np.zeros(array.shape, dtype=np.float32)
    return np.nan_to_num(np.clip((array - low) / (high - low), 0, 1)).astype(np.float32)


def as_png(scaled: Scaled, stretch: str) -> bytes:
    """Returns the image as a PNG in the colors "inferno"; ``stretch`` is a key of ``STRETCHES``."""
    load_matplotlib()
    from matplotlib import colormaps
    from PIL import Image

    picture = Image.fromarray(np.round(255 * STRETCHES[stretch](scaled.pixels)).astype(np.uint8))
    picture.putpalette((colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.uint8).tobytes())
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
