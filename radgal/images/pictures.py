"""PNG and JPEG files as gray pixels, and what is unusual about a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from radgal.images.fits import MAX_PIXELS
from radgal.images.recipes import fit_to_side
from utils import UserError, without_warnings

COLOR_STEP = 10  # of 255, between the channels of a pixel; what is gray may differ by less after compression
STRIP_PIXELS = 1 << 18  # of a picture that are looked at together
MOST_SCANS = 100  # of a JPEG, over all of which its decoder goes; encoders make ten
DIM = 150  # of 255, which the brightest pixel exceeds; that of a training image is 255
BRIGHT = 25  # of 255, which all but a tenth of a border exceeds; the empty sky of the training images is 0


def read_picture(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns a PNG or JPEG as uint8 (H, W), its size checked before it is decoded, and keys of ``reading.FLAGS``.

    Color becomes gray, 16 bits become the upper 8. What is transparent is black, whatever color lies beneath: the
    empty sky of the training images is black.

    Raises:
        UserError: if it is too large.
        Exception: of many kinds, if it is damaged.
    """
    with without_warnings(), path.open("rb") as file:
        try:
            image = PillowImage.open(file, formats=("PNG", "JPEG"))
        except PillowImage.UnidentifiedImageError:
            raise UserError(f"{path} cannot be read as an image: it is neither PNG nor JPEG, or damaged") from None
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise UserError(f"{path} has {height} x {width} pixels; at most {MAX_PIXELS:,} are read")
        if image.format == "JPEG" and path.read_bytes().count(b"\xff\xda") > MOST_SCANS:
            raise UserError(f"{path} is refused: it is a JPEG of more than {MOST_SCANS} scans")
        if image.mode.startswith("I"):
            return _from_16_bits(image)
        return _from_8_bits(image)


def _from_16_bits(image: PillowImage.Image) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the upper 8 bits; Pillow would cut the values off at 255."""
    values = np.asarray(image)
    pixels = np.empty(values.shape, np.uint8)
    for some, result in zip(_strips(values), _strips(pixels), strict=True):
        result[:] = (some >> 8).clip(0, 255)
    transparent = values == image.info.get("transparency", -1)
    pixels[transparent] = 0
    return pixels, ("transparent",) * bool(transparent.any())


def _strips(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Yields some rows at a time: what is made of those of a large picture takes little memory, and stays in caches."""
    rows = max(1, STRIP_PIXELS // pixels.shape[1])
    return (pixels[start : start + rows] for start in range(0, len(pixels), rows))


def _from_8_bits(image: PillowImage.Image) -> tuple[np.ndarray, tuple[str, ...]]:
    image.load()
    (width, height), flags = image.size, set()
    pixels, rows = np.empty((height, width), np.uint8), max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(height, top + rows)))
        strip.info = image.info
        pixels[top : top + rows] = _to_gray(strip, flags)
    return pixels, tuple(sorted(flags, reverse=True))


def _to_gray(image: PillowImage.Image, flags: set[str]) -> np.ndarray:
    """Returns part of a picture as uint8; adds what is unusual about it to ``flags``."""
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] < 255:
            flags.add("transparent")
            black = PillowImage.new("RGBA", image.size, (0, 0, 0, 255))
            image = PillowImage.alpha_composite(black, image)
    if image.mode not in ("L", "1"):
        red, green, blue = (np.asarray(channel) for channel in image.convert("RGB").split())
        largest, smallest = (of(of(red, green), blue) for of in (np.maximum, np.minimum))
        if (largest - smallest).max() > COLOR_STEP:
            flags.add("color")
    return np.asarray(image.convert("L"))


def flags_of_pixels(pixels: np.ndarray, side: int) -> tuple[str, ...]:
    """Returns what is unusual about pixels, uint8 (H, W), that are taken as they are: keys of ``reading.FLAGS``.

    Args:
        side: pixels along each side that will be used.
    """
    border = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    used = fit_to_side(pixels, side)
    flags = {
        "bright_background": np.percentile(border, 10) > BRIGHT,
        "cropped": max(pixels.shape) > side,
        "dim": used.min() < used.max() <= DIM,
    }
    return tuple(flag for flag, is_so in flags.items() if is_so)
