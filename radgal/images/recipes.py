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


CUTOUT_SIDES = 2
"""The noise is measured on cutouts so many times as wide as the images: 300 px for the published 150."""

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
    steps, good = RECIPES[recipe], data[np.isfinite(data)]
    with without_warnings(), np.errstate(all="ignore"):
        threshold = steps.n_sigma * clipped_std(good, steps.max_iterations)
    return threshold if np.isfinite(threshold) else float("inf")


def clipped_std(values: np.ndarray, max_iterations: int) -> float:
    """Returns the standard deviation of values, clipped at 3 of them around the median until nothing changes.

    The same number, to the last bit, as ``astropy.stats.sigma_clipped_stats(values, sigma=3, maxiters=max_iterations)``
    gives without bottleneck. What takes its time are the medians; here they are looked up, since what is kept is always
    a part of the sorted values.

    Args:
        values: (N,) float64, finite, in the order in which they are summed.
        max_iterations: at least 1.

    Returns:
        NaN if nothing is left.
    """
    in_order, kept = np.sort(values), values
    for _ in range(max_iterations):
        if not kept.size:
            break
        middle = in_order[(kept.size - 1) // 2 : kept.size // 2 + 1].mean()
        reach = 3.0 * kept.std()
        low, high = middle - reach, middle + reach
        before, kept = kept.size, kept[(kept >= low) & (kept <= high)]
        if kept.size == before:
            break
        start = int(np.searchsorted(in_order, low))
        in_order = in_order[start : start + kept.size]
    return float(kept.std()) if kept.size else float("nan")


def to_uint8(data: np.ndarray, recipe: str, side: int = 150, threshold: float | None = None) -> np.ndarray:
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
        threshold: what pixels must exceed, if it was measured elsewhere; None: :func:`noise_threshold` of ``data``.

    Returns:
        uint8 (side, side); all 0 if nothing is above the noise.

    Raises:
        UserError: if there is no such recipe.
    """
    if recipe not in RECIPES:
        raise UserError(f"{recipe!r} is no recipe for FITS images; known: {', '.join(RECIPES)}")
    data = np.asarray(data, dtype=np.float64)
    if threshold is None:
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


def resample(data: np.ndarray, factors: tuple[float, float]) -> np.ndarray:
    """Returns the image with so many times as many pixels along x and along y, interpolated linearly.

    When pixels become larger, the image is smoothed first, so that no source falls between them. The beam stays
    what it was: a survey's resolution is not changed by its pixels. The noise does not stay, so the threshold is to
    be measured before.

    Pixels that are not finite have no weight: they change no other pixel, and there is NaN where more than half of
    the weight is missing. An image whose number of pixels does not change is returned as it is.

    Args:
        data: (H, W).
        factors: old pixel scale over new, along x (columns) and along y (rows).

    Raises:
        UserError: if the result would be empty or too large.
    """
    by_axis = factors[::-1]
    usable = np.isfinite(by_axis).all() and max(by_axis) * max(data.shape) < MAX_PIXELS
    shape = tuple(round(side * factor) for side, factor in zip(data.shape, by_axis, strict=True)) if usable else (0, 0)
    if min(shape) < 1 or shape[0] * shape[1] > MAX_PIXELS:
        sides, by = (" x ".join(f"{one:g}" for one in pair) for pair in (data.shape, sorted(set(by_axis))))
        raise UserError(f"an image of {sides} pixels cannot be resampled by a factor of {by}")
    if shape == data.shape:
        return data
    finite = np.isfinite(data)
    if finite.all():
        return _zoom(data, shape)
    weights = _zoom(finite.astype(np.float64), shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weights > 0.5, _zoom(np.where(finite, data, 0.0), shape) / weights, np.nan)


def _zoom(data: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Returns finite data with another number of pixels along each side."""
    from scipy import ndimage

    zoom = [new / old for new, old in zip(shape, data.shape, strict=True)]
    data = ndimage.gaussian_filter(data, [max(0.0, (1 / factor - 1) / 2) for factor in zoom])
    return ndimage.zoom(data, zoom, order=1, mode="nearest", grid_mode=True)
