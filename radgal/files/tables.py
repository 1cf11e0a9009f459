"""Tables out of this program, in the formats that astronomers use, and the names of their columns and files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils import UserError, atomic_write

if TYPE_CHECKING:
    from astropy.table import Table

FORMATS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits"}


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
    """Writes a table as csv, ECSV or FITS, whichever the suffix says, atomically; in FITS with texts in ASCII."""
    path = Path(path)
    if path.suffix not in FORMATS:
        raise UserError(f"{path}: tables can be written as {', '.join(FORMATS)}")
    if path.suffix == ".fits":
        table = table.copy()
        for name in table.colnames:
            if table[name].dtype.kind == "U":
                table[name] = to_ascii(table[name])
        table.meta = {key: to_ascii([value])[0].decode() for key, value in table.meta.items()}
    with atomic_write(path) as temporary:
        table.write(temporary, format=FORMATS[path.suffix], overwrite=True)
