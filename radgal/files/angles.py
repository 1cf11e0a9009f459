"""Columns of positions and sizes as numbers, whatever a table calls their unit and however it writes an angle."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from radgal.files.cells import texts

if TYPE_CHECKING:
    from astropy.table import Column

SPELLED = {
    "deg": "deg degs degree degrees degr d °",
    "hourangle": "hourangle hourangles h hr hrs hour hours",
    "rad": "rad rads radian radians",
    "arcmin": "arcmin arcmins arcminute arcminutes amin '",
    "arcsec": "arcsec arcsecs arcsecond arcseconds asec \" ''",
    "mas": "mas milliarcsec milliarcsecond milliarcseconds",
}
"""A unit of an angle, as astropy calls it -> how tables spell it, in any case."""

UNITS = {word: unit for unit, words in SPELLED.items() for word in words.split()}
NO_UNIT = ("", "-", "--", "none", "null", "n/a", "unknown", "unitless", "dimensionless")
ASIDE = ("decimal", "in", "j2000", "j2000.0", "icrs", "fk5")  # words beside a unit that do not change it
NO_NUMBER = (  # in a column of numbers, in any case
    *("-", "–", "—", "...", "…", "?", "none", "nil", "null", "(null)", "\\n", "na", "n/a", "#n/a", "nat", "masked"),
    *("undefined", "undef", "indef", "missing", "unknown"),
)
SIGNS = str.maketrans("−–‐‑－º˚ʰᵐˢᵈ′’‘″”“", "-----°°hmsd'''\"\"\"")
"""What people's programs write in place of the signs of an angle that all keyboards have."""

LONGEST_NAME, LONGEST_CELL = 200, 80  # characters that are looked through: the patterns below take their square
_AT_END = re.compile(r"\s*[(\[]([^()\[\]]*)[)\]]\s*$")
_SEXAGESIMAL = re.compile(r"[±+-]?(h+|d+)[\s:]*m+[\s:]*s+(\.s*)?")  # h:m:s, HH MM SS.ss, ±ddmmss
_PARTS = re.compile(  # 13:27:53.98, 13h27m53.98s, 201d58m29.8s, +63 32 00, 13:27
    r"([+-]?)(\d{1,3})\s*(hr?|d(?:eg)?|°|:|\s)\s*(\d{1,2}(?:\.\d*)?)\s*"
    r"(?:(?:m(?:in)?|arcmin|'|:|\s)\s*(?:(\d{1,2}(?:\.\d*)?)\s*(?:s(?:ec)?|arcsec|\"|'')?)?)?",
    re.IGNORECASE,
)
_WITH_UNIT = re.compile(r"([+-]?\d+(?:\.\d*)?)\s*([^\d\s].*)")  # 201.97°, 30 arcsec
_DOTTED = re.compile(r"([+-]?\d{1,3})\.(\d\d)\.(\d\d(?:\.\d*)?)")  # a declination as CASA writes it, +63.32.00.01
_SECONDS_BEFORE_POINT = re.compile(r"(?:\.(?:s|\"|'')|(?:s|\"|'')\.)(\d+)$", re.IGNORECASE)  # 53s.98, 53.s98


def spelled_unit(text: str) -> str | None:
    """Returns what astropy calls a unit of angles that a table spells in its own way; None if it is none of these."""
    text = _plain(text).lower().strip().strip('"').strip() or text.strip()
    if found := _SEXAGESIMAL.fullmatch(text.strip("[]() ")):
        return "hourangle" if found[1].startswith("h") else "deg"
    words = [word for word in re.split(r"[\s,;()\[\]]+", text) if word not in ASIDE]
    return UNITS.get("".join(words).replace(".", ""))


def unit_in_name(name: str) -> str | None:
    """Returns the unit of angles at the end of a column's name, as in ``RA (hours, J2000)`` or ``ra_h``; or None."""
    name = name[-LONGEST_NAME:]
    while found := _AT_END.search(name):
        if unit := spelled_unit(found[1]):
            return unit
        name = name[: found.start()]
    ending = re.search(r"_([A-Za-z]+)\s*$", name)
    return spelled_unit(ending[1]) if ending else None


def bare_name(name: str) -> str:
    """Returns the name of a column in lower case, without what stands in brackets at its end."""
    while len(name) <= LONGEST_NAME and (found := _AT_END.search(name)) and found.start():
        name = name[: found.start()]
    return name.lower()


def _plain(text: str) -> str:
    """Returns a text with the signs that all keyboards have; of a degree sign that was read as Latin-1, the sign."""
    return text.replace("Â°", "°").translate(SIGNS)


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
    if re.search(r"1950|fk4", column.name[-LONGEST_NAME:], re.IGNORECASE):
        raise ValueError("it is of the equinox B1950 by its name, and ICRS is needed, or J2000")
    notes = [] if notes is None else notes
    given = _unit(column)
    if given is None and (given := unit_in_name(column.name)) not in (None, unit):
        notes.append(f"column {column.name!r} is read in the unit of its name, {given}")
    if values.dtype.kind not in "USO":
        return np.ma.filled(values.astype(np.float64), np.nan) * _factor(given or unit, unit)
    units = {"": given or unit, ",": given or unit, "h": "hourangle", "d": "deg"}
    units[":"] = given if given in ("deg", "hourangle") else "hourangle" if hours else "deg"
    factors = {way: _factor(one, unit) for way, one in (units | {one: one for one in SPELLED}).items()}
    found, first = np.full(len(column), np.nan), {}
    for i, cell in enumerate(texts(column)):
        try:
            number, way = _number(cell)
        except ValueError as error:
            if wrong is None:
                raise ValueError(f"row {i + 1}: {error}") from None
            wrong.append(i)
            continue
        found[i] = number * factors[way]
        first.setdefault(way, cell)
    if "," in first:
        notes.append(f"column {column.name!r} has decimal commas ({first[',']})")
    for way in first.keys() & set("hd:"):
        what = {"hourangle": "hours", "deg": "degrees"}[units[way]]
        notes.append(f"column {column.name!r} is sexagesimal ({first[way]}), read as {what}")
    notes += [f"column {column.name!r} has units in its cells ({first[way]})" for way in SPELLED if way in first]
    return found


def _number(cell: str) -> tuple[float, str]:
    """Returns a cell as a number (NaN if it says nothing) and how it is written.

    That is '', with ',' or h, d or :, or the unit that stands behind it.

    Raises:
        ValueError: if it is none.
    """
    if not cell or cell.lower() in NO_NUMBER:
        return math.nan, ""
    if len(cell) > LONGEST_CELL:
        raise ValueError(f"{cell[:40]!r}... is no angle")
    text = re.sub(r"^([+-])\s+", r"\1", _plain(cell))
    text = re.sub(r"d(?=[+-]\d+$)", "e", text, flags=re.IGNORECASE)  # the exponent as Fortran writes it
    if has_comma := re.fullmatch(r"[^.,]*\d,\d[^.,]*", text) is not None:
        text = text.replace(",", ".")
    try:
        return float(text.replace("_", "x")), "," if has_comma else ""  # to Python, 1_000 is a number
    except ValueError:
        pass
    if (found := _WITH_UNIT.fullmatch(text)) and (unit := spelled_unit(found[2])):
        return float(found[1]), unit
    if found := _DOTTED.fullmatch(text):
        text = "d".join(found.groups()[:2]) + "m" + found[3]
    found = _PARTS.fullmatch(_SECONDS_BEFORE_POINT.sub(r".\1", text))
    if not found or max(float(found[4]), float(found[5] or 0)) > 60:
        raise ValueError(f"{cell[:40]!r} is no angle")
    sign = -1 if found[1] == "-" else 1
    way = {"h": "h", "d": "d", "°": "d"}.get(found[3][0].lower(), ":")
    return sign * (int(found[2]) + float(found[4]) / 60 + float(found[5] or 0) / 3600), way


def _unit(column: Column) -> str | None:
    said = str(column.unit or "").strip()
    return None if said.lower() in NO_UNIT else spelled_unit(said) or said


def is_short(unit: str) -> bool:
    """Returns whether a unit is as short as one is, powers included: astropy takes for ever to compute 10**99999999."""
    return len(unit) <= LONGEST_NAME and re.search(r"(?:\*\*|\^|10[+-])[\s(+-]*\d{5}", unit) is None


def check_units(units: Iterable[str | None]) -> None:
    """Raises ValueError if one is not :func:`is_short`, before astropy reads it."""
    if long := [unit for unit in units if unit and not is_short(unit)]:
        raise ValueError(f"a column's unit is {long[0][:40]!r}, which takes without end to read")


def _factor(given: str, unit: str) -> float:
    from astropy import units

    try:
        check_units([given])
        return float(units.Unit(given).to(unit))
    except (TypeError, ValueError, units.UnitsError):
        raise ValueError(f"its unit {given[:40]!r} is none of angles; known: {', '.join(SPELLED)}") from None
