"""VOTables: which of several tables is read, and what is refused before astropy makes room for it."""

from __future__ import annotations

import io

import pytest
from astropy.io.votable import from_table
from astropy.table import Table

from radgal.files.votables import read_votable
from tests.fuzz.tools import memory_limit, time_limit

POSITIONS = {"ra": [1.5, 2.5], "dec": [3.0, 4.0]}


def written(columns: dict, kind: str = "tabledata") -> str:
    stream = io.BytesIO()
    from_table(Table(columns)).to_xml(stream, tabledata_format=kind)
    return stream.getvalue().decode()


def test_of_several_tables_the_one_with_the_columns_is_read_by_name_or_id() -> None:
    other, text = written({"flux": [1.0]}), written(POSITIONS)
    table = text[text.index("<TABLE") : text.index("</TABLE>") + 8]
    both, notes = other.replace("</TABLE>", f"</TABLE>{table}"), []
    assert read_votable(both.encode(), [{"ra"}, {"dec"}], notes)["ra"].tolist() == [1.5, 2.5]
    assert notes == ["of its 2 tables number 2 (no name) is read"]
    assert read_votable(both.encode()).colnames == ["flux"]
    named = text.replace('ID="ra"', 'ID="col1"').replace('name="dec"', 'name="Declination"')
    assert read_votable(named.encode(), [{"ra"}, {"declination"}]).colnames == ["ra", "Declination"]
    assert read_votable(named.encode(), [{"col1"}, {"dec"}]).colnames == ["col1", "dec"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "latin-1 as declared"])
def test_encodings(encoding) -> None:
    text, notes = (
        written({"id": ["Zoe"], "ra": [1.0]})
        .replace("<TD>Zoe", "<TD>Zo\u00eb")
        .replace('datatype="char"', 'datatype="unicodeChar"'),
        [],
    )
    text = text.split("?>", 1)[1].lstrip()
    if "declared" in encoding:
        text = '<?xml version="1.0" encoding="iso-8859-1"?>' + text
    content = text.encode(encoding.split()[0])
    assert list(read_votable(content, notes=notes)["id"]) == ["Zo\u00eb"]
    assert notes == (["it is no UTF-8, so it is read as Latin-1"] if encoding == "latin-1" else [])


def test_an_old_document_type_is_no_harm() -> None:
    old = '<!DOCTYPE VOTABLE SYSTEM "http://us-vo.org/xml/VOTable.dtd">\n<VOTABLE'
    assert len(read_votable(written(POSITIONS).replace("<VOTABLE", old, 1).encode())) == 2


def stream(href: str) -> str:
    text = written(POSITIONS, "binary")
    return text[: text.index("<STREAM")] + f"<STREAM {href}/>" + text[text.index("</STREAM>") + 9 :]


def of_no_bytes(kind: str) -> str:
    text = written(POSITIONS, kind)
    return text.replace("<FIELD", '<FIELD arraysize="0"')


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (stream('href="file:///etc/hostname" encoding="gzip"'), "STREAM href 'file:///etc/hostname'.*not followed"),
        (stream('HREF="http://127.0.0.1:1/x"'), "STREAM href"),
        (stream('href="x.fits"').replace("STREAM ", "vot:STREAM "), "STREAM href|prefix"),
        (
            written(POSITIONS).replace("<TABLE", '<TABLE nrows="10000000000"', 1),
            "10,000,000,000 rows, more than it has bytes",
        ),
        (written(POSITIONS).replace("<TABLE", f'<TABLE nrows="{"9" * 5000}"', 1), "digits|rows"),
        (written(POSITIONS).replace("<FIELD", '<FIELD arraysize="1000x1000x1000"', 1), "rows take [0-9,]+ bytes each"),
        (written({"a": ["x"] * 900}).replace('arraysize="1"', 'arraysize="99999"'), "rows take [0-9,]+ bytes each"),
        (of_no_bytes("binary"), "no end"),
        (written(POSITIONS).replace("<VOTABLE", '<!DOCTYPE x [<!ENTITY a "b">]><VOTABLE', 1), "entity 'a'"),
        (
            written(POSITIONS).replace(
                "<VOTABLE", '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><VOTABLE', 1
            ),
            "entity",
        ),
        ("<VOTABLE/>", "holds no table"),
        ("", "no element"),
    ],
)
def test_what_is_elsewhere_or_larger_than_the_file_is_refused(content, said, monkeypatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: pytest.fail("an address was asked"))
    with time_limit(), memory_limit(), pytest.raises(Exception, match=said):
        read_votable(content.encode())


@pytest.mark.parametrize("kind", ["tabledata", "binary", "binary2"])
def test_whole_tables_of_every_kind_pass(kind) -> None:
    columns = {
        "name": ["a" * 300, ""] * 50,
        "x": [[1.0] * 9, [2.0] * 9] * 50,
        "n": [1, 2] * 50,
        "f": [True, False] * 50,
    }
    found = read_votable(written(columns, kind).encode())
    assert len(found) == 100 and found["x"].shape == (100, 9) and str(found["name"][0]) == "a" * 300
