"""The table of one's own images, as text: which file is of which class and for which part of the work."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from radgal.data.crossmatch import Position
from radgal.data.sourcenames import named_position
from radgal.files.angles import angles, bare_name
from radgal.files.cells import texts
from radgal.files.tables import column_name, read_table
from radgal.images.reading import without_suffix
from utils import UserError, counted, nearest

if TYPE_CHECKING:
    from astropy.table import Column

NEEDED, OPTIONAL = ("path", "label"), ("split", "id", "ra", "dec", "hdu", "error", "answer")
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
MAX_BYTES = 256 << 20
MAX_LABEL = 400
SHOWN = 5


@dataclass(frozen=True)
class Row:
    """One image of the table."""

    path: Path
    label: str
    split: str  # 'train', 'val' or 'test'
    name: str
    position: Position | None  # ICRS, from ra and dec or else from the name
    index: int  # of the row in the table, from 0
    hdu: str | None = None  # number or EXTNAME of the image in a FITS file


@dataclass
class Findings:
    """What is wrong with a table: ``problems`` would spoil the result, ``notes`` are only worth knowing."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    one_class_twice: bool = False  # then the number of classes is not known

    def raise_problems(self, table: Path) -> None:
        """Raises one UserError with all problems, if there are any."""
        if self.problems:
            count = counted(len(self.problems), "problem")
            raise UserError("\n".join([f"{table}: {count} to mend before training:", *self.problems]))


def some(items: Iterable[object]) -> str:
    """Returns the first few of many, for a message."""
    items = [str(item) for item in items]
    return "; ".join(items[:SHOWN]) + (f"; and {len(items) - SHOWN} more" if len(items) > SHOWN else "")


def read_labels(table: str | Path) -> tuple[list[Row], tuple[str, ...], Findings]:
    """Returns the rows of a table, the names of its classes (sorted, numbers as numbers) and what is wrong with it.

    Columns: ``path`` (relative to the table's folder), ``label``, and if wanted ``split`` (train, val or test; train
    where there is no such column), ``id``, ``ra`` and ``dec`` (degrees), and ``hdu`` (of FITS files). Others are left
    alone. Rows with a text in a column ``error`` are left out, as ``prepare`` writes them for files that it could not
    read. With a column ``answer``, as ``label`` writes it, the last row of an image counts, and is left out where it
    says no class.

    Args:
        table: see :func:`radgal.files.tables.read_table`.

    Raises:
        UserError: if it is no such table, or has no rows.
    """
    table, findings = Path(table).expanduser(), Findings()
    columns = _read_columns(table, findings)
    kept = _kept_rows(columns, findings)
    columns = {name: [values[i] for i in kept] for name, values in columns.items()}
    if not columns["path"]:
        raise UserError(f"{table} has no rows to train on")
    splits = _read_splits(columns["split"], findings)
    names = _read_names(columns, findings)
    given = _read_positions(columns["ra"], columns["dec"], findings)
    positions = [one or named_position(name) for one, name in zip(given, names, strict=True)]
    if unlabeled := [path for path, label in zip(columns["path"], columns["label"], strict=True) if not label]:
        findings.problems.append(
            f"  - {counted(len(unlabeled), 'row', 'have')} no label: {some(unlabeled)}: fill in or delete them"
        )
    paths = [table.parent / _expanded(path) for path in columns["path"]]
    hdus = [re.sub(r"^(\d+)\.0*$", r"\1", hdu) or None for hdu in columns["hdu"]]  # with gaps, numbers become 1.0
    values = zip(paths, columns["label"], splits, names, positions, kept, hdus, strict=True)
    rows = [Row(*one) for one in values]
    return rows, _class_names(columns["label"], findings), findings


def _kept_rows(columns: dict[str, list[str]], findings: Findings) -> list[int]:
    """Returns the rows that count: no errors, and of the answers of ``label`` the last of each image, if it is a class.

    Whoever labeled was unsure of the others, or took the answer back.
    """
    n_rows = len(columns["path"])
    kept = [i for i, error in enumerate(columns["error"]) if not error]
    if failed := n_rows - len(kept):
        findings.notes.append(
            f"{counted(failed, 'row', 'are')} left out of {n_rows}, because the column error says something"
        )
    if not any(columns["answer"]):
        return kept
    last = {columns["path"][i]: i for i in kept}
    open_ones = {i for i in last.values() if columns["answer"][i] and not columns["label"][i]}
    if open_ones:
        findings.notes.append(
            f"{counted(len(open_ones), 'image', 'are')} left out of {len(last)}, whose last answer is no class "
            "(unsure, or undone)"
        )
    return sorted(set(last.values()) - open_ones)


def _read_columns(table: Path, findings: Findings) -> dict[str, list[str]]:
    """Returns name -> texts of the columns that are used, their names in any case; ``ra`` and ``dec`` in degrees.

    Raises:
        UserError: if it is no table, or lacks a column.
    """
    notes: list[str] = []
    try:
        content = read_table(table, "table of images", MAX_BYTES, wanted=[{name} for name in NEEDED], notes=notes)
    except UserError as error:
        raise UserError(f"[data] table: {error}") from None
    found: dict[str, list[str]] = {name: [] for name in (*NEEDED, *OPTIONAL)}
    for name in content.colnames:
        found.get(bare_name(name), []).append(name)
    if missing := [name for name in NEEDED if not found[name]]:
        like = {name: nearest(name, content.colnames) for name in missing}
        hint = "".join(f"; is {'it' if len(missing) == 1 else name} {one!r}?" for name, one in like.items() if one)
        raise UserError(
            f"{table} has no column {' and no column '.join(map(repr, missing))}{hint} (its columns: "
            f"{', '.join(content.colnames)}); rename the ones that have the image's file (path) and its class (label)"
        )
    if twice := [name for name, names in found.items() if len(names) > 1]:
        raise UserError(f"[data] table: {table} cannot be used: it has two columns {twice[0]!r}")
    blank = [""] * len(content)
    columns = {name: texts(content[names[0]]) if names else blank for name, names in found.items()}
    for name in ("ra", "dec"):
        if found[name]:
            columns[name] = _in_degrees(content[found[name][0]], columns[name], name == "ra", findings, notes)
    findings.notes += [f"{table.name}: {note}" for note in notes]
    return columns


def _in_degrees(column: Column, cells: list[str], hours: bool, findings: Findings, notes: list[str]) -> list[str]:
    """Returns the cells of a column as numbers in degrees; those that are none as they are."""
    wrong: list[int] = []
    try:
        values = angles(column, "deg", hours, notes, wrong).tolist()
    except ValueError as error:
        findings.problems.append(f"  - column {column.name!r} cannot be read as degrees: {error}")
        return [""] * len(cells)
    kept = set(wrong)
    return [cells[i] if i in kept else "" if math.isnan(value) else f"{value:.15g}" for i, value in enumerate(values)]


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # ~name of someone who is not known here: then it is a file's name
        return Path(path)


def _read_splits(texts: list[str], findings: Findings) -> list[str]:
    if not any(texts):
        return ["train"] * len(texts)
    wrong = Counter(text for text in texts if text.lower() not in SPLITS)
    if wrong:
        said = some(f"{text!r} ({counted(count, 'row')})" for text, count in wrong.items())
        findings.problems.append(f"  - split must be train, val or test, not {said}")
    return [SPLITS.get(text.lower(), "train") for text in texts]


def _read_names(columns: dict[str, list[str]], findings: Findings) -> list[str]:
    """Returns the column id; where it is empty the file's name without suffixes, or the path if such names repeat."""
    stems = [without_suffix(path) for path in columns["path"]]
    short = [re.split(r"[/\\]", stem)[-1] for stem in stems]
    if len(set(short)) < len(short):
        short = stems
    names = [name or other for name, other in zip(columns["id"], short, strict=True)]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        findings.problems.append(f"  - {counted(len(twice), 'id', 'are')} there more than once: {some(twice)}")
    return names


def _read_positions(ra: list[str], dec: list[str], findings: Findings) -> list[tuple[float, float] | None]:
    positions, wrong = [], []
    for i, pair in enumerate(zip(ra, dec, strict=True)):
        try:
            position = tuple(map(float, pair)) if any(pair) else None
        except ValueError:
            position = (math.nan, math.nan)
        if position is not None and not (0 <= position[0] <= 360 and -90 <= position[1] <= 90):
            wrong.append(f"row {i + 1} ({pair[0] or 'none'}, {pair[1] or 'none'})")
            position = None
        positions.append(position)
    if wrong:
        findings.problems.append(
            f"  - ra and dec must be degrees, 0 to 360 and -90 to 90, or sexagesimal: {some(wrong)}"
        )
    return positions


def _class_names(labels: list[str], findings: Findings) -> tuple[str, ...]:
    known = set(filter(None, labels))
    if odd := [label for label in known if not label.isprintable() or len(label) > MAX_LABEL]:
        shown = some(ascii(label)[:40] for label in sorted(odd))
        findings.problems.append(f"  - labels must be printable and of at most {MAX_LABEL} characters: {shown}")
        known -= set(odd)
    classes = sorted(known, key=lambda label: (int(label), label) if label.isdecimal() else (math.inf, label))
    alike, columns = defaultdict(list), defaultdict(list)
    for label in classes:
        alike[_essence(label)].append(label)
        columns[column_name("prob", label)].append(label)
    for group in filter(lambda group: len(group) > 1, alike.values()):
        said = ", ".join(map(repr, group))
        findings.problems.append(f"  - the labels {said} are one class, written in {len(group)} ways: use one")
        findings.one_class_twice = True
    for name, group in columns.items():
        if len({_essence(label) for label in group}) > 1:
            said = ", ".join(map(repr, group))
            findings.problems.append(
                f"  - the labels {said} would share the column {name} of tables: name one otherwise"
            )
    return tuple(classes)


def _essence(label: str) -> object:
    """Returns what tells a class from others: its number, or else its text without case, blanks and punctuation.

    A text of nothing else, such as + or -, is what it is; a minus is a hyphen.
    """
    text = unicodedata.normalize("NFKC", label).casefold().replace("\N{MINUS SIGN}", "-")
    if re.fullmatch(r"[+-]?\d+(\.\d*)?", text):
        return float(text)
    return "".join(sign for sign in text if unicodedata.category(sign)[0] not in "PZ" and sign not in "|^`~") or text
