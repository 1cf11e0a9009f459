"""What a run trains, validates and tests on: the splits, with their images as tensors.

Legend: N images, S pixels along each side of an image as it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from radgal.data.base import GalaxyImages
from radgal.data.datasets import open_dataset, preparation_of
from radgal.data.draws import Groups, fold_indices, nested_rows, split_indices
from radgal.data.further import SAME_SKY_ARCSEC, Further, all_parts, load_further, sources_to_leave_out
from radgal.data.labeltable import some
from radgal.data.samesource import Sources
from radgal.images.preparation import Preparation, crop_and_pad, measure_normalization
from utils import UserError, counted


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 (N, 1, S, S), labels int64 (N,) and the N source names that go with them.

    ``sources`` is what else tells them from others; None: it is not known.
    """

    images: torch.Tensor
    labels: torch.Tensor
    names: tuple[str, ...]
    sources: Sources | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Split:
        """Returns the split with its tensors on ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def take(self, indices: torch.Tensor | list[int]) -> Split:
        """Returns the rows ``indices``, in that order."""
        indices = torch.as_tensor(indices, dtype=torch.int64, device=self.labels.device)
        names = tuple(self.names[i] for i in indices.tolist())
        sources = None if self.sources is None else self.sources.take(indices.tolist())
        return Split(self.images[indices], self.labels[indices], names, sources)

    def join(self, *others: Split) -> Split:
        """Returns the rows of this one and then those of others; the sources of all are known."""
        if not others:
            return self
        images, labels = (torch.cat([getattr(one, key) for one in (self, *others)]) for key in ("images", "labels"))
        sources = sum((one.sources for one in others), self.sources)
        return Split(images, labels, sources.names, sources)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All that training may see; ``val`` is None if everything is trained on.

    ``preparation`` says how the images become a network's input. ``dataset``, ``version`` and ``checksum`` tell which
    published data these are. ``notes`` are what the user should know of them. ``sources`` are those of ``train`` and
    ``val``, in that order. The last rows of ``train`` are of other data sets: ``further`` says by name how many, and
    how many were left out, see :class:`radgal.data.further.Further`. ``n_left_out`` sources of the data set itself are
    not trained on because the config names them. ``together``: whether twins were kept together.
    ``inherited`` are the sources that the first weights come from, as far as they are known.
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
    together: bool = True
    inherited: Sources = Sources()
    inherited_unknown: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> TrainingData:
        """Returns the same data with all images on ``device``."""
        val = None if self.val is None else self.val.to(device)
        return replace(self, train=self.train.to(device), val=val)

    def own_train(self) -> Split:
        """Returns the training sources of the data set itself."""
        n_further = sum(record["trained_on"] for record in self.further.values())
        return self.train.take(list(range(len(self.train) - n_further))) if n_further else self.train


def load_training_data(cfg: Any, together: bool = True) -> TrainingData:
    """Returns the training and validation images that a config asks for.

    The test file is not opened, except to keep its sources out of the training images, where these come from further
    data sets or training and test file are divided anew.

    Args:
        cfg: with ``data`` (dataset, datadir, datamean, datastd, pad, downsample, split, fold, val_fold, also, train_on,
            leave_out, train_size, download, mirror) and ``training`` (frac_val, imsize, num_classes, and seed, which
            must be a number here); for one's own images also ``data`` (table, recipe, pixel_scale) and ``model``
            (quiet).
        together: whether twins stay together in validation and folds; runs of before did not look for them.

    Raises:
        UserError: if the data cannot be had or do not fit the config.
    """
    own, dataset = _rows(cfg, True, together)
    left_out = sources_to_leave_out(cfg)
    train, val, n_left_out = _draw(own, dataset, cfg, together, left_out)
    mean, std = (dataset.mean, dataset.std) if dataset.mean is not None else measure_normalization(train.images)
    mean = mean if cfg.data.datamean is None else cfg.data.datamean
    std = std if cfg.data.datastd is None else cfg.data.datastd
    has_test = cfg.data.train_on == "train" and (dataset.has_test or cfg.data.fold is not None)
    tested = _rows(cfg, False, together)[0].sources if cfg.data.also and has_test else Sources()
    kept_from = {"test": tested, "leave_out": left_out, "validation": val.sources, "training": train.sources}
    added = load_further(cfg, dataset.classes, kept_from) if cfg.data.also else []
    train = train.join(*(Split(_fit(one.images, cfg), one.labels, one.sources.names, one.sources) for one in added))
    return TrainingData(
        train=train,
        val=val if len(val) else None,
        classes=dataset.classes,
        preparation=preparation_of(cfg, (mean, std)),
        dataset=cfg.data.dataset,
        version=dataset.version,
        checksum=dataset.checksum,
        has_test=has_test,
        notes=(*_notes(dataset, cfg, n_left_out), *_twin_notes(own.sources, together, cfg), *_further_notes(added)),
        sources=train.sources + val.sources,
        further={one.name: one.record for one in added},
        n_left_out=n_left_out,
        together=together,
    )


def _draw(own: Split, dataset: GalaxyImages, cfg: Any, together: bool, left_out: Sources) -> tuple[Split, Split, int]:
    """Returns the training and the validation part of a data set, and how many sources are in neither."""
    rows = sorted(set(range(len(own))).difference(own.sources.rows_in(left_out, SAME_SKY_ARCSEC)))
    if not rows:
        raise UserError(f"[data] leave_out = {cfg.data.leave_out} leaves nothing of {cfg.data.dataset} to train on")
    groups = own.sources.take(rows).groups() if together else []
    train, val = ([rows[i] for i in part] for part in _divide(own.labels[rows], rows, groups, dataset, cfg))
    if (size := cfg.data.train_size) is not None:
        n_classes = len(own.labels[train].unique())
        if not n_classes <= size <= len(train):
            raise UserError(
                f"[data] train_size = {size}: {cfg.data.dataset} has {len(train)} sources of {n_classes} classes to "
                f"train on; write a number from {n_classes} to {len(train)}, or None for all"
            )
        train = [train[i] for i in nested_rows(own.labels[train], size, cfg.training.seed)]
    return own.take(train), own.take(val), len(own) - len(rows)


def _divide(
    labels: torch.Tensor, rows: list[int], groups: Groups, dataset: GalaxyImages, cfg: Any
) -> tuple[list[int], list[int]]:
    """Returns the places in ``rows``, those of a data set that are not left out, to train on and to validate on."""
    if cfg.data.val_fold is not None:
        k, n_folds = (int(part) for part in cfg.data.val_fold.split("/"))
        return fold_indices(labels, n_folds, cfg.training.seed, groups)[k - 1]
    if dataset.validation_rows is None or cfg.data.fold is not None:
        return split_indices(labels, cfg.training.frac_val, cfg.data.split, cfg.training.seed, groups)
    given = set(dataset.validation_rows)
    is_given = [row in given for row in rows]
    return [i for i, yes in enumerate(is_given) if not yes], [i for i, yes in enumerate(is_given) if yes]


def _notes(dataset: GalaxyImages, cfg: Any, n_left_out: int) -> tuple[str, ...]:
    notes = list(dataset.notes)
    if n_left_out:
        named = ", ".join(cfg.data.leave_out)
        notes.append(
            f"{counted(n_left_out, 'source', 'are')} left out of training because of {named} (within "
            f"{SAME_SKY_ARCSEC:g} arcsec, or the same pixels)"
        )
    if cfg.data.val_fold is not None:
        notes.append(
            f"validated on part {cfg.data.val_fold} of the training sources, drawn with the seed: frac_val and split "
            "are not used"
        )
    if cfg.data.train_size is not None:
        notes.append(f"trained on {cfg.data.train_size} of its training sources only ([data] train_size)")
    if cfg.data.fold is not None:
        return (*notes, f"cross-validation: tested on part {cfg.data.fold} of all sources, drawn anew with the seed")
    if dataset.validation_rows is not None and cfg.data.val_fold is None:
        notes.append("the validation images are those that the table names: frac_val and split are not used")
    if cfg.data.train_on == "all":
        notes.append("trained on the test part, too ([data] train_on = 'all'): the run will end without a test")
    elif not dataset.has_test:
        notes.append("there are no test rows: the run will end without a test (write test into the column split)")
    return tuple(notes)


def _twin_notes(sources: Sources, together: bool, cfg: Any) -> list[str]:
    pairs = sources.pairs()
    together = together and (cfg.data.split != "first" or bool(cfg.data.fold or cfg.data.val_fold))
    if not pairs:
        return []
    said = some(f"{sources.names[a]} and {sources.names[b]}" for a, b in pairs)
    what = "pair of entries is" if len(pairs) == 1 else "pairs of entries are"
    how = (
        "kept together where validation or folds are drawn"
        if together
        else "not looked at where validation or folds are drawn"
    )
    return [f"{len(pairs)} {what} one source, or the same sky (check-data tells more): {said}: {how}"]


def _further_notes(added: list[Further]) -> list[str]:
    notes = [note for one in added for note in (one.describe(), *(f"{one.name}: {note}" for note in one.notes))]
    return [*notes, "all are normalized with the mean and std of the run's own data set"] if added else []


def load_test_data(cfg: Any, together: bool = True) -> Split:
    """Returns the test images that a config asks for: the only door to them, for use once, at the end.

    Raises:
        UserError: if the data cannot be had, or the config trains on all of them.
    """
    if cfg.data.train_on == "all":
        raise UserError(
            f"[data] train_on = 'all': the run was trained on the test sources of {cfg.data.dataset} too, so it cannot "
            "be tested on them; `evaluate --dataset NAME` tests it on another data set"
        )
    return _rows(cfg, False, together)[0]


def _rows(cfg: Any, train: bool, together: bool) -> tuple[Split, GalaxyImages]:
    """Returns the sources to train on or those to test on, and the data set that they come from."""
    if cfg.data.fold is None and cfg.data.train_on == "train":
        dataset = open_dataset(cfg, train)
        return _as_split(dataset, cfg), dataset
    parts = all_parts(cfg)
    everything, *others = [_as_split(part, cfg) for part in parts]
    everything = everything.join(*others)
    if cfg.data.fold is None:
        return everything, parts[0]
    k, n_folds = (int(part) for part in cfg.data.fold.split("/"))
    groups = everything.sources.groups() if together else []
    training_rows, test_rows = fold_indices(everything.labels, n_folds, cfg.training.seed, groups)[k - 1]
    return everything.take(training_rows if train else test_rows), parts[0]


def _as_split(dataset: GalaxyImages, cfg: Any) -> Split:
    return Split(_fit(dataset.data, cfg), dataset.labels, dataset.names, Sources.of(dataset))


def _fit(images: torch.Tensor, cfg: Any) -> torch.Tensor:
    return crop_and_pad(images, cfg.training.imsize, cfg.data.pad)


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
