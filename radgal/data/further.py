"""What is trained on besides a run's own data set ([data] also), and what is not trained on ([data] leave_out)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from radgal.data.base import GalaxyImages
from radgal.data.datasets import DATASETS, open_dataset
from radgal.data.imagetable import ImageTable
from radgal.data.samesource import Sources
from utils import UserError, counted, nearest

SAME_SKY_ARCSEC = 180.0  # both sources are then in the images of either; catalogs differ by more than a beam
TEST_ONLY = ":test"
REASONS = {
    "test": "test sources of the run",
    "leave_out": "named by leave_out",
    "validation": "validation sources",
    "training": "trained on already",
}


@dataclass(frozen=True, eq=False)
class Further:
    """Sources of another data set that are trained on: N images uint8 (N, H, W), labels int64 (N,), how many and why.

    ``record`` has the data set's version and checksum, its number of sources, how many are trained on, and how many
    were left out for which of ``REASONS``.
    """

    name: str
    images: torch.Tensor
    labels: torch.Tensor
    sources: Sources
    record: dict[str, Any]
    notes: tuple[str, ...]

    def describe(self) -> str:
        """Returns in a line what is trained on and what is not."""
        out = ", ".join(f"{n} {REASONS[reason]}" for reason, n in self.record["left_out"].items() if n)
        return (
            f"also trained on {self.record['trained_on']} of {counted(self.record['sources'], 'source')} of {self.name}"
            + (f"; left out: {out}" if out else "")
            + f" (within {SAME_SKY_ARCSEC:g} arcsec, or the same pixels)"
        )


def all_parts(cfg: Any) -> list[GalaxyImages]:
    """Returns the parts of the data set that a config names: training and, if there is one, test."""
    train = open_dataset(cfg, train=True)
    return [train, open_dataset(cfg, train=False)] if train.has_test else [train]


def sources_to_leave_out(cfg: Any) -> Sources:
    """Returns the sources that [data] leave_out names.

    Raises:
        UserError: if the data cannot be had.
    """
    found = Sources()
    for entry in cfg.data.leave_out:
        name = entry.removesuffix(TEST_ONLY)
        other = config_of(cfg, name, "[data] leave_out")
        for part in [open_dataset(other, train=False)] if name != entry else all_parts(other):
            found += Sources.of(part)
    return found


def load_further(cfg: Any, classes: tuple[str, ...], kept_from: Mapping[str, Sources]) -> list[Further]:
    """Returns what the data sets of [data] also add to the training images, each without what must not be there.

    Args:
        cfg: of the run.
        classes: of the run.
        kept_from: a key of ``REASONS`` -> sources that are left out for it; a source counts for the first that holds.

    Raises:
        UserError: if the data cannot be had, or have a class that the run does not have.
    """
    added: list[Further] = []
    for name in cfg.data.also:
        parts = all_parts(config_of(cfg, name, "[data] also"))
        sources = sum(map(Sources.of, parts), Sources())
        learned = sum((one.sources for one in added), kept_from["training"])
        rows, left_out = list(range(len(sources))), {}
        for reason, others in {**kept_from, "training": learned}.items():
            hit = set(sources.rows_in(others, SAME_SKY_ARCSEC))
            left_out[reason] = len(hit.intersection(rows))
            rows = [row for row in rows if row not in hit]
        about = {"version": parts[0].version, "checksum": parts[0].checksum}
        counts = {"sources": len(sources), "trained_on": len(rows), "left_out": left_out}
        images, labels = (torch.cat(values) for values in ([p.data for p in parts], [p.labels for p in parts]))
        labels = _in_classes(name, parts[0].classes, classes)[labels]
        added.append(Further(name, images[rows], labels[rows], sources.take(rows), about | counts, parts[0].notes))
    return added


def _in_classes(name: str, theirs: tuple[str, ...], classes: tuple[str, ...]) -> torch.Tensor:
    """Returns, for each label of a data set, the label that a run has for the class of that name."""
    if unknown := [one for one in theirs if one not in classes]:
        raise UserError(
            f"[data] also: {name} has the class{'es' if len(unknown) > 1 else ''} {', '.join(unknown)}, but the run "
            f"tells {', '.join(classes)} apart; classes are matched by name: use a table with these labels"
        )
    return torch.tensor([classes.index(one) for one in theirs], dtype=torch.int64)


def config_of(cfg: Any, name: str, where: str) -> Any:
    """Returns the config with another data set, or table of images, in place of its own.

    Raises:
        UserError: if there is none of that name, with ``where`` it was given.
    """
    kind = DATASETS.get(name)
    if kind is ImageTable:
        raise UserError(f"{where}: write the file of the table in place of {name!r}")
    if kind is None and not any(mark in name for mark in "./\\"):
        like = nearest(name, DATASETS)
        hint = f"; did you mean {like!r}?" if like else ""
        raise UserError(f"{where}: {name!r} is no data set{hint} (known: {', '.join(DATASETS)}), nor a table's file")
    of_data = {"dataset": name} if kind else {"dataset": ImageTable.__name__, "table": name}
    of_training = {"num_classes": kind.n_classes() if kind else None, "frac_val": 0.0}
    data, training = cfg.data.model_copy(update=of_data), cfg.training.model_copy(update=of_training)
    return replace(cfg, data=data, training=training)
