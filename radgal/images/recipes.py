"""The published recipes, which turn fluxes into the pixels that the networks were trained on.

Legend: H rows, W columns (pixels).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radgal.images.fits import MAX_PIXELS
from utils import UserError, without_warnings


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
"""Measured, not only published: the first two give 22 of 22 MiraBest cutouts to the pixel, see
tests/images/test_recipes.py. That FR-DEEP's recipe is that of MiraBest v1 is seen from 39 sources whose FIRST images in
both are the same in every pixel; its NVSS images are taken to be made alike."""


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
