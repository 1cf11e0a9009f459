"""Which sources are drawn for validation, and which are in which fold."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from utils import UserError, counted

Groups = Sequence[Sequence[int]]  # rows that must not be parted, of one source or of the same sky


def split_indices(
    labels: torch.Tensor, frac_val: float, how: str = "stratified", seed: int = 0, groups: Groups = ()
) -> tuple[list[int], list[int]]:
    """Returns the rows to train on and the rows to validate on, each in ascending order.

    Args:
        labels: int64 (N,).
        frac_val: fraction for validation, in [0, 1); 0 gives an empty validation list.
        how: 'stratified' draws the fraction from every class, at least one source and never all; 'first'
            takes the first int(frac_val * N) rows.
        seed: of the draw. The same seed gives the same rows everywhere: Python promises the sequence of
            ``random.Random(seed).random()``, and no global random state is used or changed.
        groups: where the draw parts one, all of it goes where its first row is; 'first' may part them.

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
            f"[training] frac_val = {frac_val} makes {n_val} of {counted(n_rows, 'source')} validation data; "
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
    chosen = set(val)
    is_val = _keep_together([row in chosen for row in range(n_rows)], groups)
    return [row for row in range(n_rows) if not is_val[row]], [row for row in range(n_rows) if is_val[row]]


def nested_rows(labels: torch.Tensor, n: int, seed: int = 0) -> list[int]:
    """Returns n rows, in ascending order, with the classes in proportion; fewer of a seed are among more of it.

    Args:
        labels: int64 (N,).
        n: 1 to N; one of each class are there as soon as n allows.
        seed: of the draw, as in :func:`split_indices`.
    """
    generator = random.Random(seed)
    keys = torch.tensor([generator.random() for _ in range(len(labels))], dtype=torch.float64)
    order = keys.argsort(stable=True)
    turn: list[tuple[float, int, int]] = []
    for label in labels.unique().tolist():
        members = order[labels[order] == label].tolist()
        # the k-th of m stands in the middle of the k-th of m equal parts; the first of each class before all others
        turn += [((k + 0.5) / len(members) if k else 0.0, label, row) for k, row in enumerate(members)]
    return sorted(row for _, _, row in sorted(turn)[:n])


def _keep_together(parts: list, groups: Groups) -> list:
    """Returns the part of each row, where all of a group are in the part of its first row."""
    for group in groups:
        for row in group:
            parts[row] = parts[group[0]]
    return parts


def fold_indices(
    labels: torch.Tensor, n_folds: int, seed: int = 0, groups: Groups = ()
) -> list[tuple[list[int], list[int]]]:
    """Returns the (training, test) rows of each fold: every source is tested once, classes in proportion.

    Args:
        labels: int64 (N,) of all sources to cross-validate over, training and test files together.
        n_folds: at least 2, and at most the size of the smallest class.
        seed: of the shuffle.
        groups: where the folds part one, all of it goes where its first row is. All other rows stay where they were
            without groups, so that results over the same folds can still be compared source by source.

    Raises:
        UserError: if there cannot be so many folds.
    """
    from sklearn.model_selection import StratifiedKFold

    counts = torch.bincount(labels)
    smallest = int(counts[counts > 0].min())
    if not 2 <= n_folds <= smallest:
        raise UserError(
            f"{n_folds} folds ([data] fold, val_fold, --folds): there can be 2 to {smallest}, since the smallest class "
            f"has {counted(smallest, 'source')}"
        )
    fold_of = [0] * len(labels)
    for k, (_, tested) in enumerate(StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(labels, labels)):
        for row in tested.tolist():
            fold_of[row] = k
    _keep_together(fold_of, groups)
    rows = range(len(labels))
    return [([i for i in rows if fold_of[i] != k], [i for i in rows if fold_of[i] == k]) for k in range(n_folds)]
