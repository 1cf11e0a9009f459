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


def test_tables_that_unpack_without_bound_are_refused(huge: bytes, tmp_path: Path) -> None:
    """Whatever its name, astropy would unpack what looks packed."""
    for name, read in (
        ("a.csv", check_positions),
        ("a.vot", check_positions),
        ("a.fits", check_labels),
        ("a.ecsv", check_labels),
    ):
        check_refusal(read, tmp_path / name, huge)
