"""Lists of positions: which sources to cut out of a mosaic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radgal.files.tables import read_table, texts, unit_factor
from radgal.images.mosaic import Position
from utils import UserError, nearest

if TYPE_CHECKING:
    from astropy.table import Table

COLUMNS = {"ra": "deg", "dec": "deg", "id": None, "las": "arcsec"}


def read_positions(path: str | Path, columns: dict[str, str | None]) -> list[Position]:
    """Returns the positions that a catalog lists, in its order.

    Units that the catalog gives are converted; without them ``ra`` and ``dec`` are degrees, ``las`` arcseconds.

    Args:
        path: csv, ECSV, FITS or VOTable, by its suffix.
        columns: 'ra', 'dec', 'id', 'las' -> the name of the column; None for the name itself (in any case),
            which may be missing for 'id' (rows are numbered from 1 then) and 'las'.

    Raises:
        UserError: if it cannot be read, is empty, or lacks a column; the text names the nearest one.
    """
    path = Path(path).expanduser()
    table = read_table(path, "catalog")
    if len(table) == 0:
        raise UserError(f"{path} is an empty catalog: it has columns ({', '.join(table.colnames)}) but no rows")
    found = {what: _find_column(table, path, what, name) for what, name in columns.items()}
    numbers = {
        what: np.full(len(table), np.nan) if found[what] is None else _numbers(table, path, what, found[what])
        for what in ("ra", "dec", "las")
    }
    ids = [str(i + 1) for i in range(len(table))] if found["id"] is None else texts(table[found["id"]])
    return [Position(*row) for row in zip(ids, *(numbers[what].tolist() for what in ("ra", "dec", "las")), strict=True)]


def _find_column(table: Table, path: Path, what: str, name: str | None) -> str | None:
    there, wanted = ", ".join(table.colnames), name or what
    if wanted in table.colnames:
        return wanted
    if name is None:
        same = [column for column in table.colnames if column.lower() == what]
        if len(same) == 1:
            return same[0]
        if what in ("id", "las") and not same:
            return None
    begins = [column for column in table.colnames if column.lower().startswith(wanted.lower())]
    like = begins[0] if begins else nearest(wanted, table.colnames)
    hint = f"; did you mean {like!r}?" if like else ""
    raise UserError(f"{path} has no column {wanted!r}{hint} (it has {there}); name the column with --{what}-column")


def _numbers(table: Table, path: Path, what: str, name: str) -> np.ndarray:
    """Returns the column ``name`` as floats in the unit of ``what``, a key of ``COLUMNS``; NaN where it is blank."""
    column, unit = table[name], COLUMNS[what]
    values = np.ma.asarray(column)
    try:
        if values.ndim != 1:
            raise ValueError("it holds several values per row")
        if values.dtype.kind in "USO":
            numbers = np.array([float(text) if text else np.nan for text in texts(column)])
        else:
            numbers = np.ma.filled(values.astype(np.float64), np.nan)
        return np.asarray(numbers * unit_factor(column, unit), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{path}: column {name!r} cannot be read as numbers in {unit} ({error}); name another with --{what}-column"
        ) from None
