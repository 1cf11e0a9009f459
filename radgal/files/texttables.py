"""Tables that are texts (csv, ECSV and the like), as people's programs write them: columns of texts, and their units.

Read are cells parted by commas, semicolons, tabs, bars or blanks, in UTF-8, UTF-16 or Latin-1; a head that is a comment
or stands below a title; ECSV's units; VizieR's rows of units and dashes, and several tables below each other.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from radgal.files.angles import bare_name, check_units, is_short, spelled_unit
from radgal.files.cells import plain_cell
from utils import counted

if TYPE_CHECKING:
    from astropy.table import Table

PARTERS = (",", ";", "\t", "|", " ")
TITLE_LINES = 30  # so far below the first line a head is looked for
ECSV = "%ECSV"
OTHER_KINDS = {  # how the first line of a file begins, in lower case, that is no such table: what it is
    "# region file format": "a region file of DS9",
    "<!doctype html": "a web page",
    "<html": "a web page",
    "<?xml": "XML; a VOTable is to be called .vot",
    "<votable": "a VOTable, to be called .vot",
    "simple  =": "a FITS file, to be called .fits",
    "\\": "an IPAC table",
    "{": "JSON",
    "[{": "JSON",
}
BY_BYTES = "byte-by-byte description of file"
"""What CDS and AAS have above tables that are parted by the number of a character, and by no sign."""

_NUMBERED = re.compile(r"#\s*(\d{1,4})\s+(\S+)(?:.*\[([^\[\]]*)\])?.*")
"""A line of SExtractor's head: number, name, what it is, [unit]."""
MAX_ECSV_HEADER = 1 << 18  # characters
MAX_DEPTH = 60  # of what is in brackets, or indented, in that header
MAX_COLUMNS = 10_000
Wanted = Sequence[Collection[str]]
"""For each column that must be there, the names that it may have, in lower case."""


def read_text_table(content: bytes, wanted: Wanted = (), notes: list[str] | None = None) -> Table:
    """Returns a table whose columns are texts, with their units as far as it gives them.

    Blank lines, and lines that begin with #, are left out.

    Args:
        content: of the file, unpacked.
        wanted: tells its head from other lines, and the table from others of the file.
        notes: gets a sentence on everything that was guessed.

    Raises:
        ValueError: if it is no such table.
    """
    notes = [] if notes is None else notes
    lines = [line for line in io.StringIO(_decoded(content, notes), newline="") if line.strip()]
    first = next((i for i, line in enumerate(lines) if not _is_comment(line)), len(lines))
    if lines and lines[0].startswith(f"# {ECSV}"):
        parter, units = _ecsv_header([line[2:].rstrip() for line in lines[1:first]])
        head, rows = _rows(lines[first:], parter, [])
        if list(units) != head:
            raise ValueError(f"its header describes the columns {', '.join(units)}, but its head is {', '.join(head)}")
        return _as_table(head, _without_masked(head, rows), units)
    _refuse_others(lines)
    if numbered := _numbered_head(lines, first, wanted):
        notes.append("its columns are those that the comments above it number")
        head, rows = _rows([" ".join(numbered), *lines[first:]], " ", notes)
        return _as_table(head, rows, numbered)
    table, parter = _find_table(lines, first, wanted, notes)
    head, rows = _rows(table, parter, notes)
    units, n_above = _units_below(head, rows)
    if n_above:
        what = "is no source" if n_above == 1 else "are no sources"
        notes.append(f"{counted(n_above, 'row')} of units and dashes below its head {what}")
    return _as_table(head, rows[n_above:], units)


def _refuse_others(lines: list[str]) -> None:
    """Raises ValueError for files that are often taken for a csv and cannot be read as one."""
    start = lines[0].lstrip().lower() if lines else ""
    what = next((what for sign, what in OTHER_KINDS.items() if start.startswith(sign)), None)
    if start.startswith("|") and "|" not in lines[-1]:
        what = OTHER_KINDS["\\"]
    if what is None and any(line.lower().startswith(BY_BYTES) for line in lines[:1000]):
        what = "a table of CDS or AAS whose cells are told by bytes"
    if what is not None:
        raise ValueError(f"it is {what}; save it as csv or VOTable (TOPCAT and astropy can)")
    if any("\0" in line for line in lines):
        raise ValueError("it holds zero bytes, so it is no text in UTF-8; save it as csv in that encoding")


def _numbered_head(lines: list[str], first: int, wanted: Wanted) -> dict[str, str | None]:
    """Returns name -> unit of the columns that comments number from 1, as those of SExtractor; {} if none do.

    Numbers are left out beside columns that hold several values: these get names of their own.
    """
    found = {int(one[1]): one for line in lines[:first] if (one := _NUMBERED.fullmatch(line[:500].strip()))}
    n = len(_cells(lines[first], " ")) if first < len(lines) else 0
    if list(found) != sorted(found) or not found or min(found) != 1 or max(found) > n:
        return {}
    head = {found[i][2] if i in found else f"col{i}": found[i][3] if i in found else None for i in range(1, n + 1)}
    return head if wanted and _has(head, wanted) else {}


def choose(tables: Mapping[Any, Sequence[str]], wanted: Wanted) -> Any:
    """Returns which of several tables has all wanted columns, the first of those; the first of all if none has.

    Args:
        tables: key -> names of its columns.
    """
    has = (key for key, names in tables.items() if _has(names, wanted))
    return next(has, next(iter(tables)))


def _has(names: Iterable[str], wanted: Wanted) -> bool:
    known = {one for name in names for one in (name.lower(), bare_name(name))}
    return all(not known.isdisjoint(group) for group in wanted)


def _decoded(content: bytes, notes: list[str]) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        odd = content[max(0, error.start - 20) : error.end + 20].decode("latin-1")
    notes.append(f"it is no UTF-8, so it is read as Latin-1 (such as {' '.join(odd.split())!r})")
    try:
        return content.decode("cp1252")  # Latin-1 with letters where that has control characters
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _ecsv_header(lines: list[str]) -> tuple[str, dict[str, str | None]]:
    """Returns what parts the cells of an ECSV table, and name -> unit of its columns."""
    from astropy.table.meta import get_header_from_yaml

    if sum(map(len, lines)) > MAX_ECSV_HEADER:
        raise ValueError(f"its header has more than {MAX_ECSV_HEADER:,} characters")
    if re.search(r"(?:[:.]\d+){20}", "".join(lines)) or max(_depths(lines), default=0) > MAX_DEPTH:
        raise ValueError("its header holds what no table needs: numbers or lists without end")
    header = get_header_from_yaml(lines)
    columns = [(column["name"], column.get("unit") or None) for column in header["datatype"]]
    if not all(isinstance(one, (str, int, float, type(None))) for column in columns for one in column):
        raise ValueError("its header has a column whose name or unit is no text")  # which may print without end
    return header.get("delimiter", " "), {str(name): unit and str(unit) for name, unit in columns}


def _depths(lines: Iterable[str]) -> Iterator[int]:
    """Yields how deep in brackets each line of a header begins and ends, those in texts counted as well."""
    depth = 0
    for line in lines:
        for sign in re.findall(r"[\[\]{}]", line):
            depth += 1 if sign in "[{" else -1
            yield depth
        yield len(line) - len(line.lstrip())  # as YAML has it, too


def _without_masked(head: list[str], rows: list[list[str]]) -> list[list[str]]:
    """Returns the rows of an ECSV table with nothing in the cells of ``ra`` where a column ``ra.mask`` says True."""
    masks = [(head.index(name), head.index(f"{name}.mask")) for name in head if f"{name}.mask" in head]
    for row in rows:
        for i, mask in masks:
            row[i] = "" if row[mask] == "True" else row[i]
    return rows


def _find_table(lines: list[str], first: int, wanted: Wanted, notes: list[str]) -> tuple[list[str], str]:
    """Returns the lines of the table with the wanted columns, its head first, and what parts its cells.

    Its head is the first line, or a comment above it with as many cells, or below a title, or above VizieR's dashes.
    """
    if first == len(lines):
        raise ValueError("it has no rows" if any(_parter(line, wanted) for line in lines) else "it is empty")
    vizier = [i for i in range(first, len(lines) - 2) if _is_dashes(lines[i + 2]) and _above_dashes(*lines[i : i + 2])]
    for i in (first, *reversed(range(first)), *range(first + 1, first + 1 + TITLE_LINES), *vizier):
        parter = _parter(lines[i], wanted) if i < len(lines) else None
        if parter is None or (i < first and len(_cells(lines[i], parter)) != len(_cells(lines[first], parter))):
            continue
        if i != first:
            what = "the comment" if i < first else "the line"
            notes.append(f"its head is {what} {' '.join(lines[i].split())[:60]!r}, and not its first line")
        start = max(i + 1, first)
        end = min((j for j in vizier if j >= start), default=len(lines))
        if end < len(lines) or any(j < i for j in vizier):
            notes.append(f"of its tables the one with the head {' '.join(lines[i].split())[:60]!r} is read")
        return [_uncommented(lines[i]), *lines[start:end]], parter
    return lines[first:], _likely_parter(lines[first])


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _is_dashes(line: str) -> bool:
    return "--" in line and re.fullmatch(r"[-:\s,;|]*", line) is not None


def _uncommented(line: str) -> str:
    return line.lstrip().removeprefix("#") if _is_comment(line) else line


def _parter(line: str, wanted: Wanted) -> str | None:
    """Returns what parts the cells of a head with all wanted columns; None if it is none."""
    for parter in PARTERS if wanted else ():
        if _has(_cells(line, parter), wanted):
            return parter
    return None


def _likely_parter(line: str) -> str:
    return max(PARTERS, key=lambda parter: (len(_cells(line, parter)) > 1, parter != " ", len(_cells(line, parter))))


def _cells(line: str, parter: str) -> list[str]:
    try:
        return next(_split([_uncommented(line)], parter), [])
    except csv.Error:  # this line is no line of such a table
        return []


def _split(lines: Iterable[str], parter: str) -> Iterator[list[str]]:
    """Yields the cells of each line that has any, without blanks around them."""
    if parter == "|":
        lines = (line.strip()[1:-1] if line.strip().startswith("|") else line for line in lines)
    elif parter == " ":
        lines = (line.strip().replace("\t", " ") for line in lines)
    for cells in csv.reader(lines, delimiter=parter, skipinitialspace=True, strict=True):
        cells = [plain_cell(cell.strip()) for cell in cells]
        if any(cells):
            yield cells


def _rows(lines: list[str], parter: str, notes: list[str]) -> tuple[list[str], list[list[str]]]:
    """Returns the names of the columns, and the rows, each with as many cells."""
    head, *rows = list(_split(lines, parter)) or [[]]
    commented = [cells[0].startswith("#") for cells in rows]
    if any(commented) and not all(commented):
        n = sum(commented)
        notes.append(f"{n} line{'s' * (n > 1)} that begin{'s' * (n == 1)} with # {'are' if n > 1 else 'is'} left out")
        rows = [cells for cells, is_comment in zip(rows, commented, strict=True) if not is_comment]
    n_named = max((i + 1 for i, name in enumerate(head) if name), default=0)
    head = [name or f"col{i + 1}" for i, name in enumerate(head)]
    if not n_named:
        raise ValueError("it is empty")
    if len(head) > MAX_COLUMNS:
        raise ValueError(f"it has {counted(len(head), 'column')}, more than {MAX_COLUMNS:,}")
    if (n_cells := len(rows) * len(head)) > max(1_000_000, 10 * sum(map(len, lines))):
        raise ValueError(f"with the blank ones its rows would have {counted(n_cells, 'cell')}")
    if twice := [name for name, count in Counter(head).items() if count > 1]:
        raise ValueError(f"it has two columns {twice[0]!r}")
    for i, cells in enumerate(rows):
        if len(cells) < n_named or any(cells[len(head) :]):
            raise ValueError(f"row {i + 1} has {len(cells)} cells, its head {len(head)}")
        if len(cells) != len(head):  # blank cells at the end of a line, of lines or of the head
            rows[i] = (cells + [""] * len(head))[: len(head)]
    return head, rows


def _units_below(head: list[str], rows: list[list[str]]) -> tuple[dict[str, str | None], int]:
    """Returns the units that rows below the head give, and how many rows there are units and dashes (VizieR)."""
    dashes = [_is_dashes(" ".join(cells)) for cells in rows[:2]]
    if dashes[:1] == [True]:
        return {}, 1
    if (dashes == [False, True] and _may_be_units(rows[0])) or (rows and _are_units(rows[0])):
        return {name: cell.strip("-") or None for name, cell in zip(head, rows[0], strict=True)}, 1 + (
            dashes == [False, True]
        )
    return {}, 0


def _may_be_units(cells: list[str]) -> bool:
    return not any(map(_is_number, cells)) and ("" in cells or any(map(spelled_unit, cells)))


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[+-]?[\d.:]+(e[+-]?\d+)?", cell, re.IGNORECASE) is not None


def _above_dashes(line: str, units: str) -> bool:
    """Returns whether these two lines may be VizieR's head and units."""
    parter = _likely_parter(line)
    cells, below = _cells(line, parter), _cells(units, parter)
    return len(cells) > 1 and not any(map(_is_number, cells)) and (not below or _may_be_units(below))


def _are_units(cells: list[str]) -> bool:
    from astropy import units

    def is_unit(cell: str) -> bool:
        try:
            return bool(
                spelled_unit(cell) or (cell and not cell[0].isdecimal() and is_short(cell) and units.Unit(cell))
            )
        except (TypeError, ValueError):
            return False

    there = [cell for cell in cells if cell.strip("-")]
    return any(map(spelled_unit, there)) and all(map(is_unit, there))


def _as_table(head: list[str], rows: list[list[str]], units: dict[str, str | None]) -> Table:
    """Returns columns of Python's texts, which take as much memory as they have characters."""
    from astropy.table import Column, Table

    check_units(units.values())
    columns = []
    for i, name in enumerate(head):
        values = np.empty(len(rows), dtype=object)
        values[:] = [cells[i] for cells in rows]
        columns.append(Column(values, name, unit=units.get(name)))
    return Table(columns, copy=False)
