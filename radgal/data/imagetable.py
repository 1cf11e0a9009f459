"""One's own labeled images as a data set: a table of files, read and checked before anything is trained."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from radgal.data import crossmatch
from radgal.data.base import NATIVE_SIZE, GalaxyImages
from radgal.data.labeltable import Findings, Row, read_labels, some
from radgal.images.reading import FLAGS, read_image, scales_differ
from radgal.progress import progress
from utils import UserError, counted

FEW_SOURCES = 10
NOTED_FLAGS = (
    "fill no_noise uneven offset mirrored sheared several_images other_kind transparent color bright_background dim"
).split()
"""Of ``reading.FLAGS``, those that say that an image may not show what is meant."""


@dataclass(frozen=True)
class Use:
    """What a run makes of a table, and so expects of it.

    Args:
        imsize: pixels along each side that will be used; smaller images are noted.
        pixel_scale: of the images, arcsec, as the config gives it; None: not given.
        num_classes: how many classes there should be; None: any number.
        drawn_validation: whether validation images will be drawn from the training rows, class by class.
    """

    imsize: int = NATIVE_SIZE
    pixel_scale: float | None = None
    num_classes: int | None = None
    drawn_validation: bool = False


class ImageTable(GalaxyImages):
    """The training part (rows of the splits train and val) or the test part of a table of images.

    ``classes``, ``validation_rows``, ``has_test`` and ``notes`` come from the table; ``mean`` and ``std`` are left to
    whoever knows the crop. ``checksum`` stands for the pixels, labels, names and splits of all rows.

    Of the other part's images only the hashes of their pixels are kept, to find duplicates.

    Args:
        table: see :func:`radgal.data.labeltable.read_labels`.
        train: the training part, or the test part.
        recipe: of FITS and floating-point NPY images, see :mod:`radgal.images.recipes`.
        native_size: pixels along each side that are kept of every image.
        use: what it will be used for.
        quiet: no progress bar.

    Raises:
        UserError: with everything that would spoil the result: files that are missing or unreadable, sources in more
            than one split, classes that cannot be learned.
    """

    classes = ()
    mean = std = None
    pixel_scale_arcsec = None
    citation = ""

    def __init__(
        self,
        table: str | Path,
        train: bool = True,
        transform=None,
        target_transform=None,
        *,
        recipe: str = "mirabest_v1",
        native_size: int = NATIVE_SIZE,
        use: Use = Use(),
        quiet: bool = True,
    ):
        table = Path(table).expanduser()
        self._set_place(table.parent, transform, target_transform)
        self.train, self.native_size, self.recipe, self.version = train, native_size, recipe, table.name
        rows, self.classes, findings = read_labels(table)
        may_differ = findings.one_class_twice or len(self.classes) < 2  # which is said already
        if use.num_classes not in (None, len(self.classes)) and not may_differ:
            findings.problems.append(
                f"  - [training] num_classes = {use.num_classes}, but its labels are "
                f"{counted(len(self.classes), 'class', several='classes')} ({', '.join(self.classes)}); "
                f"set num_classes: {len(self.classes)}"
            )
        wanted = [(row.split == "test") != train for row in rows]
        seen, pixels = _read_images(rows, wanted, recipe, native_size, quiet, findings)
        _check_images(rows, seen, use.imsize, findings)
        _check_pixel_scale(seen, use.pixel_scale, findings)
        _check_duplicates(rows, seen, findings)
        _check_classes(rows, self.classes, use.drawn_validation, findings)
        findings.raise_problems(table)

        kept = [row for row, is_wanted in zip(rows, wanted, strict=True) if is_wanted]
        self.has_test = any(row.split == "test" for row in rows)
        if not kept:
            part = "training" if train else "test"
            raise UserError(f"{table} has no {part} rows: write {part.removesuffix('ing')} into its column split")
        self.data = torch.from_numpy(np.stack(pixels))
        self.targets = [self.class_to_idx[row.label] for row in kept]
        self.names = tuple(row.name for row in kept)
        self._positions = tuple(row.position for row in kept)
        given = [i for i, row in enumerate(kept) if row.split == "val"]
        self.validation_rows = given or None
        self.notes = tuple(findings.notes)
        self.checksum = _checksum(rows, seen)

    @property
    def positions(self):
        """As the table says them, or else the names."""
        return self._positions

    @classmethod
    def n_classes(cls):
        return None

    @classmethod
    def open(cls, cfg, train):
        use = Use(
            imsize=cfg.training.imsize,
            pixel_scale=cfg.data.pixel_scale,
            num_classes=cfg.training.num_classes,
            drawn_validation=cfg.training.frac_val > 0 and cfg.data.split == "stratified",
        )
        how = dict(recipe=cfg.data.recipe, native_size=cls.reading(cfg)["native_size"], quiet=cfg.model.quiet)
        return cls(cls._table_of(cfg), train, use=use, **how)

    @classmethod
    def reading(cls, cfg):
        size = max(NATIVE_SIZE, cfg.training.imsize)  # a recipe sees at least so many pixels as a published one did
        return dict(recipe=cfg.data.recipe, native_size=size, expected_arcsec=cfg.data.pixel_scale)

    @classmethod
    def sources(cls, cfg, train):
        """As the table lists them: the images need not be there."""
        rows = read_labels(cls._table_of(cfg))[0]
        return [(row.name, row.position) for row in rows if (row.split == "test") != train]

    @classmethod
    def _table_of(cls, cfg) -> str:
        if cfg.data.table is None:
            raise UserError(f"[data] table = None: {cfg.data.dataset} needs a csv with the columns path and label")
        return cfg.data.table


@dataclass(frozen=True)
class _Seen:
    """What is remembered of an image that need not be kept."""

    digest: str
    pixel_scale_arcsec: float | None
    flags: tuple[str, ...]
    shape: tuple[int, int]


def _read_images(
    rows: list[Row], wanted: list[bool], recipe: str, native_size: int, quiet: bool, findings: Findings
) -> tuple[list[_Seen | None], list[np.ndarray]]:
    """Returns what is to be remembered of every image (None: unreadable), and the pixels of the wanted ones."""
    seen: list[_Seen | None] = []
    pixels, failed = [], []
    for row, is_wanted in progress(list(zip(rows, wanted, strict=True)), "reading images", quiet):
        try:
            image = read_image(row.path, recipe=recipe, native_size=native_size, hdu=row.hdu)
        except UserError as error:
            failed.append(error)
            seen.append(None)
            continue
        digest = hashlib.sha256(image.pixels.tobytes()).hexdigest()
        seen.append(_Seen(digest, image.pixel_scale_arcsec, image.flags, image.shape))
        if is_wanted:
            pixels.append(image.pixels)
    if failed:
        findings.problems.append(
            f"  - {len(failed)} of {counted(len(rows), 'image')} cannot be read: {some(failed)}: mend the paths "
            "(from the folder that the table is in) or delete the rows"
        )
    return seen, pixels


def _check_images(rows: list[Row], seen: list[_Seen | None], imsize: int, findings: Findings) -> None:
    """Notes images that can be used but may not be what was meant."""
    there = [(row, one) for row, one in zip(rows, seen, strict=True) if one is not None]
    for flag, verb, what in (("blank", "are", "blank"), ("nan", "have", "pixels without a value")):
        if names := [row.name for row, one in there if flag in one.flags]:
            findings.notes.append(f"{counted(len(names), 'image', verb)} {what}: {some(names)}")
    for flag in NOTED_FLAGS:
        if names := [row.name for row, one in there if flag in one.flags]:
            findings.notes.append(
                f"{counted(len(names), 'image', 'are')} flagged {flag} ({FLAGS[flag]}): {some(names)}"
            )
    if small := [row.name for row, one in there if min(one.shape) < imsize]:
        findings.notes.append(
            f"{counted(len(small), 'image', 'are')} smaller than imsize, {imsize} px, and padded: {some(small)}"
        )


def _check_pixel_scale(seen: list[_Seen | None], given: float | None, findings: Findings) -> None:
    """Notes pixel scales (arcsec) that differ, or that ``given`` does not say: new images are held against that."""
    scales = sorted(one.pixel_scale_arcsec for one in seen if one is not None and one.pixel_scale_arcsec is not None)
    if not scales:
        return
    if scales_differ(scales[0], scales[-1]):
        findings.notes.append(f"pixel scales differ: {scales[0]:.3g} to {scales[-1]:.3g} arcsec")
    elif given is None:
        findings.notes.append(
            f"the images have {scales[0]:.3g} arcsec per pixel; with pixel_scale: {scales[0]:.3g} in [data] new images "
            "of another scale are flagged, and can be resampled"
        )
    elif scales_differ(scales[0], given):
        findings.notes.append(f"[data] pixel_scale = {given:g}, but the images have {scales[0]:.3g} arcsec per pixel")


def _check_duplicates(rows: list[Row], seen: list[_Seen | None], findings: Findings) -> None:
    """Finds images and positions that are there more than once; across splits they are problems."""
    by_content = defaultdict(list)
    for i, one in enumerate(seen):
        if one is not None and "blank" not in one.flags:
            by_content[one.digest].append(i)
    same = [(a, b) for group in by_content.values() for a, b in zip(group, group[1:], strict=False)]
    group_of = {i: digest for digest, group in by_content.items() for i in group}
    near = [(a, b) for a, b in _near_pairs(rows) if group_of.get(a, "none") != group_of.get(b)]
    for pairs, what in (
        (same, "the same pixels"),
        (near, f"positions within {crossmatch.SAME_SOURCE_ARCSEC:g} arcsec"),
    ):
        across = [(a, b) for a, b in pairs if rows[a].split != rows[b].split]
        if across:
            said = some(f"{rows[a].name} ({rows[a].split}) and {rows[b].name} ({rows[b].split})" for a, b in across)
            findings.problems.append(
                f"  - {counted(len(across), 'pair')} of rows in different splits with {what}: {said}: what is learned "
                "by heart would be tested; keep each source in one split"
            )
        if within := [(a, b) for a, b in pairs if rows[a].split == rows[b].split]:
            said = some(f"{rows[a].name} and {rows[b].name} ({rows[a].split})" for a, b in within)
            findings.notes.append(f"{counted(len(within), 'pair')} of rows in one split with {what}: {said}")
    other = [(a, b) for a, b in same if rows[a].label != rows[b].label]
    if other:
        said = some(f"{rows[a].name} ({rows[a].label}) and {rows[b].name} ({rows[b].label})" for a, b in other)
        findings.problems.append(f"  - {counted(len(other), 'pair')} of equal images with different labels: {said}")


def _near_pairs(rows: list[Row]) -> list[tuple[int, int]]:
    """Returns pairs of rows (a < b) with the position of one source: for each row the nearest of each split."""
    places = {
        split: [row.position if row.split == split else None for row in rows] for split in ("train", "val", "test")
    }
    return sorted(
        {tuple(sorted(pair)) for a in places for b in places for pair in crossmatch.match(places[a], places[b])}
    )


def _check_classes(rows: list[Row], classes: tuple[str, ...], drawn_validation: bool, findings: Findings) -> None:
    """Finds classes that a split lacks, or that have too few sources."""
    counts = {split: Counter(row.label for row in rows if row.split == split) for split in ("train", "val", "test")}
    if counts["test"]:
        findings.notes.append("test rows: " + ", ".join(f"{name} {counts['test'][name]}" for name in classes))
    if len(classes) < 2:
        findings.problems.append("  - there is only one class; a classifier needs two or more")
    if absent := [name for name in classes if not counts["train"][name]]:
        findings.problems.append(f"  - no training row (split train) has the label {some(absent)}")
    for split in ("val", "test"):
        if sum(counts[split].values()) and (lacking := [name for name in classes if not counts[split][name]]):
            findings.notes.append(f"no row of the split {split} has the label {some(lacking)}")
    few = [name for name in classes if 0 < counts["train"][name] < FEW_SOURCES]
    if few:
        said = some(f"{name} ({counts['train'][name]})" for name in few)
        findings.notes.append(f"classes with fewer than {FEW_SOURCES} training sources: {said}")
    single = [name for name in classes if counts["train"][name] == 1]
    if single and drawn_validation and not sum(counts["val"].values()):
        findings.problems.append(
            f"  - only one training row has the label {some(single)}, too few to draw validation images from: add "
            "sources, give val rows in the column split, or set frac_val: 0"
        )


def _checksum(rows: list[Row], seen: list[_Seen | None]) -> str:
    total = hashlib.sha256()
    for row, one in zip(rows, seen, strict=True):
        total.update("\0".join((one.digest, row.label, row.split, row.name)).encode() + b"\1")
    return f"sha256:{total.hexdigest()}"
