"""Columns of positions and sizes as numbers, whatever a table calls their unit and however it writes an angle."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from radgal.files.cells import texts

if TYPE_CHECKING:
    from astropy.table import Column

SPELLED = {
    "deg": "deg degs degree degrees degr d ° dms d:m:s dd:mm:ss ddmmss",
    "hourangle": "hourangle hourangles h hr hrs hour hours hms h:m:s hh:mm:ss hhmmss",
    "rad": "rad rads radian radians",
    "arcmin": "arcmin arcmins arcminute arcminutes amin '",
    "arcsec": "arcsec arcsecs arcsecond arcseconds asec \" ''",
    "mas": "mas milliarcsec milliarcsecond milliarcseconds",
}
"""A unit of an angle, as astropy calls it -> how tables spell it, in any case."""

UNITS = {word: unit for unit, words in SPELLED.items() for word in words.split()}
NO_NUMBER = ("-", "n/a", "na", "none", "nil", "masked", "undefined", "...")  # in a column of numbers, in any case
_IN_NAME = re.compile(r"(?:[(\[]\s*(?P<brackets>[^()\[\]]+?)\s*[)\]]|_(?P<ending>[A-Za-z]+))\s*$")
_PARTS = re.compile(  # 13:27:53.98, 13h27m53.98s, 201d58m29.8s, +63 32 00, 13:27
    r"([+-]?)(\d{1,3})\s*(h|d|°|:|\s)\s*(\d{1,2}(?:\.\d*)?)\s*(?:(?:m|′|'|:|\s)\s*(?:(\d{1,2}(?:\.\d*)?)\s*(?:s|″|\"|'')?)?)?",
    re.IGNORECASE,
)


def spelled_unit(text: str) -> str | None:
    """Returns what astropy calls a unit of angles that a table spells in its own way; None if it is none of these."""
    return UNITS.get(re.sub(r"[.\s]", "", text).strip("[]").lower()) or UNITS.get(text.strip('"').strip().lower())


def unit_in_name(name: str) -> str | None:
    """Returns the unit of angles at the end of a column's name, such as ``RA (deg)`` or ``ra_hours``; None if none."""
    found = _IN_NAME.search(name)
    return spelled_unit(found["brackets"] or found["ending"]) if found else None


def bare_name(name: str) -> str:
    """Returns the name of a column in lower case, without what stands in brackets at its end."""
    return re.sub(r"\s*[(\[][^()\[\]]*[)\]]\s*$", "", name).lower()


def angles(
    column: Column,
    unit: str,
    hours: bool = False,
    notes: list[str] | None = None,
    wrong: list[int] | None = None,
) -> np.ndarray:
    """Returns the angles of a column in ``unit``, (N,) float64; NaN where it says nothing.

    The unit of the column is taken from the table, else from the column's name (``RA (deg)``), else it is ``unit``.
    Texts may be sexagesimal: hours if they say h, degrees if they say d, else by the column's unit, else by ``hours``.

    Args:
        column: numbers or texts.
        unit: 'deg' or 'arcsec'.
        hours: whether sexagesimal texts are hours where nothing says so, as for right ascensions.
        notes: gets a sentence on everything that was guessed.
        wrong: gets the indices of cells that are no angles; None: they raise.

    Raises:
        ValueError: if its unit is not known or is none of angles, or a cell is no angle.
    """
    values = np.ma.asarray(column)
    if values.ndim != 1:
        raise ValueError("it holds several values per row")
    notes = [] if notes is None else notes
    given = _unit(column)
    if given is None and (given := unit_in_name(column.name)) not in (None, unit):
        notes.append(f"column {column.name!r} is read in the unit of its name, {given}")
    if values.dtype.kind not in "USO":
        return np.ma.filled(values.astype(np.float64), np.nan) * _factor(given or unit, unit)
    units = {"": given or unit, ",": given or unit, "h": "hourangle", "d": "deg"}
    units[":"] = given if given in ("deg", "hourangle") else "hourangle" if hours else "deg"
    factors = {way: _factor(one, unit) for way, one in units.items()}
    found, first = np.full(len(column), np.nan), {}
    for i, cell in enumerate(texts(column)):
        try:
            number, way = _number(cell)
        except ValueError:
            if wrong is None:
                raise
            wrong.append(i)
            continue
        found[i] = number * factors[way]
        first.setdefault(way, cell)
    if "," in first:
        notes.append(f"column {column.name!r} has decimal commas ({first[',']})")
    for way in first.keys() & set("hd:"):
        what = {"hourangle": "hours", "deg": "degrees"}[units[way]]
        notes.append(f"column {column.name!r} is sexagesimal ({first[way]}), read as {what}")
    return found


def _number(cell: str) -> tuple[float, str]:
    """Returns a cell as a number (NaN if it says nothing) and how it is written: '', with ',' or with h, d or :.

    Raises:
        ValueError: if it is none.
    """
    if not cell or cell.lower() in NO_NUMBER:
        return math.nan, ""
    try:
        return float(cell), ""
    except ValueError:
        cell = cell.replace("\N{MINUS SIGN}", "-")
    if re.fullmatch(r"[+-]?\d+,\d+", cell):
        return float(cell.replace(",", ".")), ","
    found = _PARTS.fullmatch(cell)
    if not found or max(float(found[4]), float(found[5] or 0)) > 60:
        raise ValueError(f"{cell[:40]!r} is no angle")
    sign = -1 if found[1] == "-" else 1
    way = {"h": "h", "d": "d", "°": "d"}.get(found[3].lower(), ":")
    return sign * (int(found[2]) + float(found[4]) / 60 + float(found[5] or 0) / 3600), way


def _unit(column: Column) -> str | None:
    said = str(column.unit or "").strip()
    return (spelled_unit(said) or said) or None


def _factor(given: str, unit: str) -> float:
    from astropy import units

    try:
        return float(units.Unit(given).to(unit))
    except (TypeError, ValueError, units.UnitsError) as error:
        raise ValueError(str(error)) from None
