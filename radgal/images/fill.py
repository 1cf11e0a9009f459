"""Pixels that hold a number and no measurement: what files write beyond the coverage of a survey.

Legend: H rows, W columns (pixels); an area is a set of pixels, boolean (H, W).
"""

from __future__ import annotations

import numpy as np

HUGE = 1e18
"""No flux in any unit is as large: 1e30, 9.97e36 and -9.2e18 are usual signs for no value."""

RUN = 24
"""So many equal values side by side are no chance. Noise that is rounded to half its standard deviation has 15."""

SQUARE = 10
"""So many along each side of a square neither."""

MIN_PIXELS = 100
COMMON_VALUES = 8  # values of areas that are looked at one by one
ROUNDED = 0.75
"""Share of the steps over an area's border that are of one height, from which on the area is one of rounded noise."""

FEW_NEGATIVE = 0.05
"""Share of negative values below which zeros are what was cut off, and not what was never measured. Noise has half."""


BLOCK = 16  # pixels along each side of the squares whose noise is compared
FLAT = 0.2  # of the noise of the noisier quarter of them; a fill that was compressed with dithering has 0.05 to 0.15


def without_fill(data: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns an image with NaN in place of the numbers that stand for no value, and what is to be said of it.

    Those are numbers beyond 1e18, and large areas of exactly one value, of whatever value. Some such areas are data:

    - of values rounded so coarsely that neighbors are equal by chance (flag 'rounded');
    - of zeros where nearly nothing is negative: there the noise was cut off, and cannot be measured ('no_noise');
    - inside the image, of its largest value, if others come near: a source whose peak was cut off.

    Areas of nearly one value, as lossy compression makes of those of one, are left and flagged 'uneven'.

    Args:
        data: float (H, W); left as it is.

    Returns:
        (the image, keys of ``reading.FLAGS``); the image itself if there is nothing of the kind.
    """
    with np.errstate(invalid="ignore"):
        huge = (np.abs(data) > HUGE) & np.isfinite(data)
    if huge.any():
        data = np.where(huge, np.nan, data)
    area, flags = _areas(data), set()
    if area.any():
        values, counts = np.unique(data[area], return_counts=True)
        rest = data[~area & np.isfinite(data)]
        for value in values[np.argsort(-counts)[:COMMON_VALUES]]:
            one = area & (data == value)
            if value == 0 and len(rest) and (rest < 0).mean() < FEW_NEGATIVE:
                flags.add("no_noise")
            elif _is_rounded(data, one, rest):
                flags.add("rounded")
            elif not (len(rest) and rest.max() <= value <= 2 * rest.max() and _is_inside(one)):
                continue
            area &= ~one
    if area.sum() >= MIN_PIXELS:
        data = np.where(area, np.nan, data)
        flags.add("fill")
    elif huge.any():
        flags.add("fill")
    if not flags & {"no_noise", "rounded"} and _is_uneven(data):
        flags.add("uneven")
    return data, tuple(sorted(flags))


def _areas(data: np.ndarray) -> np.ndarray:
    """Returns the pixels in runs or squares of equal values, and all that are equal beside those."""
    beside, below = data[:, 1:] == data[:, :-1], data[1:] == data[:-1]
    area = np.zeros(data.shape, dtype=bool)
    if max(beside.sum(), below.sum()) < RUN - 1:
        return area
    _mark_runs(area, beside)
    _mark_runs(area.T, below.T)
    _mark_squares(area, beside, below)
    n_pixels = -1
    while n_pixels != (n_pixels := int(area.sum())):
        area[:, 1:] |= area[:, :-1] & beside
        area[:, :-1] |= area[:, 1:] & beside
        area[1:] |= area[:-1] & below
        area[:-1] |= area[1:] & below
    return area


def _mark_runs(area: np.ndarray, equal: np.ndarray) -> None:
    """Marks the runs of at least ``RUN`` pixels in an area (H, W); ``equal`` (H, W - 1): each pixel to its right."""
    width = area.shape[1]
    if width < RUN:
        return
    sums = np.zeros((len(area), width), dtype=np.int32)
    np.cumsum(equal, axis=1, out=sums[:, 1:])
    starts = sums[:, RUN - 1 :] - sums[:, : width - RUN + 1] == RUN - 1
    rows = starts.any(axis=1)
    for i in range(RUN):
        area[rows, i : i + starts.shape[1]] |= starts[rows]


def _mark_squares(area: np.ndarray, beside: np.ndarray, below: np.ndarray) -> None:
    """Marks the first pixel of each square of equal pixels in an area (H, W).

    Args:
        beside: (H, W - 1), whether a pixel is equal to the one on its right.
        below: (H - 1, W), whether it is equal to the one in the next row.
    """
    flat, side = beside[:-1] & below[:, :-1], SQUARE - 1
    if min(flat.shape) < side or flat.sum() < side**2:
        return
    sums = np.zeros(area.shape, dtype=np.int32)
    np.cumsum(np.cumsum(flat, axis=0), axis=1, out=sums[1:, 1:])
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    area[:-side, :-side] |= inside == side**2


def _is_rounded(data: np.ndarray, area: np.ndarray, rest: np.ndarray) -> bool:
    """Returns whether the steps over the border of an area are nearly all one and the same, a digit of the values.

    Args:
        data: (H, W).
        area: of one value.
        rest: the values that are in no area; they scatter by about a digit, if it is one.
    """
    steps = np.concatenate(
        [
            np.abs(a - b)[(p != q) & np.isfinite(a - b)]
            for a, b, p, q in (
                (data[:, 1:], data[:, :-1], area[:, 1:], area[:, :-1]),
                (data[1:], data[:-1], area[1:], area[:-1]),
            )
        ]
    )
    if not len(steps) or not len(rest):
        return False
    usual, (low, high) = np.median(steps), np.percentile(rest, (16, 84))
    if usual > 2 * (high - low):
        return False
    return bool((np.abs(steps - usual) <= 1e-3 * usual).mean() > ROUNDED)


def _is_inside(area: np.ndarray) -> bool:
    return not (area[0].any() or area[-1].any() or area[:, 0].any() or area[:, -1].any())


def _is_uneven(data: np.ndarray) -> bool:
    """Returns whether some square of pixels has far less noise than others."""
    rows, columns = (side // BLOCK for side in data.shape)
    if rows * columns < 4:
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.abs(np.diff(data[: rows * BLOCK, : columns * BLOCK], axis=1, append=np.nan))
        blocks = steps.reshape(rows, BLOCK, columns, BLOCK)[..., :-1].mean(axis=(1, 3))
    known = blocks[np.isfinite(blocks)]
    return len(known) > 0 and bool(known.min() < FLAT * np.percentile(known, 75))
