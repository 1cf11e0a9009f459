"""Sources that are more than once in a data set, or in several: found, told one by one, and counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from radgal.data import crossmatch
from radgal.data.base import GalaxyImages
from radgal.data.datasets import DATASETS
from radgal.data.imagetable import ImageTable
from radgal.data.samesource import TWIN_ARCSEC, Sources
from utils import UserError, counted, nearest

WHOLE = ("MBFRConfident", "MBFRConfident_v2", "MBFRUncertain", "MBHybrid", "FRDEEPF", "FRDEEPN", "FIRSTGalaxyData")
"""Published data sets that hold every published source; the others are made of the same images."""


@dataclass(frozen=True, eq=False)
class Checked:
    """All sources of a data set: the part that each is in ('train' or 'test'), and its brightest pixel (N, 2)."""

    name: str
    sources: Sources
    part_of: tuple[str, ...]
    brightest: np.ndarray

    def part(self, name: str) -> Sources:
        """Returns the sources of one part."""
        return self.sources.take([row for row, part in enumerate(self.part_of) if part == name])

    def describe(self) -> list[str]:
        """Returns a line on the data set, and one on each pair of twins in it."""
        pairs = self.sources.pairs()
        counts = ", ".join(f"{self.part_of.count(part)} {part}" for part in ("train", "test"))
        lines = [
            f"{self.name}: {counted(len(self.sources), 'source')} ({counts}), {counted(len(pairs), 'pair')} of twins"
        ]
        return lines + [f"  {self._describe_pair(a, b)}" for a, b in pairs]

    def _describe_pair(self, a: int, b: int) -> str:
        names, places, prints = self.sources.names, self.sources.positions, self.sources.prints
        why = []
        if places[a] is not None and places[b] is not None:
            why.append(f"{crossmatch.separation(places[a], places[b]):.1f} arcsec apart")
        if prints[a] and prints[a] == prints[b]:
            down, right = (self.brightest[b] - self.brightest[a]).tolist()
            moved = f", moved by {down} px down and {right} right" if down or right else ""
            why.append(f"the same bright pixels{moved}")
        return f"{names[a]} ({self.part_of[a]}) and {names[b]} ({self.part_of[b]}): {'; '.join(why)}"


def check(name: str, datadir: str, mirror: str | None) -> Checked:
    """Returns the sources of a published data set, or of a table of images.

    Raises:
        UserError: if it cannot be had.
    """
    parts = _open(name, datadir, mirror)
    brightest = []
    for images in (part.data for part in parts):
        places = images.flatten(1).argmax(dim=1)
        brightest.append(torch.stack([places // images.shape[2], places % images.shape[2]], dim=1))
    part_of = [which for which, part in zip(("train", "test"), parts, strict=False) for _ in part.names]
    return Checked(name, sum(map(Sources.of, parts), Sources()), tuple(part_of), torch.cat(brightest).numpy())


def _open(name: str, datadir: str, mirror: str | None) -> list[GalaxyImages]:
    kind = DATASETS.get(name)
    if kind is None and not Path(name).expanduser().is_file():
        like = nearest(name, DATASETS)
        hint = f"; did you mean {like!r}?" if like else ""
        raise UserError(f"{name!r} is no data set{hint} (known: {', '.join(DATASETS)}), nor the file of a table")
    if kind is ImageTable:
        raise UserError(f"give the file of the table in place of {name!r}")
    train = ImageTable(name) if kind is None else kind(datadir, download=True, mirror=mirror)
    if not train.has_test:
        return [train]
    return [
        train,
        ImageTable(name, False) if kind is None else kind(datadir, train=False, download=True, mirror=mirror),
    ]


def _count(mine: Sources, theirs: Sources) -> int:
    """Returns how many of one list are also in another; of a list in itself, how many have a twin."""
    if mine is theirs:
        return len({row for pair in mine.pairs() for row in pair})
    return len(mine.rows_in(theirs, TWIN_ARCSEC))


def count_table(checked: Sequence[Checked], title: str, of: Callable[[Checked], Sources], among: Callable) -> str:
    """Returns a table in Markdown: how many sources of each row's data set are also in each column's.

    Args:
        checked: the data sets.
        title: of the first column.
        of, among: the sources of a data set that are counted, and those that they are looked for among.
    """
    columns: Mapping[str, Sources] = {one.name: among(one) for one in checked}
    lines = [f"| {title} | of | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
    for one in checked:
        mine = of(one)
        counts = [str(_count(mine, theirs)) for theirs in columns.values()]
        lines.append(f"| {one.name} | {len(mine)} | " + " | ".join(counts) + " |")
    return "\n".join(lines)
