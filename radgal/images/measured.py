"""What can be measured of a source in an image that was scaled to its own brightest pixel.

Legend: N images, S pixels along each side.
"""

from __future__ import annotations

import numpy as np

MEASURED = {  # column: unit and description
    "size_px": ("pix", "rms radius of all flux about its centroid, measured on the image"),
    "flux_per_peak": ("", "sum of the pixels over the brightest one, measured on the image"),
    "contrast": ("", "brightest pixel over the faintest that is not 0, measured on the image, at most 255"),
}


def measure(images: np.ndarray) -> dict[str, np.ndarray]:
    """Returns what ``MEASURED`` lists, (N,) each; NaN for a blank image.

    The published recipes set to 0 what is under 3 standard deviations of the noise, and the brightest pixel to 255. So
    the flux itself is lost, and three times the contrast is about the peak over the noise, up to 765.

    Args:
        images: uint8 (N, S, S).
    """
    n, height, width = images.shape
    pixels = images.reshape(n, -1).astype(np.float64)
    y, x = (axis.ravel().astype(np.float64) for axis in np.mgrid[:height, :width])
    peak = pixels.max(axis=1)
    faintest = np.where(pixels > 0, pixels, np.inf).min(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = pixels / pixels.sum(axis=1, keepdims=True)
        variance = sum((weights @ axis**2) - (weights @ axis) ** 2 for axis in (x, y))
        contrast = np.where(peak > 0, peak / faintest, np.nan)
        return {
            "size_px": np.sqrt(np.maximum(variance, 0)),
            "flux_per_peak": pixels.sum(axis=1) / peak,
            "contrast": contrast,
        }
