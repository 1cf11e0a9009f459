"""Random changes of training images: drawn once an epoch for all images, made batch by batch on the device.

Legend: N images, H rows, W columns (pixels).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from radgal.images.transforms import random_poses, rotate

LARGEST_SCALE = 0.1
LARGEST_SHIFT_PX = 3.0
LARGEST_BRIGHTNESS = 1.25
NOISE_SD = 2.0  # of 255


@dataclass(frozen=True, eq=False)
class Changes:
    """How each of N images is changed before a network reads it; None: not in this way.

    Args:
        angles_deg: (N,) degrees, counter-clockwise as displayed with row 0 at the top.
        flip: (N,) bool, mirrored left to right before the rotation.
        scale: (N,) how many times larger all is shown, about the center; surface brightness stays.
        shift_px: (N, 2) to the right and down, after the rotation.
        brightness: (N,) what pixels are multiplied by, from 0; they may then exceed 255.
        noise_seeds: (N,) int64 on the CPU, of the Gaussian noise that is added to each image at the end.
    """

    angles_deg: Tensor | None = None
    flip: Tensor | None = None
    scale: Tensor | None = None
    shift_px: Tensor | None = None
    brightness: Tensor | None = None
    noise_seeds: Tensor | None = None

    def __getitem__(self, rows: Tensor | slice) -> Changes:
        """Returns the changes of some of the images; ``rows`` is on the CPU if it is a tensor."""
        return self._each(lambda values: values[rows])

    def to(self, device: torch.device) -> Changes:
        """Returns the same with all on ``device`` but the seeds."""
        return self._each(lambda values: values if values is self.noise_seeds else values.to(device))

    def _each(self, function) -> Changes:
        values = (getattr(self, field.name) for field in fields(self))
        return Changes(*(None if value is None else function(value) for value in values))

    def apply(self, images: Tensor) -> Tensor:
        """Returns changed images, (N, C, H, W) on the scale 0-255; those given stay as they are.

        Args:
            images: (N, C, H, W), uint8 or floating point.

        Returns:
            ``images`` itself if nothing is to be changed, new float32 images otherwise.
        """
        turns = (self.angles_deg, self.flip, self.scale, self.shift_px)
        if any(values is not None for values in turns):
            angles = images.new_zeros(len(images), dtype=torch.float32) if self.angles_deg is None else self.angles_deg
            images = rotate(images.float(), angles, self.flip, scale=self.scale, shift_px=self.shift_px)
        if self.brightness is not None:
            images = images * self.brightness[:, None, None, None]
        if self.noise_seeds is not None:
            images = images + NOISE_SD * _noise(self.noise_seeds, images.shape[1:]).to(images.device)
        return images


UNCHANGED = Changes()


def _noise(seeds: Tensor, shape: torch.Size) -> Tensor:
    """Returns Gaussian noise (N, *shape) that depends on each image's seed alone, not on batch or device."""
    draws = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds.tolist()]
    return torch.stack(draws)


def random_changes(n: int, augment: str, generator: torch.Generator) -> Changes:
    """Returns random changes of ``n`` images.

    Drawn on the CPU, so that a seed gives the same changes on every device.

    Args:
        augment: 'none', or some of these parts, joined with '+': 'rotate' (uniform over [0, 360) degrees), 'flip'
            (with probability one half), 'scale' (0.9 to 1.1, uniform), 'shift' (up to 3 px along each axis, uniform),
            'brightness' (0.8 to 1.25, uniform in the logarithm), 'noise' (Gaussian, sd 2 on the scale 0-255).
        generator: CPU random generator. The parts draw in this order, so that each leaves those before it alone.
    """
    parts = augment.split("+")

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(shape, generator=generator) - 1  # -1 to 1

    angles, flip = random_poses(n, augment, generator)
    return Changes(
        angles,
        flip,
        scale=1 + LARGEST_SCALE * uniform(n) if "scale" in parts else None,
        shift_px=LARGEST_SHIFT_PX * uniform(n, 2) if "shift" in parts else None,
        brightness=torch.exp(math.log(LARGEST_BRIGHTNESS) * uniform(n)) if "brightness" in parts else None,
        noise_seeds=torch.randint(2**63 - 1, (n,), generator=generator) if "noise" in parts else None,
    )


def rotation(n: int, angle_deg: float) -> Changes:
    """Returns the rotation of ``n`` images by one angle; by 0 degrees the pixels stay what they are."""
    return Changes(torch.full((n,), angle_deg)) if angle_deg % 360 else Changes()
