"""One reader of tables for all who read them, one list of suffixes, and what a table written here reads as."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from radgal.data.labeltable import read_labels
from radgal.files.cells import texts
from radgal.files.tables import ASTROPY_NAMES, FORMATS, format_of, read_table, write_table
from radgal.prediction.catalog import WRITERS
from radgal.prediction.positions import COLUMNS, read_positions
from utils import UserError

HEAD = "path,label,id,ra,dec\n"
ROWS = "a.png,FRI,00012,150.5,-2\nb.png,FRII,,10.25,3.5\n"


def as_labels(path: Path) -> list[tuple]:
    return [(row.name, row.position) for row in read_labels(path)[0]]


def as_positions(path: Path) -> list[tuple]:
    return [(one.id, (one.ra_deg, one.dec_deg)) for one in read_positions(path, dict.fromkeys(COLUMNS))]


BOTH = pytest.mark.parametrize("read", [as_labels, as_positions])


@BOTH
@pytest.mark.parametrize(
    "content",
    [
        (HEAD + ROWS).encode(),
        b"\xef\xbb\xbf" + (HEAD + ROWS).encode(),  # a byte-order mark, as Excel writes it
        b"# made by hand\n\n#\n" + (HEAD + ROWS).encode(),
        (HEAD + ROWS).replace("\n", "\r\n").encode() + b"\r\n,,,,\r\n",
        (HEAD.replace(",", " , ") + ROWS.replace(",", " , ").replace("150.5", '"150.5"')).encode(),
        gzip.compress((HEAD + ROWS).encode(), mtime=0),
    ],
    ids=["plain", "mark", "comments", "windows", "spaces", "packed"],
)
def test_a_csv_is_understood_by_all_who_read_tables(tmp_path, read, content) -> None:
    name = "t.csv.gz" if content[:2] == b"\x1f\x8b" else "t.csv"
    (tmp_path / name).write_bytes(content.replace(b'"150.5"', b"150.5"))
    (first, at), (_, other) = read(tmp_path / name)
    assert (first, at, other) == ("00012", (150.5, -2.0), (10.25, 3.5))


@BOTH
@pytest.mark.parametrize(
    "suffix", [suffix for suffix, kind in FORMATS.items() if kind in ASTROPY_NAMES and kind != "csv"]
)
def test_units_and_masked_cells_are_understood_in_every_format(tmp_path, read, suffix) -> None:
    table = Table({"path": ["a.png", "b.png", "c.png"], "label": ["FRI", "FRII", "FRI"], "id": ["x", "y", "z"]})
    mask = [False, False, True]
    table["RA"] = MaskedColumn(np.radians([150.5, 10.25, 0]), mask=mask, unit="rad")
    table["Dec"] = MaskedColumn([-2.0, 3.5, 0], mask=mask, unit="deg")
    table.write(tmp_path / f"t{suffix}", format=ASTROPY_NAMES[FORMATS[suffix]])
    for name in (f"t{suffix}", f"p{suffix}.gz"):
        if name.endswith(".gz"):
            (tmp_path / name).write_bytes(gzip.compress((tmp_path / f"t{suffix}").read_bytes()))
        found = read(tmp_path / name)
        assert [one for one, _ in found] == ["x", "y", "z"]
        assert [one for _, one in found[:2]] == [pytest.approx((150.5, -2.0)), pytest.approx((10.25, 3.5))]
        assert found[2][1] is None or np.isnan(found[2][1]).all()


@BOTH
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "cannot be read as a .*: it is empty"),
        ("comments.csv", b"# nothing\n", "it is empty"),
        ("ragged.csv", b"path,label,ra,dec\na,b,1,2\na,b\n", "row 2 has 2 cells, its head 4"),
        ("twice.csv", b"path,label,ra,dec,ra\na,b,1,2,3\n", "two columns 'ra'"),
        ("book.xlsx", b"PK\x03\x04 and more", "is a spreadsheet: save it as csv"),
        ("text.fits", b"no table", "cannot be read as a .* in the format of its suffix .fits.: "),
        ("packed.csv", b"PK\x03\x04 and more", "is packed, and not by gzip"),
        ("cut.csv", gzip.compress(b"path,label\n" * 99, mtime=0)[:-9], "cannot be read"),
        ("a.parquet", b"PAR1", "is read from .csv, .ecsv"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(tmp_path, read, name, content, said) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"(?s){name}.*{said}"):
        read(tmp_path / name)


@BOTH
def test_what_is_no_file_is_refused(tmp_path, read) -> None:
    with pytest.raises(UserError, match="absent.csv cannot be read as a .*: No such file"):
        read(tmp_path / "absent.csv")
    with pytest.raises(UserError, match="is not a file"):
        read(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.csv")
        with pytest.raises(UserError, match="pipe.csv is not a file"):
            read(tmp_path / "pipe.csv")


def test_a_table_of_images_is_bounded_and_its_units_must_be_angles(tmp_path, monkeypatch) -> None:
    (tmp_path / "t.txt").write_text(HEAD + ROWS)  # any suffix that says nothing is a csv's
    assert as_labels(tmp_path / "t.txt")[0] == ("00012", (150.5, -2.0))
    table = Table({"path": ["a"], "label": ["b"], "ra": [1.0], "dec": [2.0]}, units={"ra": "kg"})
    table.write(tmp_path / "t.ecsv")
    rows, _, findings = read_labels(tmp_path / "t.ecsv")
    assert "column 'ra' cannot be read as degrees: 'kg'" in findings.problems[0]
    (tmp_path / "case.csv").write_text("path,label,z,Z,Path\na,b,1,2,c\n")
    with pytest.raises(UserError, match="two columns 'path'"):
        read_labels(tmp_path / "case.csv")
    monkeypatch.setattr("radgal.data.labeltable.MAX_BYTES", 10)
    with pytest.raises(UserError, match="more than 10 bytes, too many for a table of images"):
        read_labels(tmp_path / "t.txt")


def test_what_other_programs_write_for_nothing_is_nothing() -> None:
    column = Table({"a": np.array(["x", "--", "nan", "None", " y "])})["a"]
    assert texts(column) == ["x", "", "", "", "y"]
    assert texts(Table({"a": [1.5, np.nan]})["a"]) == ["1.5", ""]
    assert texts(MaskedColumn([b"\xc3\xa9", b"b"], mask=[False, True])) == ["\u00e9", ""]


def test_every_suffix_has_a_writer_and_what_is_written_reads_the_same(tmp_path) -> None:
    assert set(FORMATS.values()) == set(WRITERS) > set(ASTROPY_NAMES)
    table = Table({"name": ["Zo\u00eb", "b"], "p": [0.1, 0.2]})
    for suffix, kind in FORMATS.items():
        path = tmp_path / f"t{suffix.upper()}"
        if kind not in ASTROPY_NAMES:
            with pytest.raises(UserError, match="tables can be written as .csv, .ecsv"):
                write_table(table, path)
            continue
        write_table(table, path)
        found = read_table(path)
        assert format_of(path) == kind
        assert texts(found["name"]) == [r"Zo\xeb" if kind == "fits" else "Zo\u00eb", "b"]
        assert [float(value) for value in texts(found["p"])] == [0.1, 0.2]
