"""Lists of positions: which sources to cut out of a mosaic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radgal.files.angles import angles, bare_name
from radgal.files.cells import texts
from radgal.files.tables import read_table
from radgal.images.mosaic import Position
from utils import UserError, counted, nearest

if TYPE_CHECKING:
    from astropy.table import Table

COLUMNS = {"ra": "deg", "dec": "deg", "id": None, "las": "arcsec"}
ALSO = {  # names that mean J2000 or ICRS, best first, in lower case
    "ra": tuple(
        "raj2000,_raj2000,ra_j2000,ra_icrs,_ra_icrs,_ra.icrs,_ra,ra_deg,radeg,ra_deg_cont,alpha_j2000,alphawin_j2000,"
        "raj,right ascension,right_ascension,rightascension".split(",")
    ),
    "dec": tuple(
        "dej2000,decj2000,_dej2000,dec_j2000,de_icrs,dec_icrs,_de_icrs,_de.icrs,_de,dec_deg,decdeg,dedeg,dec_deg_cont,"
        "delta_j2000,deltawin_j2000,decj,declination,decl".split(",")
    ),
}

LIKE_ID = ("source_name", "source_id", "name", "component_name", "component_id", "objid", "number", "uuid")
"""Names of columns of which one is proposed where there is no column ``id``, best first, in lower case."""


def read_positions(
    path: str | Path, columns: Mapping[str, str | None], say: Callable[[str], object] = lambda text: None
) -> list[Position]:
    """Returns the positions that a catalog lists, in its order.

    Units that the catalog gives are converted, and sexagesimal texts read; without units ``ra`` and ``dec`` are
    degrees, ``las`` arcseconds.

    Args:
        path: csv, ECSV, FITS or VOTable, by its suffix.
        columns: 'ra', 'dec', 'id', 'las' -> the name of the column; None for the name itself (in any case),
            which may be missing for 'id' (rows are numbered from 1 then) and 'las'.
        say: gets a line on everything that was guessed, if there is any.

    Raises:
        UserError: if it cannot be read, is empty, or lacks a column; the text names the nearest one.
    """
    path, notes = Path(path).expanduser(), []
    wanted = [{name.lower()} if name else _names(what) for what, name in columns.items() if name or what in ALSO]
    table = read_table(path, "catalog", wanted=wanted, notes=notes)
    found = {what: _find_column(table, path, what, name) for what, name in columns.items()}
    if len(table) == 0:
        raise UserError(f"{path} is an empty catalog: it has columns ({', '.join(table.colnames)}) but no rows")
    numbers = {
        what: np.full(len(table), np.nan) if found[what] is None else _numbers(table, path, what, found[what], notes)
        for what in ("ra", "dec", "las")
    }
    given = [""] * len(table) if found["id"] is None else texts(table[found["id"]])
    ids = [one or str(i + 1) for i, one in enumerate(given)]
    notes += [
        f"{what} is column {found[what]!r}" for what in ALSO if not columns[what] and bare_name(found[what]) != what
    ]
    if found["id"] is None:
        like = next((n for one in LIKE_ID for n in table.colnames if n.lower() == one), nearest("id", table.colnames))
        hint = f" (is it {like!r}?)" if like else ""
        notes.append(f"it has no column 'id', so its rows are numbered from 1; name the column with --id-column{hint}")
    elif n := given.count(""):
        notes.append(f"{counted(n, 'row', 'have')} no {found['id']}, and the number of the row in its place")
    if notes:
        say(f"{path}: {'; '.join(notes)}")
    return [Position(*row) for row in zip(ids, *(numbers[what].tolist() for what in ("ra", "dec", "las")), strict=True)]


def _names(what: str) -> tuple[str, ...]:
    return (what, *ALSO.get(what, ()))


def _find_column(table: Table, path: Path, what: str, name: str | None) -> str | None:
    there, wanted = ", ".join(table.colnames), name or what
    if wanted in table.colnames:
        return wanted
    if name is None:
        for one in _names(what):
            same = [column for column in table.colnames if bare_name(column) == one]
            if len(same) == 1:
                return same[0]
            if same:
                break
        if what in ("id", "las") and not same:
            return None
    begins = [column for column in table.colnames if column.lower().startswith(wanted.lower())]
    like = begins[0] if begins else nearest(wanted, table.colnames)
    hint = f"; did you mean {like!r}?" if like else ""
    raise UserError(f"{path} has no column {wanted!r}{hint} (it has {there}); name the column with --{what}-column")


def _numbers(table: Table, path: Path, what: str, name: str, notes: list[str]) -> np.ndarray:
    """Returns the column ``name`` as floats in the unit of ``what``, a key of ``COLUMNS``; NaN where it is blank."""
    try:
        return angles(table[name], COLUMNS[what], hours=what == "ra", notes=notes)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{path}: column {name!r} cannot be read as numbers in {COLUMNS[what]} ({error}); name another with "
            f"--{what}-column"
        ) from None
