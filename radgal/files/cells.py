"""Cells of tables as texts: what says nothing, and what a spreadsheet would run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astropy.table import Column

BLANK = ("--", "nan", "NaN", "NAN", "null", "Null", "NULL", "None", "N/A", "n/a", "<NA>", "masked")
"""Texts that other programs write where there is nothing."""

_FORMULA = re.compile(r"'?\s*(?:[=@]|[+-].*[(|!])", re.DOTALL)


def texts(column: Column) -> list[str]:
    """Returns the cells of a column as texts; what is masked, NaN or says that there is nothing is ''."""
    found = []
    for value in column:
        text = (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()
        found.append("" if text in BLANK else text)
    return found


def safe_cell(value: object) -> object:
    """Returns a cell for a csv: a text that a spreadsheet would run as a formula gets an apostrophe in front.

    Those are texts that begin with = or @, or with + or - and hold what calls something. :func:`plain_cell` takes the
    apostrophe away again.
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def plain_cell(text: str) -> str:
    """Returns a cell of a csv without the apostrophe that :func:`safe_cell` put there."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text
