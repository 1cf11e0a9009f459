"""VOTables from people who are not known: looked through before astropy reads them.

astropy follows links out of a VOTable (to files and addresses) and makes room for as many rows and values as the file
says it has; neither is wanted.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from xml.parsers import expat

from radgal.files.angles import check_units
from radgal.files.packing import MAX_RATIO
from radgal.files.texttables import Wanted, choose
from utils import counted, without_warnings

if TYPE_CHECKING:
    from astropy.table import Table

MOST_TABLES, MOST_FIELDS, LONGEST_NUMBER = 1000, 2000, 4
SMALL = 64 << 20  # bytes in memory that any file may take
BYTES = {"boolean": 1, "bit": 1, "unsignedbyte": 1, "short": 2, "int": 4, "float": 4, "char": 4, "unicodechar": 4}


def read_votable(content: bytes, wanted: Wanted = (), notes: list[str] | None = None) -> Table:
    """Returns the table of a VOTable that has the wanted columns, or else its first.

    Columns are called by their names; by their IDs if only those are what is wanted.

    Args:
        content: of the file, unpacked.
        wanted: for each column that must be there, its names in lower case.
        notes: gets a sentence on what was chosen.

    Raises:
        ValueError: if it refers to other files, or asks for more memory than its size explains.
        Exception: what astropy raises for a file that is no VOTable.
    """
    from astropy.io import votable

    content = _as_utf8(content, notes)
    check_votable(content)
    with without_warnings():
        tables = list(votable.parse(io.BytesIO(content)).iter_tables())
        if not tables:
            raise ValueError("it holds no table")
        names = {(i, True): [field.name for field in table.fields] for i, table in enumerate(tables)}
        names |= {(i, False): [field.ID for field in table.fields] for i, table in enumerate(tables)}
        i, by_name = choose(names, wanted)
        if len(tables) > 1 and notes is not None:
            notes.append(f"of its {len(tables)} tables number {i + 1} ({tables[i].name or 'no name'}) is read")
        return tables[i].to_table(use_names_over_ids=by_name)


def _as_utf8(content: bytes, notes: list[str] | None) -> bytes:
    """Returns what is no UTF-8 though it says nothing else, which is no XML, from Latin-1; all else as it is."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or re.match(rb"[^>]*encoding=[\"'](?!utf-?8)", content, re.IGNORECASE):
        return content
    try:
        content.decode()
    except UnicodeDecodeError:
        if notes is not None:
            notes.append("it is no UTF-8, so it is read as Latin-1")
        return content.decode("latin-1").encode()
    return content


def check_votable(content: bytes) -> None:
    """Raises ValueError if a VOTable follows links, defines entities, or asks for far more memory than it has bytes."""
    look = _Look(len(content))
    parser = expat.ParserCreate()
    parser.StartElementHandler = look.start
    parser.EntityDeclHandler = look.entity
    parser.AttlistDeclHandler = look.default
    parser.Parse(content, True)


class _Look:
    """What is known of the table that a parser is in."""

    def __init__(self, size: int):
        self.size, self.limit = size, max(SMALL, MAX_RATIO * size)
        self.tables = self.fields = 0  # so far, and of the table
        self.promised = self.rows = 0  # rows as it says, and as they were counted
        self.width = self.stored = 0  # bytes of a row in memory, and at least in the file

    def entity(self, name: str, *_: object) -> None:
        raise ValueError(f"it defines the entity {name[:40]!r}, which no table needs")

    def default(self, name: str, attribute: str, *_: object) -> None:
        raise ValueError(f"it gives a default to the attribute {attribute[:40]!r}, which no table needs")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        tag = name.rpartition(":")[2].upper()
        if tag == "TR":
            self.rows += 1
            self.check()
        elif method := _TAGS.get(tag):
            method(self, {key.lower(): value for key, value in attributes.items()})

    def table(self, attributes: dict[str, str]) -> None:
        self.rows = self.width = self.stored = self.fields = 0
        self.tables += 1
        if self.tables > MOST_TABLES:
            raise ValueError(f"it has more than {MOST_TABLES:,} tables")
        self.promised = int(attributes.get("nrows", 0))
        if self.promised > self.size:
            raise ValueError(f"it says that it has {counted(self.promised, 'row')}, more than it has bytes")

    def field(self, attributes: dict[str, str]) -> None:
        self.fields += 1
        if self.fields > MOST_FIELDS:
            raise ValueError(f"it has a table of more than {MOST_FIELDS:,} columns")
        for key in ("unit", "precision", "width"):
            if key == "unit":
                check_units([attributes.get(key)])
            elif len(said := attributes.get(key, "")) > LONGEST_NUMBER:
                raise ValueError(f"a column's {key} is {said[:40]!r}, which takes without end to read")
        sides = [int(side) for side in re.findall(r"\d+", attributes.get("arraysize", "1"))]
        n = 1
        for side in sides:
            n *= side
        one = BYTES.get(attributes.get("datatype", "").lower(), 16)
        varies = "*" in attributes.get("arraysize", "")
        self.width += 16 if varies else n * one
        self.stored += 4 if varies else n
        self.check()

    def check(self) -> None:
        if max(self.rows, self.promised, 1) * self.width > self.limit:
            raise ValueError(f"its rows take {self.width:,} bytes each, far more than the file has for them")

    def binary(self, attributes: dict[str, str]) -> None:
        if not self.stored:
            raise ValueError("its rows take no bytes, so that there is no end to them")

    def stream(self, attributes: dict[str, str]) -> None:
        if "href" in attributes:
            raise ValueError(
                f"its rows are elsewhere (STREAM href {attributes['href'][:80]!r}), and that is not followed"
            )


_TAGS: dict[str, Callable[[_Look, dict[str, str]], None]] = {
    "TABLE": _Look.table,
    "FIELD": _Look.field,
    "BINARY": _Look.binary,
    "BINARY2": _Look.binary,
    "STREAM": _Look.stream,
}
