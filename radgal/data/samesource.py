"""Which entries of two lists are one source: by position, by pixels, or by name where there is nothing better.

Three rules, any of which is enough:

- their positions are closer than a radius;
- their images have the same brightest pixels, wherever these lie: so a shifted or masked copy is found, too;
- neither has a position, and their names are equal.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch

from radgal.data import crossmatch
from radgal.data.crossmatch import Position

TWIN_ARCSEC = 15.0  # entries of one list that are closer are one source: catalogs differ by more than a beam
N_BRIGHTEST = 32  # pixels that a print is made of
N_VALUES = 8  # different ones among them, at least: flat images are all alike


@dataclass(frozen=True, eq=False)
class Sources:
    """N sources: their names, their positions where they are known, and the prints of their images (0: none)."""

    names: tuple[str, ...] = ()
    positions: tuple[Position | None, ...] = ()
    prints: tuple[int, ...] = ()

    @classmethod
    def of(cls, images: Any) -> Sources:
        """Returns those of a part of a data set, a ``GalaxyImages``."""
        return cls(images.names, images.positions, prints_of(images.data.numpy()))

    def __len__(self) -> int:
        return len(self.names)

    def pack(self) -> dict[str, Any]:
        """Returns the same in types that a checkpoint may hold."""
        places = [(math.nan, math.nan) if place is None else place for place in self.positions]
        return {
            "names": list(self.names),
            "positions": torch.tensor(places, dtype=torch.float64).reshape(-1, 2),
            "prints": torch.tensor(self.prints, dtype=torch.int64),
        }

    @classmethod
    def unpack(cls, content: Any) -> Sources:
        """Returns what ``pack`` gave.

        Raises:
            ValueError: if it is nothing that ``pack`` gives.
        """
        if not isinstance(content, dict) or content.keys() != {"names", "positions", "prints"}:
            raise ValueError("the sources are not listed as this program lists them")
        names, positions, prints = content["names"], content["positions"], content["prints"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("the names of the sources are no list of texts")
        for values, shape, dtype in ((positions, (len(names), 2), torch.float64), (prints, (len(names),), torch.int64)):
            if not isinstance(values, torch.Tensor) or values.shape != shape or values.dtype != dtype:
                raise ValueError("the positions or the prints of the sources are not those of as many sources")
        places = [None if any(map(math.isnan, place)) else tuple(place) for place in positions.tolist()]
        return cls(tuple(names), tuple(places), tuple(prints.tolist()))

    def take(self, rows: Sequence[int]) -> Sources:
        """Returns the rows asked for, in that order."""
        return Sources(*(tuple(values[i] for i in rows) for values in (self.names, self.positions, self.prints)))

    def __add__(self, other: Sources) -> Sources:
        return Sources(self.names + other.names, self.positions + other.positions, self.prints + other.prints)

    def pairs(self) -> list[tuple[int, int]]:
        """Returns the pairs of rows (a < b), in order, that are twins: one source, or the same bright pixels."""
        near = crossmatch.pairs(self.positions, TWIN_ARCSEC)
        by_print: dict[int, list[int]] = {}
        for row, print_ in enumerate(self.prints):
            by_print.setdefault(print_, []).append(row)
        alike = [pair for print_, rows in by_print.items() if print_ for pair in combinations(rows, 2)]
        return sorted({*near, *alike})

    def groups(self) -> list[list[int]]:
        """Returns the rows of all twins, group by group: whoever is a twin of a twin belongs to it."""
        group_of: dict[int, list[int]] = {}
        for a, b in self.pairs():
            one, other = group_of.get(a, [a]), group_of.get(b, [b])
            if one is not other:
                one = sorted(one + other)
                group_of |= dict.fromkeys(one, one)
        return sorted({id(group): group for group in group_of.values()}.values())

    def rows_in(self, other: Sources, arcsec: float = crossmatch.SAME_SOURCE_ARCSEC) -> list[int]:
        """Returns the rows, in ascending order, whose source is also in ``other``; positions match in ``arcsec``."""
        near = {row for row, _ in crossmatch.match(self.positions, other.positions, arcsec)}
        prints = set(other.prints) - {0}
        alike = {row for row, print_ in enumerate(self.prints) if print_ in prints}
        unplaced = {name for name, place in zip(other.names, other.positions, strict=True) if place is None}
        mine = enumerate(zip(self.names, self.positions, strict=True))
        named = {row for row, (name, place) in mine if place is None and name in unplaced}
        return sorted(near | alike | named)


def prints_of(images: np.ndarray) -> tuple[int, ...]:
    """Returns a number for each image that stands for its brightest pixels, the same wherever they lie.

    Args:
        images: uint8 (N, H, W).

    Returns:
        N whole numbers of 64 bits; 0 for an image that has too little in it to be told from others.
    """
    pixels = images.reshape(len(images), -1)
    if pixels.shape[1] < N_BRIGHTEST:
        return (0,) * len(images)
    brightest = np.sort(np.partition(pixels, -N_BRIGHTEST, axis=1)[:, -N_BRIGHTEST:], axis=1)
    return tuple(
        int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:8], "big", signed=True)
        if row[0] > 0 and len(set(row.tolist())) >= N_VALUES
        else 0
        for row in brightest
    )
