"""Images of empty sky, as a recipe leaves them: noise in the beam of a survey, stretched to the full range."""

from __future__ import annotations

import numpy as np
import torch

from radgal.images.preparation import Preparation
from radgal.images.recipes import CUTOUT_SIDES, to_uint8

BEAM_PX = 3.0  # full width at half maximum: 5.4 arcsec in pixels of 1.8, as in FIRST


def blank_fields(how: Preparation, n: int, seed: int = 0) -> torch.Tensor:
    """Returns n images as a network's recipe makes them of cutouts without a source, uint8 (n, 1, S, S).

    Args:
        how: recipe, crop and padding of the network.
        n: images.
        seed: of the noise.
    """
    from scipy.ndimage import gaussian_filter

    rng, side = np.random.default_rng(seed), CUTOUT_SIDES * how.native_size
    sd = BEAM_PX / np.sqrt(8 * np.log(2))
    fields = (gaussian_filter(rng.normal(size=(side, side)), sd, mode="wrap") for _ in range(n))
    return how.crop(torch.from_numpy(np.stack([to_uint8(one, how.recipe, how.native_size) for one in fields])))
