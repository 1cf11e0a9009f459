"""How far two labelers agree: Cohen's kappa, who called what how, and the images to talk about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radgal.data.labeltable import read_labels
from radgal.evaluation.intervals import normal_quantile, proportion
from utils import UserError, counted


@dataclass(frozen=True, eq=False)
class Agreement:
    """What two tables say of the images that both label."""

    classes: tuple[str, ...]
    counts: np.ndarray  # (K, K), rows the first table's labels, columns the second's
    kappa: float | None  # None where it is not defined: both used one and the same class throughout
    interval: tuple[float, float] | None  # 95 %; None where all agree, and nothing tells how far one is from 1
    disagreements: tuple[tuple[str, str, str], ...]  # name, and what each table calls it
    only_one: int  # images that only one of the tables labels


def compare(one: str | Path, other: str | Path) -> Agreement:
    """Returns how far two tables agree, image by image (by the column id, or the file's name).

    Raises:
        UserError: if a table cannot be read, or they have no image in common.
    """
    labels = []
    for table in (one, other):
        rows, _, findings = read_labels(table)
        findings.raise_problems(Path(table))
        labels.append({row.name: row.label for row in rows})
    both = [name for name in labels[0] if name in labels[1]]
    if not both:
        raise UserError(f"{one} and {other} label no image in common: images are told apart by their names")
    classes = sorted({labels[i][name] for i in (0, 1) for name in both})
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for name in both:
        counts[classes.index(labels[0][name]), classes.index(labels[1][name])] += 1
    apart = tuple((name, labels[0][name], labels[1][name]) for name in both if labels[0][name] != labels[1][name])
    kappa, interval = cohen_kappa(counts)
    only_one = sum(map(len, labels)) - 2 * len(both)
    return Agreement(tuple(classes), counts, kappa, interval, apart, only_one)


def cohen_kappa(counts: np.ndarray) -> tuple[float | None, tuple[float, float] | None]:
    """Returns Cohen's kappa of a table of counts (K, K) and its 95 % interval.

    Cohen 1960, Educ. Psychol. Meas. 20, 37; the standard error of Fleiss, Cohen & Everitt 1969, Psychol. Bull. 72, 323.
    """
    p = counts / counts.sum()
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, expected = np.trace(p), float(rows @ columns)
    if expected > 1 - 1e-12:
        return None, None
    kappa = (observed - expected) / (1 - expected)
    sums = columns[:, None] + rows[None, :]  # of cell (i, j): how often the first said j and the second i
    agree = (np.diag(p) * ((1 - expected) - np.diag(sums) * (1 - observed)) ** 2).sum()
    differ = (1 - observed) ** 2 * ((p * sums**2).sum() - (np.diag(p) * np.diag(sums) ** 2).sum())
    rest = (observed * expected - 2 * expected + observed) ** 2
    variance = (agree + differ - rest) / (counts.sum() * (1 - expected) ** 4)
    if observed == 1:
        return float(kappa), None
    half = normal_quantile() * np.sqrt(max(0.0, variance))
    return float(kappa), (float(max(-1.0, kappa - half)), float(min(1.0, kappa + half)))


def describe(found: Agreement, one: str, other: str) -> str:
    """Returns the agreement in words, with a table of who called what how, and all images on which they differ."""
    n, same = int(found.counts.sum()), int(np.trace(found.counts))
    share = proportion(same, n)
    lines = [f"{counted(n, 'image')} in both tables, {found.only_one} in one only (or unsure in the other)"]
    lines.append(f"they agree on {same}: {share['value']:.3f} [{share['low']:.3f}, {share['high']:.3f}]")
    if found.kappa is None:
        lines.append("Cohen's kappa is not defined: there is one class only")
    elif found.interval is None:
        lines.append(f"Cohen's kappa: {found.kappa:.3f} (no interval: they agree on all)")
    else:
        lines.append(f"Cohen's kappa: {found.kappa:.3f} [{found.interval[0]:.3f}, {found.interval[1]:.3f}]")
    width = max(map(len, (*found.classes, one)))
    cells = [max(len(name), 6) for name in found.classes]
    lines.append(f"\nrows: {one}; columns: {other}")
    lines.append(" ".join([" " * width, *(name.rjust(k) for name, k in zip(found.classes, cells, strict=True))]))
    for name, row in zip(found.classes, found.counts.tolist(), strict=True):
        lines.append(" ".join([name.ljust(width), *(str(x).rjust(k) for x, k in zip(row, cells, strict=True))]))
    if found.disagreements:
        lines.append("\nto talk about:")
        lines += [f"{name}: {a} / {b}" for name, a, b in found.disagreements]
    return "\n".join(lines)
