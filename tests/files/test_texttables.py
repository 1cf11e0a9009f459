"""What people's programs call a csv: encodings, what parts the cells, comments, heads, units, several tables."""

from __future__ import annotations

import codecs

import pytest
from astropy.table import Table

from radgal.files.texttables import read_text_table

HEAD, ROWS = "id,ra,dec", ["00012,150.5,-2", "Zoë,10.25,3.5"]
WANTED = [{"ra"}, {"dec"}]


def read(content: str | bytes, wanted=WANTED) -> tuple[list[tuple], str, Table]:
    notes = []
    table = read_text_table(content.encode() if isinstance(content, str) else content, wanted, notes)
    return list(map(tuple, table.iterrows())), "; ".join(notes), table


EXPECTED = [("00012", "150.5", "-2"), ("Zoë", "10.25", "3.5")]


def joined(*lines: str) -> str:
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("latin-1", b""),
        ("cp1252", b""),
    ],
)
def test_encodings(encoding, mark) -> None:
    rows, said, _ = read(mark + joined(HEAD, *ROWS).encode(encoding))
    assert rows == EXPECTED
    assert ("it is no UTF-8, so it is read as Latin-1 (such as" in said) == (encoding in ("latin-1", "cp1252"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n", "\n{0}{0}\n"])
@pytest.mark.parametrize("parter", [",", ";", "\t", "|", " ", " , ", "   ", " \t "])
def test_what_parts_cells_and_lines(parter, end) -> None:
    rows, said, _ = read(end.format(parter).join([one.replace(",", parter) for one in (HEAD, *ROWS)]))
    assert rows == EXPECTED and said == ""


@pytest.mark.parametrize(
    ("above", "said"),
    [
        (["# made by hand", "", "#", HEAD], ""),
        (["# Doe's 5\" beam, x=1", HEAD], ""),
        ([f"# {HEAD}"], "its head is the comment '# id,ra,dec'"),
        ([f"#{HEAD}"], "its head is the comment"),
        (["# a title, with, commas", "#", f"## {HEAD}", "# id, of, rows"], "its head is the comment '## id,ra,dec'"),
        (["Sources of 2024,,", HEAD], "its head is the line 'id,ra,dec', and not its first line"),
        (["Sources of 2024", "", "by me", HEAD], "its head is the line"),
        ([HEAD, ",deg,deg"], "1 row of units and dashes"),
        ([HEAD, ",deg,deg", "-----,------,---"], "2 rows of units and dashes"),
        ([HEAD, "---,---------,---------"], "1 row of units and dashes"),
        ([HEAD, ":---,---:,:---:"], "1 row of units and dashes"),
        ([HEAD, ' ,"""h:m:s""",mJy/beam', "---,---,---"], "2 rows of units and dashes"),
        ([f"{HEAD},,"], ""),
        ([HEAD, "# left,out,here", "#", "# anything"], "3 lines that begin with # are left out"),
    ],
)
def test_heads(above, said) -> None:
    rows, found, _ = read(joined(*above, *ROWS))
    assert [row[:3] for row in rows] == EXPECTED
    assert found.startswith(said) if said else found == ""


@pytest.mark.parametrize("vector", [False, True])
def test_columns_that_comments_number(vector) -> None:
    """As in SExtractor's ASCII_HEAD, where a column of several values leaves out numbers."""
    n = 3 if vector else 1
    above = ["#   1 id     Running object number", "#   2 FLUX_APER    Flux [in rings]   [mJy]"]
    above += [f"#   {n + 2} ra     Right ascension (J2000)    [deg]", f"#   {n + 3} dec    Declination"]
    rows = [" ".join(["", one.split(",")[0], *"789"[:n], *one.split(",")[1:]]) for one in ROWS]
    found, said, table = read(joined(*above, *rows))
    assert [(row[0], *row[-2:]) for row in found] == EXPECTED and "comments above it number" in said
    assert [str(table[name].unit) for name in ("FLUX_APER", "ra", "dec")] == ["mJy", "deg", "None"]
    notes = ["# 1 first note, # 2", "# 2 second note", HEAD]
    assert read(joined(*notes, *ROWS))[:2] == (EXPECTED, "")


def test_units_are_those_of_the_columns() -> None:
    for lines in (["name;RA;Dec", " ;hourangle;deg", "---;---;---"], ["name,RA,Dec", ",hourangle,deg"]):
        assert [
            str(read(joined(*lines, "a;1;2".replace(";", lines[0][4])))[2][name].unit) for name in ("RA", "Dec")
        ] == ["hourangle", "deg"]


@pytest.mark.parametrize(
    ("rows", "n"),
    [
        (["h,d", "rad,deg"], 2),  # ids that are units, as no unit row has them all
        (["a.png,h", "b.png,d"], 2),
        (["--,--", "a,b"], 1),
        (["a,b", "--,--"], 2),
        (["#1,a", "#2,b"], 2),  # every row begins so: ids
        (["=x,a"], 1),
    ],
)
def test_rows_that_only_look_like_something_else_are_rows(rows, n) -> None:
    if rows[0] == "h,d":
        rows = ["h,d,1", "rad,deg,2"]
    found, _, _ = read(joined("id,label,x" if rows[0] == "h,d,1" else "id,label", *rows), [{"id"}, {"label"}])
    assert len(found) == n


def test_of_several_tables_the_one_with_the_columns_is_read() -> None:
    first = joined("#Table one", "recno;flux", " ;mJy", "-----;----", "1;2", "2;3")
    other = joined("", "#Table two", "Name;RA;Dec", " ;deg;deg", "----;---;---", "a;1;2", "b;3;4")
    last = joined("", "#Table three", "Name;z", " ; ", "----;---", "a;0.1")
    for content in (first + other, other + first, first + other + last):
        rows, said, table = read(content)
        assert rows == [("a", "1", "2"), ("b", "3", "4")] and str(table["RA"].unit) == "deg"
        assert "of its tables the one with the head 'Name;RA;Dec' is read" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is empty"),
        ("# nothing\n", "it is empty"),
        ("# id,ra,dec\n", "it has no rows"),
        ("ra,dec\n1\n", "row 1 has 1 cells, its head 2"),
        ("ra,dec\n1,2,3\n", "row 1 has 3 cells, its head 2"),
        ("ra,dec,ra\n1,2,3\n", "two columns 'ra'"),
    ],
)
def test_what_is_no_table_is_refused(content, said) -> None:
    with pytest.raises(ValueError, match=said):
        read(content)


def test_ecsv_keeps_its_texts_and_units_whatever_its_header_promises(tmp_path) -> None:
    table = Table({"id": ["00012", "a b", ""], "ra": [1.5, 2.5, 3.5], "flag": [True, False, True]}, units={"ra": "rad"})
    for parter in (" ", ","):
        table.write(tmp_path / "t.ecsv", delimiter=parter, overwrite=True)
        text = (tmp_path / "t.ecsv").read_text(encoding="utf-8")
        for content in (
            text.encode(),
            codecs.BOM_UTF8 + text.replace("a b", "ä b").encode(),
            text.replace("a b", "ä b").encode("latin-1"),
        ):
            rows, _, found = read(content, [{"ra"}])
            assert [row[1] for row in rows] == ["1.5", "2.5", "3.5"] and str(found["ra"].unit) == "rad"
            assert rows[0][0] == "00012" and rows[1][0] in ("a b", "ä b") and rows[2][0] == ""
    huge = text.replace("datatype: float64}", "datatype: string, subtype: 'float64[1000000,1000000]'}")
    assert huge != text and [row[1] for row in read(huge, [{"ra"}])[0]] == ["1.5", "2.5", "3.5"]
    with pytest.raises(ValueError, match="describes the columns id, ra, flag, but its head is id, dec"):
        read(text.replace("\nid,ra", "\nid,dec"), [{"ra"}])
    with pytest.raises(ValueError, match="more than 262,144 characters"):
        read(text.replace("# schema", "# meta: " + "x" * 2**20 + "\n# schema"))
