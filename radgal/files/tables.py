"""Tables in and out, in the formats that astronomers use: one reader, one writer, one list of suffixes.

What is read is not trusted: files may be packed by gzip only, and within bounds; nothing in them is run.
"""

from __future__ import annotations

import gzip
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radgal.files.angles import check_units
from radgal.files.cells import safe_cell
from radgal.files.packing import check_packing
from radgal.files.texttables import Wanted, choose, read_text_table
from radgal.files.votables import read_votable
from utils import UserError, atomic_write, counted, reason_of, without_warnings

if TYPE_CHECKING:
    from astropy.table import Table

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
SPREADSHEETS = (".xlsx", ".xls", ".ods")


def format_of(path: str | Path) -> str | None:
    """Returns the format of a table that the suffix of its name says, also before .gz; None if it says none."""
    return FORMATS.get(Path(Path(path).name.lower().removesuffix(".gz")).suffix)


def read_table(
    path: str | Path,
    what: str = "table",
    max_bytes: int | None = None,
    *,
    wanted: Wanted = (),
    notes: list[str] | None = None,
) -> Table:
    """Returns a table in the format that its suffix says; what has no known suffix is read as csv.

    Of csv and ECSV all cells stay texts: ids such as 00012 are what they are. See :func:`radgal.files.cells.texts`,
    :func:`radgal.files.angles.angles` and, for what people call a csv, :mod:`radgal.files.texttables`.

    Args:
        path: csv, ECSV, FITS or VOTable, also packed by gzip.
        what: what it is called in messages.
        max_bytes: larger files are refused unread; None: any size.
        wanted: for each column that must be there, its names in lower case. Of several tables in a file the one that
            has these columns is returned, or else the first.
        notes: gets a sentence on everything that was guessed.

    Raises:
        UserError: if it cannot be read as such a table.
    """
    path, notes = Path(path), [] if notes is None else notes
    kind = format_of(path) or "csv"
    if kind not in ASTROPY_NAMES:
        readable = [suffix for suffix, kind in FORMATS.items() if kind in ASTROPY_NAMES]
        raise UserError(f"{path}: a {what} is read from {', '.join(readable)}")
    if path.suffix.lower() in SPREADSHEETS:
        raise UserError(f"{path} is a spreadsheet: save it as csv there; a {what} is read from csv")
    try:
        if path.exists() and not path.is_file():  # a device or a pipe might never end
            raise UserError(f"{path} is not a file")
        if max_bytes is not None and path.stat().st_size > max_bytes:
            raise UserError(f"{path} has more than {max_bytes:,} bytes, too many for a {what}")
        packed = check_packing(path)
        if kind == "fits":
            return _read_fits(path, packed, wanted, notes)
        content = path.read_bytes()
        read = read_votable if kind == "votable" else read_text_table
        return read(gzip.decompress(content) if packed else content, wanted, notes)
    except UserError:
        raise
    except Exception as error:  # every format's reader raises its own kinds on files that are none
        form = "" if isinstance(error, OSError) and error.strerror else f" in the format of its suffix ({kind})"
        raise UserError(f"{path} cannot be read as a {what}{form}: {reason_of(error)}") from None


def _read_fits(path: Path, packed: bool, wanted: Wanted, notes: list[str]) -> Table:
    from astropy.io import fits
    from astropy.table import Column, Table

    size = _check_fits(path, packed)
    with without_warnings(), fits.open(path) as hdus:
        found = {}
        for i, hdu in enumerate(hdus):
            rows, width = (hdu.header.get(key, 0) for key in ("NAXIS2", "NAXIS1"))
            if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU)) and not isinstance(hdu, fits.CompImageHDU):
                if not 0 <= rows <= size or rows * width > size:
                    raise ValueError(
                        f"its header promises {counted(rows, 'row')} of {counted(width, 'byte')}, more than there are"
                    )
                found[i] = hdu.columns.names
        if not found:
            raise ValueError("it holds no table")
        best = choose(found, wanted)
        if len(found) > 1:
            notes.append(f"of its {len(found)} tables HDU {best} ({hdus[best].name or 'no name'}) is read")
        check_units(hdus[best].columns.units)
        table = Table.read(hdus[best], format="fits")
        if not all(isinstance(column, Column) for column in table.columns.values()):
            # Comments of astropy's make objects, such as SkyCoord, of columns: without them these are what they are.
            hdus[best].header.remove("COMMENT", ignore_missing=True, remove_all=True)
            table = Table.read(hdus[best], format="fits")
        return table


def _check_fits(path: Path, packed: bool) -> int:
    """Returns the (unpacked) bytes of a FITS file; ValueError if a header promises columns without end."""
    size, kept = 0, b""
    with gzip.open(path) if packed else path.open("rb") as file:
        while chunk := file.read(1 << 20):
            size += len(chunk)
            for found in re.finditer(rb"TFIELDS = *([^ /]+)", kept + chunk):
                if not re.fullmatch(rb"\+?\d{1,3}", found[1]):
                    raise ValueError(f"its header promises {found[1][:20].decode('latin-1')} columns")
            kept = chunk[-80:]
    return size


def column_name(prefix: str, name: str) -> str:
    """Returns the column of a class, such as prob_FRI; what is no letter or digit of any script becomes an underscore.

    Of a name that has none, such as +, the signs are called by their names.
    """
    kept = "".join(sign if sign.isascii() and sign.isalnum() or _is_letter(sign) else "_" for sign in name)
    if not kept.strip("_"):
        kept = "_".join(re.sub(r"[^A-Za-z]+", "_", unicodedata.name(sign, "sign")).lower() for sign in name)
    return f"{prefix}_{re.sub('_+', '_', kept)}"


def _is_letter(sign: str) -> bool:
    return not sign.isascii() and unicodedata.category(sign)[0] in "LMN"


def fits_name(name: str) -> str:
    """Returns the name of a column as FITS allows it: letters of other scripts become numbers, as in prob_u03b1."""
    return "".join(sign if sign.isascii() else f"u{ord(sign):04x}" for sign in name)


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
    table = table.copy()
    for name in table.colnames:
        if kind == "fits" and table[name].dtype.kind == "U":
            table[name] = to_ascii(table[name])
        if kind == "csv" and table[name].dtype.kind in "UO":
            table[name] = [safe_cell(value) for value in table[name].tolist()]
        if kind == "fits" and not name.isascii():
            table.rename_column(name, fits_name(name))
    if kind == "fits":
        table.meta = {key: to_ascii([value])[0].decode() for key, value in table.meta.items()}
    with atomic_write(path) as temporary, without_warnings():
        table.write(temporary, format=ASTROPY_NAMES[kind], overwrite=True)
