"""What a run trains, validates and tests on: the splits, with their images as tensors.

Legend: N images, S pixels along each side of an image as it is kept.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from radgal.data.base import GalaxyImages
from radgal.data.datasets import open_dataset, preparation_of
from radgal.data.further import SAME_SKY_ARCSEC, Further, all_parts, load_further, sources_to_leave_out
from radgal.data.samesource import Sources
from radgal.images.preparation import Preparation, crop_and_pad, measure_normalization
from utils import UserError


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 (N, 1, S, S), labels int64 (N,) and the N source names that go with them."""

    images: torch.Tensor
    labels: torch.Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Split:
        """Returns the split with its tensors on ``device``."""
        return Split(self.images.to(device), self.labels.to(device), self.names)

    def take(self, indices: torch.Tensor | list[int]) -> Split:
        """Returns the rows ``indices``, in that order."""
        indices = torch.as_tensor(indices, dtype=torch.int64, device=self.labels.device)
        names = tuple(self.names[i] for i in indices.tolist())
        return Split(self.images[indices], self.labels[indices], names)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All that training may see; ``val`` is None if everything is trained on.

    ``preparation`` says how the images become a network's input. ``dataset``, ``version`` and ``checksum`` tell which
    published data these are. ``notes`` are what the user should know of them. ``sources`` are those of ``train`` and
    ``val``, in that order. The last rows of ``train`` are of other data sets: ``further`` says by name how many, and
    how many were left out, see :class:`radgal.data.further.Further`. ``n_left_out`` sources of the data set itself are
    not trained on because the config names them.
    """

    train: Split
    val: Split | None
    classes: tuple[str, ...]
    preparation: Preparation
    dataset: str
    version: str
    checksum: str
    has_test: bool = True
    notes: tuple[str, ...] = ()
    sources: Sources = Sources()
    further: Mapping[str, dict] = field(default_factory=dict)
    n_left_out: int = 0

    def to(self, device: torch.device | str) -> TrainingData:
        """Returns the same data with all images on ``device``."""
        val = None if self.val is None else self.val.to(device)
        return replace(self, train=self.train.to(device), val=val)

    def own_train(self) -> Split:
        """Returns the training sources of the data set itself."""
        n_further = sum(record["trained_on"] for record in self.further.values())
        return self.train.take(list(range(len(self.train) - n_further))) if n_further else self.train


def load_training_data(cfg: Any) -> TrainingData:
    """Returns the training and validation images that a config asks for.

    The test file is not opened, except to keep its sources out of the training images, where these come from further
    data sets or training and test file are divided anew.

    Args:
        cfg: with ``data`` (dataset, datadir, datamean, datastd, pad, downsample, split, fold, val_fold, also, train_on,
            leave_out, download, mirror) and ``training`` (frac_val, imsize, num_classes, and seed, which must be a
            number here); for one's own images also ``data`` (table, recipe, pixel_scale) and ``model`` (quiet).

    Raises:
        UserError: if the data cannot be had or do not fit the config.
    """
    own, dataset = _rows(cfg, train=True)
    train, val, n_left_out = _draw(own, dataset, cfg)
    mean, std = (dataset.mean, dataset.std) if dataset.mean is not None else measure_normalization(train.split.images)
    mean = mean if cfg.data.datamean is None else cfg.data.datamean
    std = std if cfg.data.datastd is None else cfg.data.datastd
    has_test = cfg.data.train_on == "train" and (dataset.has_test or cfg.data.fold is not None)
    added = _further(cfg, dataset.classes, train, val, has_test)
    everything = train.join(
        *(_Part(Split(_fit(one.images, cfg), one.labels, one.sources.names), one.sources) for one in added)
    )
    return TrainingData(
        train=everything.split,
        val=val.split if len(val.split) else None,
        classes=dataset.classes,
        preparation=preparation_of(cfg, (mean, std)),
        dataset=cfg.data.dataset,
        version=dataset.version,
        checksum=dataset.checksum,
        has_test=has_test,
        notes=(*_notes(dataset, cfg, n_left_out), *_further_notes(added)),
        sources=everything.sources + val.sources,
        further={one.name: one.record for one in added},
        n_left_out=n_left_out,
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """A split, and what tells its sources from others."""

    split: Split
    sources: Sources

    def take(self, rows: list[int]) -> _Part:
        return _Part(self.split.take(rows), self.sources.take(rows))

    def join(self, *others: _Part) -> _Part:
        if not others:
            return self
        splits = [one.split for one in (self, *others)]
        sources = sum((one.sources for one in others), self.sources)
        images, labels = torch.cat([one.images for one in splits]), torch.cat([one.labels for one in splits])
        return _Part(Split(images, labels, sources.names), sources)


def _draw(own: _Part, dataset: GalaxyImages, cfg: Any) -> tuple[_Part, _Part, int]:
    """Returns the training and the validation part of a data set, and how many sources are in neither."""
    rows = list(range(len(own.split)))
    if cfg.data.leave_out:
        rows = sorted(set(rows).difference(own.sources.rows_in(sources_to_leave_out(cfg), SAME_SKY_ARCSEC)))
    if not rows:
        raise UserError(f"[data] leave_out = {cfg.data.leave_out} leaves nothing of {cfg.data.dataset} to train on")
    train, val = _divide(own.split.labels, rows, dataset, cfg)
    return own.take(train), own.take(val), len(own.split) - len(rows)


def _divide(labels: torch.Tensor, rows: list[int], dataset: GalaxyImages, cfg: Any) -> tuple[list[int], list[int]]:
    """Returns those of ``rows`` to train on and those to validate on."""
    if cfg.data.val_fold is not None:
        k, n_folds = (int(part) for part in cfg.data.val_fold.split("/"))
        parts = fold_indices(labels[rows], n_folds, cfg.training.seed)[k - 1]
    elif dataset.validation_rows is None or cfg.data.fold is not None:
        parts = split_indices(labels[rows], cfg.training.frac_val, cfg.data.split, cfg.training.seed)
    else:
        given = set(dataset.validation_rows)
        return [i for i in rows if i not in given], [i for i in rows if i in given]
    return tuple([rows[i] for i in part] for part in parts)


def _further(cfg: Any, classes: tuple[str, ...], train: _Part, val: _Part, has_test: bool) -> list[Further]:
    if not cfg.data.also:
        return []
    kept_from = {
        "test": _rows(cfg, train=False)[0].sources if has_test else Sources(),
        "leave_out": sources_to_leave_out(cfg),
        "validation": val.sources,
        "training": train.sources,
    }
    return load_further(cfg, classes, kept_from)


def _notes(dataset: GalaxyImages, cfg: Any, n_left_out: int) -> tuple[str, ...]:
    notes = list(dataset.notes)
    if n_left_out:
        named = ", ".join(cfg.data.leave_out)
        notes.append(
            f"{n_left_out} sources are left out of training because they are in {named} (within {SAME_SKY_ARCSEC:g} "
            "arcsec, or the same pixels)"
        )
    if cfg.data.val_fold is not None:
        notes.append(
            f"validated on part {cfg.data.val_fold} of the training sources, drawn with the seed: frac_val and split "
            "are not used"
        )
    if cfg.data.fold is not None:
        return (*notes, f"cross-validation: tested on part {cfg.data.fold} of all sources, drawn anew with the seed")
    if dataset.validation_rows is not None and cfg.data.val_fold is None:
        notes.append("the validation images are those that the table names: frac_val and split are not used")
    if cfg.data.train_on == "all":
        notes.append("trained on the test part, too ([data] train_on = 'all'): the run will end without a test")
    elif not dataset.has_test:
        notes.append("there are no test rows: the run will end without a test (write test into the column split)")
    return tuple(notes)


def _further_notes(added: list[Further]) -> list[str]:
    notes = [note for one in added for note in (one.describe(), *(f"{one.name}: {note}" for note in one.notes))]
    return [*notes, "all are normalized with the mean and std of the run's own data set"] if added else []


def load_test_data(cfg: Any) -> Split:
    """Returns the test images that a config asks for: the only door to them, for use once, at the end.

    Raises:
        UserError: if the data cannot be had, or the config trains on all of them.
    """
    if cfg.data.train_on == "all":
        raise UserError(
            f"[data] train_on = 'all': the run was trained on the test sources of {cfg.data.dataset} too, so it cannot "
            "be tested on them"
        )
    return _rows(cfg, train=False)[0].split


def _rows(cfg: Any, train: bool) -> tuple[_Part, GalaxyImages]:
    """Returns the sources to train on or those to test on, and the data set that they come from."""
    if cfg.data.fold is None and cfg.data.train_on == "train":
        dataset = open_dataset(cfg, train)
        return _as_part(dataset, cfg), dataset
    parts = all_parts(cfg)
    everything, *others = [_as_part(part, cfg) for part in parts]
    everything = everything.join(*others)
    if cfg.data.fold is None:
        return everything, parts[0]
    k, n_folds = (int(part) for part in cfg.data.fold.split("/"))
    training_rows, test_rows = fold_indices(everything.split.labels, n_folds, cfg.training.seed)[k - 1]
    return everything.take(training_rows if train else test_rows), parts[0]


def _as_part(dataset: GalaxyImages, cfg: Any) -> _Part:
    return _Part(Split(_fit(dataset.data, cfg), dataset.labels, dataset.names), Sources.of(dataset))


def _fit(images: torch.Tensor, cfg: Any) -> torch.Tensor:
    return crop_and_pad(images, cfg.training.imsize, cfg.data.pad)


def split_indices(
    labels: torch.Tensor, frac_val: float, how: str = "stratified", seed: int = 0
) -> tuple[list[int], list[int]]:
    """Returns the rows to train on and the rows to validate on, each in ascending order.

    Args:
        labels: int64 (N,).
        frac_val: fraction for validation, in [0, 1); 0 gives an empty validation list.
        how: 'stratified' draws the fraction from every class, at least one source and never all; 'first'
            takes the first int(frac_val * N) rows.
        seed: of the draw. The same seed gives the same rows everywhere: Python promises the sequence of
            ``random.Random(seed).random()``, and no global random state is used or changed.

    Differs from the published program: it takes the first rows of files sorted by class, which for
    MBFRConfident validates on 91 FRI + 54 FRII and trains on 257 + 327.

    Raises:
        UserError: if a part would be empty, or a class has too few sources to be in both.
    """
    n_rows = len(labels)
    n_val = int(frac_val * n_rows)
    if frac_val == 0:
        return list(range(n_rows)), []
    if not 0 < n_val < n_rows:
        raise UserError(
            f"[training] frac_val = {frac_val} makes {n_val} of {n_rows} sources validation data; "
            "choose a fraction that leaves both parts some, or 0 to validate on nothing"
        )
    if how == "first":
        return list(range(n_val, n_rows)), list(range(n_val))
    if how != "stratified":
        raise UserError(f"[data] split = {how!r} is not known; use 'stratified' or 'first'")

    generator = random.Random(seed)
    keys = torch.tensor([generator.random() for _ in range(n_rows)], dtype=torch.float64)
    order = keys.argsort(stable=True)
    val: list[int] = []
    for label in labels.unique().tolist():
        members = order[labels[order] == label].tolist()
        if len(members) == 1:
            raise UserError(
                f"[data] split = 'stratified' needs two sources of each class, but class {label} has one; "
                "add sources, leave the class out, or set split: 'first' or frac_val: 0"
            )
        n_members = int(frac_val * len(members) + 0.5)
        val += members[: min(max(n_members, 1), len(members) - 1)]
    return sorted(set(range(n_rows)) - set(val)), sorted(val)


def fold_indices(labels: torch.Tensor, n_folds: int, seed: int = 0) -> list[tuple[list[int], list[int]]]:
    """Returns the (training, test) rows of each fold: every source is tested once, classes in proportion.

    Args:
        labels: int64 (N,) of all sources to cross-validate over, training and test files together.
        n_folds: at least 2, and at most the size of the smallest class.
        seed: of the shuffle.

    Raises:
        UserError: if there cannot be so many folds.
    """
    from sklearn.model_selection import StratifiedKFold

    counts = torch.bincount(labels)
    smallest = int(counts[counts > 0].min())
    if not 2 <= n_folds <= smallest:
        raise UserError(
            f"{n_folds} folds ([data] fold, val_fold, --folds): there can be 2 to {smallest}, since the smallest class "
            f"has {smallest} sources"
        )
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(labels, labels)
    return [(train.tolist(), test.tolist()) for train, test in folds]


def describe(data: TrainingData, test: Split | None = None) -> str:
    """Returns a text table of the number of sources per class (rows) and split (columns), and notes."""
    splits = {"train": data.train, "validation": data.val, "test": test}
    columns = {
        name: torch.bincount(split.labels, minlength=len(data.classes)).tolist() + [len(split)]
        for name, split in splits.items()
        if split is not None
    }
    rows = [*data.classes, "total"]
    width = max(len(row) for row in rows)
    lines = [f"{data.dataset}, version {data.version} ({data.checksum})"]
    lines.append("  " + " " * width + "".join(f"{name:>12}" for name in columns))
    for i, row in enumerate(rows):
        lines.append(f"  {row:<{width}}" + "".join(f"{counts[i]:>12}" for counts in columns.values()))
    lines += [f"note: {note}" for note in data.notes]
    return "\n".join(lines)
