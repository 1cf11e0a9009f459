"""Which of the sources asked about the networks have learned from: what they say of those proves nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radgal.data.samesource import TWIN_ARCSEC, Sources, prints_of
from radgal.runs.learned import learned_from

IN_TRAINING = "in_training"


def are_learned(
    checkpoints: Sequence[Mapping[str, Any]], pixels: Sequence[np.ndarray], places: np.ndarray
) -> np.ndarray:
    """Returns for N sources 1.0 if any network was trained or validated on it, as position or pixels tell, else 0.0.

    Args:
        checkpoints: of the networks, each with a list of its sources.
        pixels: for each network the images as it reads them, uint8 (N, H, W), uncropped.
        places: (N, 2) right ascension and declination, degrees; NaN where they are not known.
    """
    positions = tuple(None if np.isnan(place).any() else tuple(place.tolist()) for place in places)
    names = ("",) * len(places)  # which say nothing here: a file may be called as any source is
    found = np.zeros(len(places))
    for content, images in zip(checkpoints, pixels, strict=True):
        asked = Sources(names, positions, prints_of(images))
        found[asked.rows_in(learned_from(content)[0], TWIN_ARCSEC)] = 1
    return found
