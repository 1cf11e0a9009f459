"""Images for the page: each as a data URI, and how much of a galaxy's image is worth a small picture."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from radgal.figures.style import load_matplotlib

MAX_IMAGE_PIXELS = 40_000_000
THUMBNAIL_PX = 300  # galaxies are 150 px wide as a rule: only the images of others are made smaller
FIGURE_PX = 1200
MAX_ZOOM = 4.0
BARS_ARCSEC = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


def encode_source(image: np.ndarray) -> str:
    """Returns a uint8 (S, S) image as the data URI of a PNG: square root of brightness, in the colors "inferno"."""
    load_matplotlib()
    from matplotlib import colormaps
    from PIL import Image

    stretched = np.sqrt(image / 255.0) * 255.0
    picture = Image.fromarray(np.round(stretched).astype(np.uint8))
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    picture = Image.fromarray(np.asarray(picture) // 4 * 4)  # 64 levels: half the size, no visible loss
    picture.putpalette((colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.uint8).tobytes())
    return _data_uri(picture)


def encode_figure(path: Path) -> str:
    """Returns a PNG file as the data URI of a smaller one.

    Raises:
        OSError, ValueError, SyntaxError: if it is no PNG, or is far too large.
    """
    from PIL import Image

    with Image.open(path, formats=("PNG",)) as picture:
        if picture.width * picture.height > MAX_IMAGE_PIXELS:
            raise ValueError(f"{picture.width} x {picture.height} pixels are too many")
        small = picture.convert("RGB")
    small.thumbnail((FIGURE_PX, FIGURE_PX))
    return _data_uri(small.quantize(64))


def _data_uri(picture: Any) -> str:
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def field_of(image: np.ndarray, pixel_arcsec: float | None) -> dict[str, Any]:
    """Returns how far a small picture is to be enlarged about its middle, and its scale bars.

    Args:
        image: uint8 (S, S).
        pixel_arcsec: what a pixel measures; None: not known, no bars.

    Returns:
        ``zoom``, and ``near`` and ``whole``: the bars of the enlarged and of the whole image, as (percent of the
        width, text), or None.
    """
    zoom, width = zoom_of(image), image.shape[1] * (pixel_arcsec or 0.0)
    return {"zoom": f"{zoom:.2f}", "near": scale_bar(width / zoom), "whole": scale_bar(width)}


def zoom_of(image: np.ndarray) -> float:
    """Returns how far an image can be enlarged about its middle so that all of its source is still seen.

    The source is what is brighter than a twelfth of the peak, without patches that have less than a tenth of the light
    of the brightest one: neighbors and noise.
    """
    from scipy.ndimage import label

    height, width = image.shape
    patches, n = label(image > image.max() / 12)
    if not n:
        return 1.0
    light = np.bincount(patches.ravel(), weights=image.ravel(), minlength=n + 1)
    light[0] = 0
    rows, columns = np.nonzero((light >= light.max() / 10)[patches])
    across = 2 * max(np.abs(rows - (height - 1) / 2).max() / height, np.abs(columns - (width - 1) / 2).max() / width)
    return float(np.clip(1 / (1.15 * max(across, 1e-3)), 1.0, MAX_ZOOM))


def scale_bar(width_arcsec: float) -> tuple[str, str] | None:
    """Returns a bar for an image so wide, as (percent of the width, text); None if there is none of a fair length."""
    fitting = [length for length in BARS_ARCSEC if 0.12 * width_arcsec <= length <= 0.4 * width_arcsec]
    if not fitting:
        return None
    length = fitting[-1]
    text = f"{length}″" if length < 60 else f"{length // 60}′" if length < 3600 else f"{length // 3600}°"
    return f"{100 * length / width_arcsec:.1f}", text
