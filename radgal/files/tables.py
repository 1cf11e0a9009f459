"""Tables in and out, in the formats that astronomers use: one reader, one writer, one list of suffixes.

What is read is not trusted: files may be packed by gzip only, and within bounds; nothing in them is run.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radgal.files.packing import check_packing
from utils import UserError, atomic_write, reason_of, without_warnings

if TYPE_CHECKING:
    from astropy.table import Column, Table

FORMATS = {
    ".csv": "csv",
    ".ecsv": "ecsv",
    ".fits": "fits",
    ".fit": "fits",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".parquet": "parquet",
}
"""Suffix of a table -> its format. Parquet is written only, part by part (``prediction.catalog``)."""

ASTROPY_NAMES = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "fits": "fits", "votable": "votable"}
BLANK = ("--", "nan", "None")  # texts that other programs write where there is nothing


def format_of(path: str | Path) -> str | None:
    """Returns the format of a table that the suffix of its name says, also before .gz; None if it says none."""
    return FORMATS.get(Path(Path(path).name.lower().removesuffix(".gz")).suffix)


def read_table(path: str | Path, what: str = "table", max_bytes: int | None = None) -> Table:
    """Returns a table in the format that its suffix says; what has no known suffix is read as csv.

    Of csv all cells stay texts: ids such as 00012 are what they are. See :func:`texts` and :func:`unit_factor`.

    Args:
        path: csv, ECSV, FITS or VOTable, also packed by gzip.
        what: what it is called in messages.
        max_bytes: larger files are refused unread; None: any size.

    Raises:
        UserError: if it cannot be read as such a table.
    """
    path = Path(path)
    kind = format_of(path) or "csv"
    if kind not in ASTROPY_NAMES:
        readable = [suffix for suffix, kind in FORMATS.items() if kind in ASTROPY_NAMES]
        raise UserError(f"{path}: a {what} is read from {', '.join(readable)}")
    try:
        if path.exists() and not path.is_file():  # a device or a pipe might never end
            raise UserError(f"{path} is not a file")
        if max_bytes is not None and path.stat().st_size > max_bytes:
            raise UserError(f"{path} has more than {max_bytes:,} bytes, too many for a {what}")
        packed = check_packing(path)
        if kind == "csv":
            content = path.read_bytes()
            return _read_csv(gzip.decompress(content) if packed else content)
        from astropy.table import Table

        with without_warnings():
            return Table.read(path, format=ASTROPY_NAMES[kind])
    except UserError:
        raise
    except Exception as error:  # every format's reader raises its own kinds on files that are none
        form = "" if isinstance(error, OSError) and error.strerror else f" in the format of its suffix ({kind})"
        raise UserError(f"{path} cannot be read as a {what}{form}: {reason_of(error)}") from None


def _read_csv(content: bytes) -> Table:
    """Returns a csv as columns of texts; blank lines, and comments (#) above the head, are left out."""
    from astropy.table import Table

    lines = io.StringIO(content.decode("utf-8-sig"), newline="")
    cells = [[cell.strip() for cell in line] for line in csv.reader(lines, strict=True) if any(map(str.strip, line))]
    start = next((i for i, line in enumerate(cells) if not line[0].startswith("#")), len(cells))
    head, *rows = cells[start:] or [[]]
    if not head:
        raise ValueError("it is empty")
    if twice := [name for name, count in Counter(head).items() if count > 1]:
        raise ValueError(f"it has two columns {twice[0]!r}")
    if wrong := [i for i, line in enumerate(rows) if len(line) != len(head)]:
        raise ValueError(f"row {wrong[0] + 1} has {len(rows[wrong[0]])} cells, its head {len(head)}")
    return Table([np.array([line[i] for line in rows], dtype=str) for i in range(len(head))], names=head)


def texts(column: Column) -> list[str]:
    """Returns the cells of a column as texts; what is masked, NaN or says that there is nothing is ''."""
    found = []
    for value in column:
        text = (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()
        found.append("" if text in BLANK else text)
    return found


def unit_factor(column: Column, unit: str) -> float:
    """Returns what the numbers of a column must be multiplied by to be in ``unit``; 1 if it gives no unit.

    Raises:
        ValueError: if its unit is not known, or is none of that kind.
    """
    from astropy import units

    if column.unit is None:
        return 1.0
    try:
        return float(units.Unit(column.unit).to(unit))
    except (TypeError, ValueError, units.UnitsError) as error:
        raise ValueError(str(error)) from None


def column_name(prefix: str, name: str) -> str:
    """Returns the column of a class, such as prob_FRI; what is no letter or digit becomes an underscore."""
    return f"{prefix}_{re.sub(r'[^0-9A-Za-z]+', '_', name)}"


def file_name(name: str) -> str:
    """Returns the stem of a source's files: its name, with an underscore for what not every disk can hold."""
    return re.sub(r"[^0-9A-Za-z.+-]+", "_", name)


def to_ascii(texts: Iterable[str]) -> np.ndarray:
    """Returns texts as the bytes FITS allows; other letters are written as backslash escapes."""
    safe = [str(text).encode("ascii", "backslashreplace") for text in texts]
    return np.array(safe, dtype=bytes) if safe else np.empty(0, dtype="S1")


def write_table(table: Table, path: str | Path) -> None:
    """Writes a table as csv, ECSV, FITS or VOTable, by its suffix, atomically; in FITS with texts in ASCII."""
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind not in ASTROPY_NAMES:
        writable = [suffix for suffix, kind in FORMATS.items() if kind in ASTROPY_NAMES]
        raise UserError(f"{path}: tables can be written as {', '.join(writable)}")
    if kind == "fits":
        table = table.copy()
        for name in table.colnames:
            if table[name].dtype.kind == "U":
                table[name] = to_ascii(table[name])
        table.meta = {key: to_ascii([value])[0].decode() for key, value in table.meta.items()}
    with atomic_write(path) as temporary:
        table.write(temporary, format=ASTROPY_NAMES[kind], overwrite=True)
