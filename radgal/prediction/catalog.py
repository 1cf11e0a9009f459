"""Catalogs of predictions: rows in parts, each written atomically, then one table in a format astronomers use.

A part is a dict of columns, name -> values of equal length. What a number column cannot say is NaN and what a text
column cannot say is '': both are blank, or null, in the table.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radgal.files.cells import safe_cell
from radgal.files.packing import MAX_RATIO, check_zip
from radgal.files.tables import FORMATS, fits_name, to_ascii
from utils import UserError, atomic_write, counted, reason_of, without_warnings

if TYPE_CHECKING:
    from astropy.table import Table

SMALL = 64 << 20  # bytes in memory that any file may take
Part = dict[str, np.ndarray]
PLACES, DIGITS = ("ra_deg", "dec_deg"), 6  # networks compute with 7 digits
NO_FLAG = -1  # stands for a blank where a format needs a number for it
PYARROW_MISSING = "parquet needs pyarrow: pip install pyarrow (or give --out another suffix, such as .csv)"


@dataclass(frozen=True)
class Column:
    """One column of a catalog.

    ``kind`` is 'text', 'number' (a float) or 'flag' (0 or 1, in parts as a float).
    """

    name: str
    kind: str
    unit: str | None
    description: str

    def blank(self, n: int) -> np.ndarray:
        """Returns n values that say nothing."""
        return np.full(n, "" if self.kind == "text" else np.nan, dtype="U1" if self.kind == "text" else np.float64)


def check_suffix(path: Path) -> None:
    """Raises a UserError if a catalog cannot be written under this name here."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--out {path}: a catalog is written as {', '.join(FORMATS)}; end its name in one of these")
    if path.suffix.lower() == ".parquet":
        _pyarrow()


def part_suffix(path: Path) -> str:
    """Returns the suffix of the parts of a catalog: parquet parts can be read as one table before they are one."""
    return ".parquet" if path.suffix.lower() == ".parquet" else ".npz"


def write_part(path: Path, columns: Sequence[Column], part: Part) -> None:
    """Writes one part atomically, as parquet or npz, whichever the suffix says."""
    with atomic_write(path) as temporary:
        if path.suffix == ".parquet":
            _pyarrow()[1].write_table(_to_arrow(columns, part), temporary, write_page_checksum=True)
        else:
            with temporary.open("wb") as stream:
                np.savez(stream, **{column.name: part[column.name] for column in columns})


def read_part(path: Path, columns: Sequence[Column]) -> Part:
    """Returns one part.

    Raises:
        UserError: if it is not such a part.
    """
    try:
        if path.suffix == ".parquet":
            part = _read_parquet(path, columns)
            _check_part(columns, part)
            return part
        check_zip(path)  # what is not packed takes no more memory than the file has bytes
        with np.load(path, allow_pickle=False) as content:
            part = {column.name: content[column.name] for column in columns}
        _check_part(columns, part)
        return part
    except UserError:
        raise
    except Exception as error:  # whatever a damaged file makes the readers raise
        raise UserError(f"{path} is damaged ({reason_of(error)}); --resume makes it again") from None


def _check_part(columns: Sequence[Column], part: Part) -> None:
    """Raises ValueError unless the columns are lists of texts and of floats, all of one length."""
    for column in columns:
        values = part[column.name]
        kind = "U" if column.kind == "text" else "f"
        if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind != kind:
            raise ValueError(f"its column {column.name} is no list of {column.kind}s")
        if kind == "U":
            "".join(values.tolist()).encode()  # an array may hold what is no text at all
    if len({len(values) for values in part.values()}) > 1:
        raise ValueError("its columns are not of one length")


def write_catalog(path: Path, columns: Sequence[Column], parts: Callable[[], Iterator[Part]], n_rows: int) -> None:
    """Writes the parts as one table in the format of the suffix, atomically.

    All formats but VOTable are written part by part, whatever the number of rows.

    Args:
        parts: starts reading the parts from the first; called once or twice.
        n_rows: of all parts together.
    """
    with atomic_write(path) as temporary:
        WRITERS[FORMATS[path.suffix.lower()]](temporary, columns, lambda: map(rounded, parts()), n_rows)


def rounded(part: Part) -> Part:
    """Returns a part with the digits that its numbers mean: positions to 7 decimals of a degree, others to 6 digits."""
    return {
        name: values if values.dtype.kind != "f" else np.round(values, 7) if name in PLACES else _to_digits(values)
        for name, values in part.items()
    }


def _to_digits(values: np.ndarray) -> np.ndarray:
    return np.array([float(f"{value:.{DIGITS}g}") for value in values.tolist()], dtype=np.float64)


def _write_csv(path: Path, columns: Sequence[Column], parts: Callable, n_rows: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(",".join(column.name for column in columns) + "\n")
        _append_rows(stream, columns, parts(), safe_cell)


def _write_ecsv(path: Path, columns: Sequence[Column], parts: Callable, n_rows: int) -> None:
    head = io.StringIO()
    empty = to_table(columns, {column.name: column.blank(0) for column in columns})
    empty.write(head, format="ascii.ecsv", delimiter=",")
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(head.getvalue())
        _append_rows(stream, columns, parts())


def _append_rows(
    stream, columns: Sequence[Column], parts: Iterable[Part], as_cell: Callable = lambda cell: cell
) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    for part in parts:
        values = [_cells(one, part[one.name].tolist(), as_cell) for one in columns]
        # NaN is the one value that is not equal to itself
        writer.writerows(["" if value != value else value for value in row] for row in zip(*values, strict=True))


def _cells(column: Column, values: list, as_cell: Callable) -> list:
    """Returns the cells of a column; flags are whole numbers."""
    if column.kind == "text":
        return [as_cell(text) for text in values]
    return [int(value) if value == value else value for value in values] if column.kind == "flag" else values


def _write_fits(path: Path, columns: Sequence[Column], parts: Callable, n_rows: int) -> None:
    """Writes the header of the whole table, then the rows of one part after another."""
    from astropy.io import fits

    texts = [column.name for column in columns if column.kind == "text"]
    width = dict.fromkeys(texts, 1)
    for part in parts():
        for name in texts:
            width[name] = max(width[name], to_ascii(part[name]).dtype.itemsize)

    def as_hdu(part: Part):
        narrow = {name: to_ascii(part[name]).astype(f"S{width[name]}") for name in texts}
        table = to_table(columns, part | narrow)
        table.rename_columns(table.colnames, [*map(fits_name, table.colnames)])
        return fits.table_to_hdu(table)

    with path.open("wb") as stream:
        fits.PrimaryHDU().writeto(stream)
        header = as_hdu({column.name: column.blank(1) for column in columns}).header
        header["NAXIS2"] = n_rows
        stream.write(header.tostring().encode("ascii"))
        n_bytes = header["NAXIS1"] * n_rows
        for part in parts():
            content = io.BytesIO()
            hdu = as_hdu(part)
            hdu.writeto(content)
            start = len(fits.PrimaryHDU().header.tostring()) + len(hdu.header.tostring())
            stream.write(content.getbuffer()[start : start + header["NAXIS1"] * hdu.header["NAXIS2"]])
        stream.write(b"\0" * (-n_bytes % 2880))


def _write_votable(path: Path, columns: Sequence[Column], parts: Callable, n_rows: int) -> None:
    with without_warnings():  # names of other scripts get IDs of their own
        join_parts(columns, list(parts())).write(path, format="votable", overwrite=True)


def _write_parquet(path: Path, columns: Sequence[Column], parts: Callable, n_rows: int) -> None:
    _, parquet = _pyarrow()
    schema = _to_arrow(columns, {column.name: column.blank(0) for column in columns}).schema
    with parquet.ParquetWriter(path, schema) as writer:
        for part in parts():
            writer.write_table(_to_arrow(columns, part))


def to_table(columns: Sequence[Column], part: Part) -> Table:
    """Returns a part as an astropy Table with units and descriptions; numbers and flags are masked where NaN."""
    from astropy.table import Column as PlainColumn
    from astropy.table import MaskedColumn, Table

    table = Table()
    for column in columns:
        values = part[column.name]
        about = {"unit": column.unit, "description": column.description}
        blank = column.kind != "text" and np.isnan(values)
        if column.kind == "flag":
            values = np.where(blank, NO_FLAG, values).astype(np.int16)
        if np.any(blank):
            fill = {"fill_value": NO_FLAG} if column.kind == "flag" else {}
            table[column.name] = MaskedColumn(values, mask=blank, **fill, **about)
        else:
            table[column.name] = PlainColumn(values, **about)
    return table


def join_parts(columns: Sequence[Column], parts: Sequence[Part]) -> Table:
    """Returns parts as one astropy Table."""
    return to_table(columns, {one.name: np.concatenate([part[one.name] for part in parts]) for one in columns})


def _to_arrow(columns: Sequence[Column], part: Part):
    pyarrow, _ = _pyarrow()
    kinds = {"text": pyarrow.string(), "number": pyarrow.float64(), "flag": pyarrow.int16()}
    fields, arrays = [], []
    for column in columns:
        values = part[column.name]
        about = {"description": column.description} | ({"unit": column.unit} if column.unit else {})
        missing = values == "" if column.kind == "text" else np.isnan(values)
        fields.append(pyarrow.field(column.name, kinds[column.kind], metadata=about))
        cells = np.where(missing, NO_FLAG, values).astype(np.int16) if column.kind == "flag" else values
        arrays.append(pyarrow.array(cells.tolist(), type=kinds[column.kind], mask=missing))
    return pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields))


def _read_parquet(path: Path, columns: Sequence[Column]) -> Part:
    """Returns the columns of a Parquet file, once its own account of it fits the file's size.

    Raises:
        ValueError: if it says that it has more rows than bytes, or would grow without bound.
    """
    _, parquet = _pyarrow()
    size, texts = path.stat().st_size, [column.name for column in columns if column.kind == "text"]
    with parquet.ParquetFile(path, read_dictionary=texts, page_checksum_verification=True) as file:
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        n_rows = max(file.metadata.num_rows, sum(group.num_rows for group in groups))
        if n_rows > size:
            raise ValueError(f"it says that it has {counted(n_rows, 'row')}, more than it has bytes")
        if (n_bytes := sum(group.total_byte_size for group in groups)) > (most := max(SMALL, MAX_RATIO * size)):
            raise ValueError(f"it says that it unpacks to {n_bytes:,} bytes")
        table = file.read([column.name for column in columns])
    return {column.name: _from_arrow(column, table[column.name], most) for column in columns}


def _from_arrow(column: Column, values, most: int) -> np.ndarray:
    """Returns a column of Parquet; of texts, which repeat there at no cost, at most so many bytes."""
    if column.kind != "text":
        return values.to_numpy().astype(np.float64)
    found = []
    for chunk in values.chunks:
        known = [text or "" for text in chunk.dictionary.to_pylist()]
        found += ["" if i is None else known[i] for i in chunk.indices.to_pylist()]
    if 4 * len(found) * max(map(len, found), default=0) > most:
        raise ValueError(f"its column {column.name} takes more than {most:,} bytes")
    return np.array(found, dtype=str) if found else column.blank(0)


def _pyarrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(PYARROW_MISSING) from None
    return pyarrow, pyarrow.parquet


WRITERS = {
    "csv": _write_csv,
    "ecsv": _write_ecsv,
    "fits": _write_fits,
    "votable": _write_votable,
    "parquet": _write_parquet,
}


def remove_parts(folder: Path) -> None:
    """Removes the folder of parts, once the catalog that was made of them is written.

    The record of the request goes last: without it, parts that were left would pass for those of any request.
    """
    last = ["request.json", "ready.json"]
    for path in sorted(folder.glob("*"), key=lambda path: last.index(path.name) if path.name in last else -1):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
