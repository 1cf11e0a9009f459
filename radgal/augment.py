"""Batched rotation, reflection and normalization of images, on whatever device they are.

Legend: N images, C channels, H rows, W columns (pixels).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def rotate(images: Tensor, angles_deg: Tensor, flip: Tensor | None = None, fill: float = 0.0) -> Tensor:
    """Returns every image rotated by its own angle about the image center, by bilinear interpolation.

    Differs from the published program: all images of a batch are turned in one call on the device, in floating
    point (PIL rounds the interpolated value to whole grey levels again), and ``fill`` should be the value of the
    empty sky so that the turned square leaves no edge.

    Approximate because: off multiples of 90 degrees the pixel grid is not mapped onto itself.

    Args:
        images: (N, C, H, W) floating point.
        angles_deg: (N,) degrees, counter-clockwise as displayed with row 0 at the top.
        flip: (N,) bool, which images are mirrored left to right before the rotation; None for none.
        fill: value of everything outside the original image.

    Returns:
        (N, C, H, W), same type and device as ``images``.
    """
    n, _, height, width = images.shape
    angles = torch.deg2rad(angles_deg.to(images.device, torch.float64))
    cos, sin = angles.cos().to(images.dtype), angles.sin().to(images.dtype)
    mirror = torch.ones_like(cos) if flip is None else 1.0 - 2.0 * flip.to(images.device, images.dtype)
    # Input position (x right, y down, in pixels from the center) of every output pixel: the inverse rotation.
    x = torch.arange(width, device=images.device, dtype=images.dtype) - (width - 1) / 2
    y = torch.arange(height, device=images.device, dtype=images.dtype) - (height - 1) / 2
    grid = images.new_empty(n, height, width, 2)
    # grid_sample (align_corners=False) wants -1..1 across the image's outer edges: 2 / side a pixel.
    _fill_plane(grid[..., 0], x * (2 / width), y * (2 / width), mirror * cos, -mirror * sin)
    _fill_plane(grid[..., 1], x * (2 / height), y * (2 / height), sin, cos)
    if fill == 0.0:
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return F.grid_sample(images - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + fill


def _fill_plane(plane: Tensor, x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> None:
    """Writes a x + b y for every image into ``plane`` (N, H, W); x (W,), y (H,), a and b (N,)."""
    torch.add((a[:, None] * x)[:, None, :], (b[:, None] * y)[:, :, None], out=plane)


def random_poses(n: int, augment: str, generator: torch.Generator) -> tuple[Tensor | None, Tensor | None]:
    """Returns the random (angles_deg, flip) of ``n`` images; None where ``augment`` asks for no such change.

    Drawn on the CPU, so that a seed gives the same poses on every device.

    Args:
        augment: 'rotate' (uniform over [0, 360) degrees), 'rotate+flip' (and a reflection with probability
            one half), or 'none'.
        generator: CPU random generator.
    """
    if augment == "none":
        return None, None
    angles = torch.rand(n, generator=generator) * 360.0
    flip = torch.rand(n, generator=generator) < 0.5 if augment == "rotate+flip" else None
    return angles, flip


def to_input(
    images: Tensor, mean: float, std: float, angles_deg: Tensor | None = None, flip: Tensor | None = None
) -> Tensor:
    """Returns what a network reads: float32 images, optionally turned, then normalized.

    The turning comes before the normalization, where the empty sky is exactly zero.

    Args:
        images: (N, 1, H, W) uint8, 0-255.
        mean, std: of pixel / 255 over the training data.
        angles_deg, flip: as in :func:`rotate`; None leaves the pixels where they are.

    Returns:
        (N, 1, H, W) float32, (pixel / 255 - mean) / std.
    """
    x = images.to(torch.float32)
    if angles_deg is not None:
        x = rotate(x, angles_deg, flip)
    return x.mul_(1.0 / (255.0 * std)).sub_(mean / std)


def background_value(mean: float, std: float) -> float:
    """Returns the value of an empty pixel (0) in the normalized input."""
    return -mean / std


def exact_quarter_turns(angle_deg: float) -> int | None:
    """Returns how many quarter turns an angle is, modulo 4, or None if it is not a multiple of 90 degrees."""
    turns = angle_deg / 90.0
    return int(round(turns)) % 4 if math.isclose(turns, round(turns), abs_tol=1e-9) else None
