"""Tables of positions and labels, damaged or packed: rows that are some, or a UserError."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from radgal.data.imagetable import ImageTable, Use
from radgal.prediction.positions import read_positions
from tests.fuzz.tokens import CARDS, ECSV, NUMBERS, TABLE, VOTABLE
from tests.fuzz.tools import MANY, PIXELS, Reader, check_refusal, each, fuzz, memory_limit, time_limit
from utils import UserError


def positions(kind: str, tabledata: str = "tabledata") -> bytes:
    from astropy.table import Table

    table = Table({"id": ["00012", "b", "c,d"], "ra": [180.0, 10.5, 359.9], "dec": [30.0, -10.0, 89.0]})
    table["ra"].unit = table["dec"].unit = None if kind == "ascii.csv" else "deg"
    if kind in ("fits", "votable"):
        stream = io.BytesIO()
        table.write(stream, format=kind, **({"tabledata_format": tabledata} if kind == "votable" else {}))
        return stream.getvalue()
    text = io.StringIO()
    table.write(text, format=kind)
    return text.getvalue().encode()


def check_positions(path: Path) -> None:
    found = read_positions(path, dict.fromkeys(("ra", "dec", "id", "las")))
    assert found and all(type(number) is float for place in found for number in (place.ra_deg, place.dec_deg))


def labels(kind: str) -> bytes:
    from astropy.table import Table

    names = [f"{i}.png" for i in range(6)]
    table = Table({"path": names, "label": ["FRI", "FRII"] * 3, "split": ["train"] * 4 + ["test"] * 2})
    table["ra"], table["dec"] = np.linspace(1, 60, 6), np.linspace(-30, 30, 6)
    if kind == "fits":
        stream = io.BytesIO()
        table.write(stream, format=kind)
        return stream.getvalue()
    text = io.StringIO()
    table.write(text, format=kind)
    return text.getvalue().encode()


def check_labels(path: Path) -> None:
    for i in range(6):
        PillowImage.fromarray((PIXELS + 40 * i).astype(np.uint8)).save(path.parent / f"{i}.png")
    try:
        table = ImageTable(path, native_size=20, use=Use(imsize=20))
    finally:
        for i in range(6):
            (path.parent / f"{i}.png").unlink()
    assert table.data.shape == (len(table.names), 20, 20) and table.data.dtype == torch.uint8
    assert max(table.targets) < len(table.classes) and all(name.isprintable() for name in table.classes)


READERS = [
    Reader("positions-csv", ".csv", lambda: positions("ascii.csv"), check_positions, TABLE + NUMBERS),
    Reader("positions-ecsv", ".ecsv", lambda: positions("ascii.ecsv"), check_positions, ECSV + NUMBERS, n_slow=MANY),
    Reader("positions-fits", ".fits", lambda: positions("fits"), check_positions, CARDS + NUMBERS),
    Reader("labels-csv", ".csv", lambda: labels("ascii.csv"), check_labels, TABLE + NUMBERS),
    Reader("labels-ecsv", ".ecsv", lambda: labels("ascii.ecsv"), check_labels, ECSV + NUMBERS),
    Reader("labels-fits", ".fits", lambda: labels("fits"), check_labels, CARDS + NUMBERS),
    Reader(
        "positions-binary",
        ".vot",
        lambda: positions("votable", "binary2"),
        check_positions,
        VOTABLE + NUMBERS,
        n_slow=MANY,
    ),
    Reader("positions-votable", ".vot", lambda: positions("votable"), check_positions, VOTABLE + NUMBERS, n_slow=MANY),
]


@each(READERS)
def test_damaged_files(reader: Reader, n_cases: int, tmp_path: Path) -> None:
    fuzz(reader, tmp_path, n_cases)


def test_a_votable_that_expands_without_end_is_refused(tmp_path: Path) -> None:
    more = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    text = positions("votable").decode().replace("<VOTABLE", f'<!DOCTYPE x [<!ENTITY a0 "x">{more}]><VOTABLE', 1)
    (tmp_path / "a.vot").write_text(text.replace("<TD>00012", "<TD>&a11;"))
    with time_limit(), memory_limit(), pytest.raises(UserError, match="cannot be read as a catalog"):
        check_positions(tmp_path / "a.vot")


NESTED = "".join(f"# a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
ECSV_BOMBS = {
    "unit": ("# datatype:", f"# a0: &a0 [x]\n{NESTED}# datatype:", "unit: deg", "unit: *a39"),
    "name": ("# datatype:", f"# a0: &a0 [x]\n{NESTED}# datatype:", "name: ra", "name: *a39"),
    "number": ("# datatype:", f"# meta: {'1:' * 100_000}1\n# datatype:"),
    "digits": ("unit: deg", f"unit: {'1:' * 50_000}1"),
    "brackets": ("# datatype:", f"# meta: {'[' * 2000}\n# datatype:"),
    "depth": ("# datatype:", "".join(f"#{' ' * i}a:\n" for i in range(1, 500)) + "# datatype:"),
    "power": ("unit: deg", "unit: 10**99999999 deg"),
}


@pytest.mark.parametrize("bomb", ECSV_BOMBS)
def test_an_ecsv_header_without_end_is_refused(bomb: str, tmp_path: Path) -> None:
    text = positions("ascii.ecsv").decode()
    for old, new in zip(ECSV_BOMBS[bomb][::2], ECSV_BOMBS[bomb][1::2], strict=True):
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "a.ecsv").write_text(text)
    with time_limit(), memory_limit(), pytest.raises(UserError, match="no text|without end"):
        check_positions(tmp_path / "a.ecsv")


VOTABLE_BOMBS = {
    "attribute": ("<VOTABLE", f"<!DOCTYPE x [<!ATTLIST TD y CDATA '{'z' * 9999}'>]><VOTABLE", "gives a default"),
    "columns": ("<DATA>", "<FIELD name='x' datatype='int'/>" * 3000 + "<DATA>", "more than 2,000 columns"),
    "tables": ("<RESOURCE", "<RESOURCE>" + "<TABLE/>" * 3000 + "</RESOURCE><RESOURCE", "more than 1,000 tables"),
    "unit": ('unit="deg"', 'unit="10**99999999 deg"', "unit is"),
    "cds": ('unit="deg"', 'unit="10+99999999deg"', "unit is"),
    "precision": ('unit="deg"', 'unit="deg" precision="E99999999"', "precision is"),
}


@pytest.mark.parametrize("bomb", VOTABLE_BOMBS)
def test_a_votable_that_asks_for_work_without_end_is_refused(bomb: str, tmp_path: Path) -> None:
    old, new, said = VOTABLE_BOMBS[bomb]
    (tmp_path / "a.vot").write_text(positions("votable").decode().replace(old, new, 1))
    with time_limit(), memory_limit(), pytest.raises(UserError, match=said):
        check_positions(tmp_path / "a.vot")


def test_a_unit_without_end_is_refused_in_fits_and_csv_too(tmp_path: Path) -> None:
    from astropy.io import fits

    with fits.open(io.BytesIO(positions("fits"))) as hdus:
        hdus[1].header["TUNIT2"] = "10**99999999 deg"
        raw = hdus[1].header.tostring().encode() + positions("fits")[-2880:]
    (tmp_path / "a.fits").write_bytes(positions("fits")[:2880] + raw)
    (tmp_path / "a.csv").write_text("id,ra,dec\n,10**99999999 deg,deg\n--,--,--\na,1,2\n")
    for name in ("a.fits", "a.csv"):
        with time_limit(), pytest.raises(UserError, match="unit is '10"):
            check_positions(tmp_path / name)


def test_units_of_other_columns_may_be_what_they_are(tmp_path: Path) -> None:
    more = '<FIELD name="s" datatype="double" unit="1.4959787e11 W m**-2 Hz**-1"/><DATA>'
    text = positions("votable").decode().replace("<DATA>", more, 1)
    (tmp_path / "a.vot").write_text(text.replace("</TR>", "<TD>1</TD></TR>"))
    check_positions(tmp_path / "a.vot")


@pytest.mark.parametrize(
    ("head", "said"),
    [("," * 20_000, "20,003 columns, more than 10,000"), ("," * 9000, "with the blank ones its rows would have")],
)
def test_a_csv_of_blank_columns_takes_no_more_memory_than_it_has_bytes(head: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"id,ra,dec{head}\n" + "a,1,2\n" * 3000)
    with time_limit(), memory_limit(), pytest.raises(UserError, match=said):
        check_positions(tmp_path / "a.csv")


def test_tables_that_unpack_without_bound_are_refused(huge: bytes, tmp_path: Path) -> None:
    """Whatever its name, astropy would unpack what looks packed."""
    for name, read in (
        ("a.csv", check_positions),
        ("a.vot", check_positions),
        ("a.fits", check_labels),
        ("a.ecsv", check_labels),
    ):
        check_refusal(read, tmp_path / name, huge)
