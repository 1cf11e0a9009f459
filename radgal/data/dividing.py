"""The division of a table of images into sources to train on and sources to test on."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

from radgal.data.labeltable import NEEDED, OPTIONAL, Row, read_labels
from radgal.files.angles import bare_name
from radgal.files.cells import safe_cell, texts
from radgal.files.tables import read_table
from radgal.images.finding import seen_from
from radgal.images.reading import read_image
from radgal.progress import progress
from utils import UserError, atomic_write

RANDOM = "random"
"""What the column ``order`` of a table that ``label`` wrote says of images that were shown in a random order."""


def divide(table: str | Path, out: str | Path, fraction: float, seed: int = 1, quiet: bool = False) -> str:
    """Writes a table with a column ``split``: ``test`` for a fraction of each class, ``train`` for the others.

    What is one source (positions within 15 arcsec, or the same bright pixels) stays together. Which sources are tested
    depends on their names and the seed only: the same table gives the same split, in whatever order its rows are.
    Where the table says in which order images were labeled, only those of a random order are tested, since the others
    were chosen for being hard; so the test set stays what it is while more of them are labeled.

    Args:
        table: see :func:`radgal.data.labeltable.read_labels`; it is left as it is.
        out: the csv to write; nothing that is there is overwritten.
        fraction: of the sources of each class that are tested.
        seed: another one gives another split.
        quiet: no progress bar.

    Returns:
        How many images of which class are in which part, in a line.

    Raises:
        UserError: if the table has problems, or a split already, or an image cannot be read.
    """
    out = Path(out)
    rows, classes, columns = read_undivided(table, out, fraction)
    candidates = _candidates(rows, columns.get("order"))
    splits = _draw(rows, _groups(rows, quiet), candidates, fraction, seed)
    _write(out, rows, columns, splits)
    counts = Counter(zip(splits, (row.label for row in rows), strict=True))
    parts = [", ".join(f"{counts[part, name]} {name}" for name in classes) for part in ("train", "test")]
    chosen = len(rows) - len(candidates)
    note = f"; {chosen} of the training images were labeled in an order that a network chose" if chosen else ""
    return f"train: {parts[0]}; test: {parts[1]}{note}"


def read_undivided(
    table: str | Path, out: str | Path, fraction: float
) -> tuple[list[Row], tuple[str, ...], dict[str, list[str]]]:
    """Returns the rows of a table, its classes, and its columns by name, if :func:`divide` can divide it; see there."""
    table, out = Path(table).expanduser(), Path(out)
    if not 0 < fraction < 1:
        raise UserError(f"--split {fraction:g}: a fraction between 0 and 1 is needed, such as 0.2")
    if out.suffix.lower() != ".csv" or out.exists():
        raise UserError(f"{out}: name a csv that is not there yet, to write the divided table to")
    rows, classes, findings = read_labels(table)
    findings.raise_problems(table)
    content = read_table(table)
    columns = {_plain(name): texts(content[name]) for name in content.colnames}
    if any(columns.get("split", ())):
        raise UserError(f"{table} has a column split that says something: empty it first, or train on it as it is")
    return rows, classes, columns


def _plain(name: str) -> str:
    """Returns the name of a column that is used as this program writes it, any other as it is."""
    return bare_name(name) if bare_name(name) in (*NEEDED, *OPTIONAL, "order") else name


def _candidates(rows: list[Row], order: list[str] | None) -> set[int]:
    """Returns which rows may be tested: all, unless the table says that some were labeled in a random order."""
    at_random = {i for i, row in enumerate(rows) if order is not None and order[row.index] == RANDOM}
    return at_random or set(range(len(rows)))


def _groups(rows: list[Row], quiet: bool) -> list[list[int]]:
    """Returns the rows of each source, also those of sources with one row."""
    from radgal.data.samesource import Sources, prints_of  # loads torch, which a table that is refused needs not

    prints, sizes = [], {}
    for row in progress(rows, "reading images", quiet):
        print_ = prints_of(read_image(row.path, recipe="mirabest_v1").pixels[None])[0]
        prints.append(print_)
        sizes[print_] = sizes.get(print_, 0) + 1
    sources = Sources(tuple(row.name for row in rows), tuple(row.position for row in rows), tuple(prints))
    groups = sources.groups()
    grouped = {i for group in groups for i in group}
    return groups + [[i] for i in range(len(rows)) if i not in grouped]


def _draw(rows: list[Row], groups: list[list[int]], candidates: set[int], fraction: float, seed: int) -> list[str]:
    """Returns the split of each row: of each class, whole groups are tested until there are enough."""
    splits = ["train"] * len(rows)
    wanted = Counter(rows[i].label for i in candidates)
    wanted = {label: round(fraction * count) for label, count in wanted.items()}
    drawn = {}
    for group in groups:
        name = min(rows[i].name for i in group)
        drawn[hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogateescape")).digest(), name] = group
    tested: Counter = Counter()
    for _, group in sorted(drawn.items()):
        label = Counter(rows[i].label for i in group).most_common(1)[0][0]
        if set(group) <= candidates and tested[label] + len(group) <= wanted[label]:
            tested[label] += len(group)
            for i in group:
                splits[i] = "test"
    return splits


def _write(out: Path, rows: list[Row], columns: dict[str, list[str]], splits: list[str]) -> None:
    """Writes the rows with all that the table says of them; the paths as they are seen from the new table."""
    names = [*dict.fromkeys([*columns, "split"])]
    with atomic_write(out) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        for row, split in zip(rows, splits, strict=True):
            said = {name: values[row.index] for name, values in columns.items()}
            said |= {"path": seen_from(row.path, out.parent), "split": split}
            writer.writerow(safe_cell(said[name]) for name in names)
