"""Another data set that trained networks can be tested on, without the sources that they learned from.

Legend: N sources.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from radgal.data.datasets import open_dataset
from radgal.data.further import SAME_SKY_ARCSEC, TEST_ONLY, all_parts, config_of
from radgal.data.samesource import Sources
from radgal.data.splits import Split
from radgal.images.preparation import crop_and_pad
from utils import UserError


@dataclass(frozen=True, eq=False)
class OtherTest:
    """The N sources of another data set that are tested on, with its own classes, and the names of those left out."""

    name: str
    split: Split
    classes: tuple[str, ...]
    version: str
    checksum: str
    left_out: tuple[str, ...]

    def in_classes(self, classes: tuple[str, ...]) -> Split | None:
        """Returns the split with the labels of a network that has all of its classes by name; None for any other."""
        if not set(self.classes) <= set(classes):
            return None
        place = torch.tensor([classes.index(one) for one in self.classes])
        return replace(self.split, labels=place[self.split.labels])


def load_other_test(cfg: Any, name: str, learned: Sources, option: str = "--dataset") -> OtherTest:
    """Returns what networks can be tested on of another data set.

    Args:
        cfg: of one of them: where data lie, and how images are cropped.
        name: a data set (all its parts), with ``:test`` its test part, or the file of a table of images.
        learned: what any of them was trained or validated on. It is left out, by position within 180 arcsec, by
            pixels, or by name where there is no position.
        option: which it was named with, for messages.

    Raises:
        UserError: if the data cannot be had, or nothing is left.
    """
    other = config_of(cfg, name.removesuffix(TEST_ONLY), option)
    parts = [open_dataset(other, train=False)] if name.endswith(TEST_ONLY) else all_parts(other)
    sources = sum(map(Sources.of, parts), Sources())
    known = set(sources.rows_in(learned, SAME_SKY_ARCSEC))
    rows = [row for row in range(len(sources)) if row not in known]
    if not rows:
        usual = "" if option == "--dataset" else ", or are among the usual sources"
        raise UserError(f"{option} {name}: all of its {len(sources)} sources were trained or validated on{usual}")
    images = torch.cat([part.data for part in parts])[rows]
    labels = torch.cat([part.labels for part in parts])[rows]
    names = tuple(sources.names[row] for row in rows)
    return OtherTest(
        name,
        Split(crop_and_pad(images, cfg.training.imsize, cfg.data.pad), labels, names, sources.take(rows)),
        parts[0].classes,
        parts[0].version,
        parts[0].checksum,
        tuple(sources.names[row] for row in sorted(known)),
    )
