"""One reader of tables for all who read them, one list of suffixes, and what a table written here reads as."""

from __future__ import annotations

import csv
import gzip
import os
import re
from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table

from radgal.data.labeltable import read_labels
from radgal.files.cells import texts
from radgal.files.tables import ASTROPY_NAMES, FORMATS, column_name, fits_name, format_of, read_table, write_table
from radgal.prediction.catalog import WRITERS, read_part, write_catalog
from radgal.prediction.catalog import Column as CatalogColumn
from radgal.prediction.positions import COLUMNS, read_positions
from radgal.report.savedrun import read_csv as report_rows
from tests.fuzz.tools import memory_limit, time_limit
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
        ("page.csv", b"<!DOCTYPE html>\n<html>\n", "it is a web page; save it as csv"),
        ("a.reg", b"# Region file format: DS9 version 4.1\nfk5\ncircle(1,2,3)\n", "a region file of DS9"),
        ("a.tbl", b"\\fixlen = T\n|path|label|ra|dec|\n a b 1 2\n", "an IPAC table"),
        ("b.tbl", b"|path|label|ra|dec|\n a b 1 2\n", "an IPAC table"),
        (
            "a.mrt",
            b"Title: a\nTable: b\nByte-by-byte Description of file: t.txt\n---\n 1- 3 A3 --- ra x\n",
            "CDS or AAS",
        ),
        ("a.json", b'[{"path": "a", "ra": 1}]', "it is JSON"),
        ("fits.csv", b"SIMPLE  =                    T / a", "a FITS file, to be called .fits"),
        ("wide.csv", (HEAD + ROWS).encode("utf-16-le"), "zero bytes, so it is no text in UTF-8"),
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
    assert "column 'ra' cannot be read as degrees: its unit 'kg' is none" in findings.problems[0]
    (tmp_path / "case.csv").write_text("path,label,z,Z,Path\na,b,1,2,c\n")
    with pytest.raises(UserError, match="two columns 'path'"):
        read_labels(tmp_path / "case.csv")
    monkeypatch.setattr("radgal.data.labeltable.MAX_BYTES", 10)
    with pytest.raises(UserError, match="more than 10 bytes, too many for a table of images"):
        read_labels(tmp_path / "t.txt")


def test_what_masks_say_is_followed_in_ecsv_and_fits(tmp_path) -> None:
    table = Table({"id": ["p", "q"], "dec": [-2.0, 3.5]})
    table["ra"] = MaskedColumn([150.5, 1.0], mask=[False, True])
    for suffix, form in ((".ecsv", "ecsv"), (".fits", "fits")):
        table["ra"].info.serialize_method[form] = "data_mask"
        table.write(tmp_path / f"t{suffix}")
        first, (_, other) = as_positions(tmp_path / f"t{suffix}")
        assert first == ("p", (150.5, -2.0)) and np.isnan(other[0]) and other[1] == 3.5


def test_a_column_of_objects_is_read_as_the_columns_it_is_made_of(tmp_path) -> None:
    QTable({"id": ["a"], "pos": SkyCoord([150.5] * units.deg, [-2.0] * units.deg)}).write(tmp_path / "t.fits")
    with pytest.raises(UserError, match="no column 'ra'; did you mean 'pos.ra'"):
        as_positions(tmp_path / "t.fits")
    found = read_positions(tmp_path / "t.fits", dict.fromkeys(COLUMNS) | {"ra": "pos.ra", "dec": "pos.dec"})
    assert (found[0].ra_deg, found[0].dec_deg) == (150.5, -2.0)


NAMES = [
    ("ra", "dec"),
    ("RA", "DEC"),
    ("RAJ2000", "DEJ2000"),
    ("_RA", "_DE"),
    ("RAdeg", "DEdeg"),
    ("RA_ICRS", "DE_ICRS"),
]
NAMES += [("RA (J2000)", "Dec (J2000)"), ("ra_deg_cont", "dec_deg_cont"), ("Right Ascension", "Declination")]
NAMES += [("RA (deg) (ICRS)", "Dec [deg]"), ("ALPHA_J2000", "DELTA_J2000"), ("RAJ", "DECJ"), ("rA", "dEC")]


@pytest.mark.parametrize(("ra", "dec"), NAMES)
def test_the_usual_names_of_positions_are_known(tmp_path, ra, dec) -> None:
    (tmp_path / "c.csv").write_text(f"id;{ra};{dec}\na;150.5;-2\n")
    assert as_positions(tmp_path / "c.csv") == [("a", (150.5, -2.0))]


@pytest.mark.parametrize("content", ["id,ra,dec\na,1,2\n,3,4\n--,5,6\n", "id,ra,dec\na,1,2\nnull,3,4\nN/A,5,6\n"])
def test_rows_without_an_id_are_numbered_and_that_is_said(tmp_path, content) -> None:
    lines = []
    (tmp_path / "c.csv").write_text(content)
    found = read_positions(tmp_path / "c.csv", dict.fromkeys(COLUMNS), lines.append)
    assert [one.id for one in found] == ["a", "2", "3"] and "2 rows have no id" in lines[0]


def test_the_column_that_names_sources_is_proposed_as_id(tmp_path) -> None:
    for head, name in (
        ("Isl_id,Source_id,RA,DEC", "Source_id"),
        ("x,Name,ra,dec", "Name"),
        ("ident,y,ra,dec", "ident"),
    ):
        lines = []
        (tmp_path / "c.csv").write_text(f"{head}\n1,2,3,4\n")
        read_positions(tmp_path / "c.csv", dict.fromkeys(COLUMNS), lines.append)
        assert f"numbered from 1; name the column with --id-column (is it {name!r}?)" in lines[0]


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


def save_tables(path: Path, *tables: Table) -> Path:
    hdus = [fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((20, 20), np.int16)), *map(fits.table_to_hdu, tables)]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def test_of_several_fits_tables_the_one_with_the_columns_is_read(tmp_path) -> None:
    flux, where = Table({"flux": [1.0]}), Table({"RA": [1.5], "DEC": [2.5]}, units={"RA": "deg", "DEC": "deg"})
    notes = []
    path = save_tables(tmp_path / "t.fits", flux, where, Table({"ra": [9.0], "dec": [9.0]}))
    found = read_table(path, wanted=[{"ra"}, {"dec"}], notes=notes)
    assert (found.colnames, found["RA"][0]) == (["RA", "DEC"], 1.5)
    assert notes == ["of its 3 tables HDU 3 (no name) is read"]
    assert read_table(path).colnames == ["flux"]
    assert as_positions(save_tables(tmp_path / "one.fits", where)) == [("1", (1.5, 2.5))]
    with pytest.raises(UserError, match="it holds no table"):
        read_table(save_tables(tmp_path / "none.fits"))


@pytest.mark.parametrize(
    ("card", "value", "said"),
    [
        ("TFIELDS", "10000000000", "its header promises 10000000000 columns"),
        ("TFIELDS", "-1", "its header promises -1 columns"),
        ("NAXIS2", "1000000000000", "1,000,000,000,000 rows of 16 bytes, more than there are"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_fits_header_that_promises_too_much_is_refused(tmp_path, card, value, said, packed) -> None:
    path = save_tables(tmp_path / "t.fits", Table({"ra": [1.5], "dec": [2.5]}))
    content = path.read_bytes()
    at = content.rindex(f"{card:8}=".encode())
    content = content[: at + 10] + value.rjust(20).encode() + content[at + 30 :]
    path.write_bytes(gzip.compress(content) if packed else content)
    with time_limit(), memory_limit(), pytest.raises(UserError, match=said):
        as_positions(path)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("ra,dec,flux", "it has no column 'id', so its rows are numbered from 1; name the column with --id-column"),
        ("Name,ra,dec", r"rows are numbered from 1; name the column with --id-column \(is it 'Name'\?\)"),
        ("RAJ2000,DEJ2000,id", "ra is column 'RAJ2000'; dec is column 'DEJ2000'"),
        ("id,_RAJ2000,_DEJ2000", "ra is column '_RAJ2000'"),
        ("id,ra_hours,dec", None),
        ("ID,RA (deg),Dec (deg)", ""),
        ("id,ra,dec", ""),
    ],
)
def test_what_was_guessed_of_a_catalog_is_said(tmp_path, head, said) -> None:
    (tmp_path / "c.csv").write_text(f"{head}\n1,2,3\n")
    lines = []
    if said is None:
        with pytest.raises(UserError, match="no column 'ra'; did you mean 'ra_hours'"):
            read_positions(tmp_path / "c.csv", dict.fromkeys(COLUMNS))
        read_positions(tmp_path / "c.csv", dict.fromkeys(COLUMNS) | {"ra": "ra_hours"}, lines.append)
        said = "column 'ra_hours' is read in the unit of its name, hourangle"
    else:
        read_positions(tmp_path / "c.csv", dict.fromkeys(COLUMNS), lines.append)
    assert len(lines) == bool(said) and all(re.match(f".*c.csv: .*{said}", line) for line in lines)


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".vot", ".csv.gz", ".txt"])
@BOTH
def test_what_people_s_tables_hold_is_understood_by_all_who_read_tables(tmp_path, read, suffix) -> None:
    cells = {
        "path": ["a.png", "b.png"],
        "label": ["FRI", "FRII"],
        "id": ["Zo\u00eb", "b"],
        "ra": ["13:27:53.98", "nan"],
    }
    table = Table(cells | {"dec": ["+63 32 00", "--"]})
    kind = {".ecsv": "ascii.ecsv", ".vot": "votable"}.get(suffix, "ascii.csv")
    table.write(tmp_path / "plain", format=kind)
    content = (tmp_path / "plain").read_bytes()
    content = content.decode().encode("utf-8-sig") if suffix != ".csv.gz" else gzip.compress(content)
    (tmp_path / f"t{suffix}").write_bytes(content)
    (first, at), (other, nowhere) = read(tmp_path / f"t{suffix}")
    assert (first, other) == ("Zo\u00eb", "b") and at == pytest.approx((201.974917, 63.533333))
    assert nowhere is None or np.isnan(nowhere).all()


FORMULAS = ["=cmd|'/C calc'!A0", "@SUM(1)", "+cmd|'x'!A0", "-2+3+cmd|'x'", " =1", "'=1", "=", "-HYPERLINK(1)"]
HARMLESS = ["a", "", "-1.5", "+", "-", "-J0123+45", "+63.5", "a=b", "'s", "FR I (bent)", "1e-3"]


def test_no_cell_of_a_csv_is_one_that_a_spreadsheet_runs_and_each_is_read_as_it_was(tmp_path) -> None:
    names = FORMULAS + HARMLESS
    write_table(Table({"name": names, "p": np.arange(len(names))}), tmp_path / "t.csv")
    columns = (CatalogColumn("name", "text", None, ""), CatalogColumn("p", "number", None, ""))
    part = {"name": np.array(names), "p": np.arange(float(len(names)))}
    write_catalog(tmp_path / "c.csv", columns, lambda: iter([part]), len(names))
    for path in (tmp_path / "t.csv", tmp_path / "c.csv"):
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["name"] for row in rows] == [f"'{name}" for name in FORMULAS] + HARMLESS
        assert [row["name"] for row in report_rows(path)] == names
        assert texts(read_table(path)["name"]) == [name.strip() for name in names]


@pytest.mark.parametrize("suffix", [suffix for suffix, kind in FORMATS.items() if suffix not in (".fit", ".xml")])
def test_columns_of_classes_in_any_script_are_written_in_every_format(tmp_path, suffix) -> None:
    classes = ["\u03b1", "\u03b2", "\u4e00", "+", "-", "\u2160", "\u2161", "FR I", "100"]
    names = [column_name("prob", name) for name in classes]
    assert len(set(names)) == len(names) and names[-2:] == ["prob_FR_I", "prob_100"]
    assert names[3:5] == ["prob_plus_sign", "prob_hyphen_minus"]
    columns = [CatalogColumn(name, "number", None, f"of {one}") for name, one in zip(names, classes, strict=True)]
    part = {name: np.array([float(i)]) for i, name in enumerate(names)}
    write_catalog(tmp_path / f"c{suffix}", columns, lambda: iter([part]), 1)
    expected = [name if suffix != ".fits" else fits_name(name) for name in names]
    if suffix == ".parquet":
        assert list(read_part(tmp_path / f"c{suffix}", columns)) == names
        return
    found = read_table(tmp_path / f"c{suffix}")
    assert found.colnames == expected and [float(found[name][0]) for name in expected] == list(range(9))
    write_table(found, tmp_path / f"w{suffix}")
    assert read_table(tmp_path / f"w{suffix}").colnames == expected
