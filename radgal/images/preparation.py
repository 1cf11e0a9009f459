"""How the pixels of an image become what a network reads: one object, from the data set to the exported file.

Legend: N images, S pixels along each side as images are kept, s pixels along each side of a network's input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from radgal.images.transforms import rotate
from utils import UserError

Poses = tuple[Tensor | None, Tensor | None]
"""(angles_deg, flip) of N images, each (N,) or None, as :func:`radgal.images.transforms.rotate` takes them."""

UPRIGHT: Poses = (None, None)


@dataclass(frozen=True)
class Preparation:
    """How a network's images are made: by a recipe, then cropped, padded, turned, averaged and normalized.

    Args:
        mean, std: of pixel / 255 over the training data.
        imsize: side of the central part that is used, pixels.
        pad: rows and columns of background at the bottom and right of that.
        downsample: side of the squares of pixels that are averaged, after turning and before normalizing.
        recipe: of FITS and floating-point images, a key of ``RECIPES``.
        native_size: side of the images that the recipe makes, pixels, before the crop.
        pixel_scale_arcsec: of those; None: not known.
    """

    mean: float
    std: float
    imsize: int
    pad: int = 0
    downsample: int = 1
    recipe: str = "mirabest_v1"
    native_size: int = 150
    pixel_scale_arcsec: float | None = None

    @property
    def kept_side(self) -> int:
        """S, pixels: of the images as they are kept, before turning."""
        return self.imsize + self.pad

    @property
    def side(self) -> int:
        """s, pixels: of what the network reads."""
        return self.kept_side // self.downsample

    @property
    def background(self) -> float:
        """The value of an empty pixel (0) in the network's input."""
        return -self.mean / self.std

    @property
    def reading(self) -> tuple[str, int, float | None]:
        """(recipe, native_size, pixel_scale_arcsec): what decides how a file is read."""
        return self.recipe, self.native_size, self.pixel_scale_arcsec

    def crop(self, images: Tensor) -> Tensor:
        """Returns the central part of images, padded, as they are kept, uint8 (N, H, W) -> (N, 1, S, S).

        Raises:
            UserError: if the images have another shape, or are smaller than ``imsize``.
        """
        if not isinstance(images, Tensor) or images.ndim != 3 or min(images.shape[1:]) < self.imsize:
            raise UserError(
                f"a uint8 tensor (N, H, W) of at least {self.imsize} x {self.imsize} pixels is needed, "
                f"not {in_words(images)}"
            )
        return crop_and_pad(images, self.imsize, self.pad)

    def to_input(self, images: Tensor, poses: Poses = UPRIGHT) -> Tensor:
        """Returns what a network reads: float32 images, optionally turned, then averaged, then normalized.

        The turning comes before the normalization, where the empty sky is exactly zero, and before the averaging,
        where the image has its detail.

        Args:
            images: (N, 1, S, S), 0-255, uint8 or floating point; left as they are.
            poses: (angles_deg, flip); an angle of None leaves the pixels where they are.

        Returns:
            (N, 1, s, s) float32, (pixel / 255 - mean) / std.
        """
        angles_deg, flip = poses
        x = images.to(torch.float32)
        if angles_deg is not None:
            x = rotate(x, angles_deg, flip)
        if self.downsample > 1:
            x = F.avg_pool2d(x, self.downsample)
        if x is images:  # was floating point already, and is the caller's
            x = x.clone()
        return x.mul_(1.0 / (255.0 * self.std)).sub_(self.mean / self.std)


def in_words(images: Any) -> str:
    """Returns type and shape of what was given as images, for messages."""
    if not isinstance(images, Tensor):
        return f"a {type(images).__name__}"
    return f"{str(images.dtype).removeprefix('torch.')} ({', '.join(map(str, images.shape))})"


def crop_and_pad(images: Tensor, imsize: int, pad: int = 0) -> Tensor:
    """Returns the central imsize x imsize px, then ``pad`` rows and columns of background.

    Args:
        images: uint8 (N, H, W).
        imsize: pixels, at most H and W. The middle is torchvision's ``center_crop``'s.
        pad: rows of 0 at the bottom and columns of 0 at the right.

    Returns:
        uint8 (N, 1, S, S), S = imsize + pad.
    """
    top, left = (round((size - imsize) / 2) for size in images.shape[-2:])
    middle = images[:, top : top + imsize, left : left + imsize]
    return F.pad(middle, (0, pad, 0, pad)).unsqueeze(1).contiguous()


def measure_normalization(images: Tensor) -> tuple[float, float]:
    """Returns the mean and standard deviation of pixel / 255, exactly, of uint8 images of any shape.

    Raises:
        UserError: if all pixels are equal.
    """
    counts = torch.stack([torch.bincount(image.flatten(), minlength=256) for image in images]).sum(0).double()
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = float((counts * values).sum() / counts.sum())
    std = float(((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt())
    if std == 0:
        raise UserError("all pixels of the training images are equal: there is nothing to learn from them")
    return mean, std
