"""Batched rotation, reflection and normalization of images, on whatever device they are.

Legend: N images, C channels, H rows, W columns (pixels).
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SPARSE_BELOW = 0.03
"""Share of pixels that are not empty, below which a CPU turns images faster by those alone (docs/benchmarks.md)."""
NEIGHBORS = (-1, 0, 1, 2)
"""Columns, and rows, that may show a pixel turned to somewhere between 0 and 1."""
MARGIN = 4


def rotate(
    images: Tensor,
    angles_deg: Tensor,
    flip: Tensor | None = None,
    fill: float = 0.0,
    *,
    scale: Tensor | None = None,
    shift_px: Tensor | None = None,
) -> Tensor:
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
        scale: (N,) how many times larger each image is shown, about its center; None for as large as it is.
        shift_px: (N, 2) how far to the right and down each image is moved after that; None for not at all.

    Returns:
        (N, C, H, W), same type and device as ``images``.
    """
    where = images.device if images.device.type == "cuda" else torch.device("cpu")  # not every device has float64
    angles = torch.deg2rad(angles_deg.to(where, torch.float64))
    cos, sin = angles.cos(), angles.sin()
    mirror = torch.ones_like(cos) if flip is None else 1.0 - 2.0 * flip.to(where, torch.float64)
    # From a position in the output to the one in the input that it shows (x right, y down, from the center).
    inverse = torch.stack([mirror * cos, -mirror * sin, sin, cos])
    above = images if fill == 0.0 else images - fill
    if scale is not None:
        inverse = inverse / scale.to(where, torch.float64)
    shift = None if shift_px is None else shift_px.to(where, torch.float64).T
    occupied = _few_pixels(above) if scale is None else None  # the short way is for orthogonal maps
    turned = _sample(above, inverse, shift) if occupied is None else _scatter(above, occupied, inverse, shift)
    return turned if fill == 0.0 else turned + fill


def _few_pixels(images: Tensor) -> Tensor | None:
    """Returns the places (int64, in the flattened images) of all pixels that are not 0, or None if they are many.

    None also on a GPU, which would have to wait for the count.
    """
    if images.device.type != "cpu" or images.requires_grad or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return None
    places = torch.from_numpy(np.flatnonzero(images.numpy() != 0))  # torch's own takes six times as long
    return places if len(places) < SPARSE_BELOW * images.numel() else None


def _sample(images: Tensor, inverse: Tensor, shift: Tensor | None) -> Tensor:
    """Returns the turned images; each pixel of the output is interpolated between four of the input."""
    n, _, height, width = images.shape
    a, b, c, d = inverse.to(images.dtype).to(images.device)
    x = torch.arange(width, device=images.device, dtype=images.dtype) - (width - 1) / 2
    y = torch.arange(height, device=images.device, dtype=images.dtype) - (height - 1) / 2
    grid = images.new_empty(n, height, width, 2)
    # grid_sample (align_corners=False) wants -1..1 across the image's outer edges: 2 / side a pixel.
    _fill_plane(grid[..., 0], x * (2 / width), y * (2 / width), a, b)
    _fill_plane(grid[..., 1], x * (2 / height), y * (2 / height), c, d)
    if shift is not None:
        right, down = shift.to(images.dtype).to(images.device)
        along_x, along_y = (a * right + b * down) * (2 / width), (c * right + d * down) * (2 / height)
        grid -= torch.stack([along_x, along_y], 1)[:, None, None]
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _scatter(images: Tensor, places: Tensor, inverse: Tensor, shift: Tensor | None) -> Tensor:
    """Returns the same as :func:`_sample`, from the pixels that are not 0: each is added to the output around it.

    About 2 % of the pixels of a radio image are not 0, so this takes half the time (docs/benchmarks.md).
    """
    n, channels, height, width = images.shape
    image, pixel = places // (height * width), places % (height * width)
    a, b, c, d = inverse.index_select(1, image // channels)
    x, y = pixel % width - (width - 1) / 2, pixel // width - (height - 1) / 2
    # The inverse is orthogonal: its transpose leads from the input to the output. The pixels that show this one lie
    # less than 1 px away along either axis of the input, so less than 1.5 px along an axis of the output.
    out_x, out_y = a * x + c * y + (width - 1) / 2, b * x + d * y + (height - 1) / 2
    if shift is not None:
        right, down = shift.index_select(1, image // channels)
        out_x, out_y = out_x + right, out_y + down
    left, top = out_x.floor(), out_y.floor()
    steps = torch.tensor(NEIGHBORS, dtype=torch.float64)[:, None]
    to_x, to_y = left - out_x + steps, top - out_y + steps  # (4, number of places), for the columns and the rows
    along_x = [(a * to_x).to(images.dtype), (c * to_x).to(images.dtype)]
    along_y = [(b * to_y).to(images.dtype), (d * to_y).to(images.dtype)]
    # A margin takes what falls outside, so that no bounds need to be checked.
    wide, high = width + 2 * MARGIN, height + 2 * MARGIN
    column, row = (MARGIN + left.clamp(-3, width + 1)).long(), (MARGIN + top.clamp(-3, height + 1)).long()
    target = (image * high + row) * wide + column
    values = images.flatten()[places]
    out = images.new_zeros(n * channels * high * wide)
    columns = target + torch.tensor(NEIGHBORS)[:, None]
    for j, step in enumerate(NEIGHBORS):
        parts = values
        for u, v in zip(along_x, along_y, strict=True):  # times 1 - distance, along each axis of the input
            parts = torch.addcmul(parts, parts, (u + v[j]).abs_().clamp_(max=1), value=-1)
        out.index_add_(0, (columns + step * wide).flatten(), parts.flatten())
    inside = slice(MARGIN, -MARGIN)
    return out.view(n, channels, high, wide)[:, :, inside, inside].contiguous()


def _fill_plane(plane: Tensor, x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> None:
    """Writes a x + b y for every image into ``plane`` (N, H, W); x (W,), y (H,), a and b (N,)."""
    torch.add((a[:, None] * x)[:, None, :], (b[:, None] * y)[:, :, None], out=plane)


def random_poses(n: int, augment: str, generator: torch.Generator) -> tuple[Tensor | None, Tensor | None]:
    """Returns the random (angles_deg, flip) of ``n`` images; None where ``augment`` asks for no such change.

    Drawn on the CPU, so that a seed gives the same poses on every device.

    Args:
        augment: parts joined with '+'; 'rotate' (uniform over [0, 360) degrees) and 'flip' (a reflection with
            probability one half) are looked for.
        generator: CPU random generator.
    """
    parts = augment.split("+")
    angles = torch.rand(n, generator=generator) * 360.0 if "rotate" in parts else None
    flip = torch.rand(n, generator=generator) < 0.5 if "flip" in parts else None
    return angles, flip


def exact_quarter_turns(angle_deg: float) -> int | None:
    """Returns how many quarter turns an angle is, modulo 4, or None if it is not a multiple of 90 degrees."""
    turns = angle_deg / 90.0
    return int(round(turns)) % 4 if math.isclose(turns, round(turns), abs_tol=1e-9) else None
