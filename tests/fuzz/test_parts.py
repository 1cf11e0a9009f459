"""Parts of a catalog, damaged: columns that are some, or a UserError."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from radgal.prediction import catalog
from tests.fuzz.tokens import NPY, NUMBERS
from tests.fuzz.tools import MANY, Reader, each, fuzz, memory_limit
from utils import UserError

COLUMNS = (catalog.Column("id", "text", None, "name"), catalog.Column("p", "number", None, "probability"))


def part() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, id=np.array(["a", "b", "c"]), p=np.array([0.1, 0.2, np.nan]))
    return stream.getvalue()


def part_array(name: str) -> tuple[Callable[[], bytes], Callable[[bytes], bytes]]:
    """Returns (what is in an array of the part, how to put other bytes in its place): the checksums hold."""

    def take() -> bytes:
        with zipfile.ZipFile(io.BytesIO(part())) as archive:
            return archive.read(name)

    def put(content: bytes) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(part())) as archive, zipfile.ZipFile(stream, "w") as result:
            for member in archive.namelist():
                result.writestr(member, content if member == name else archive.read(member))
        return stream.getvalue()

    return take, put


def parquet_part() -> bytes:
    pytest.importorskip("pyarrow", reason="pyarrow is an optional requirement")
    stream = io.BytesIO()
    from pyarrow import parquet

    columns = {"id": np.array(["a", "b", "c"]), "p": np.array([0.1, 0.2, np.nan])}
    parquet.write_table(catalog._to_arrow(COLUMNS, columns), stream)
    return stream.getvalue()


def check_part(path: Path) -> None:
    found = catalog.read_part(path, COLUMNS)
    assert found["id"].ndim == 1 and found["id"].dtype.kind == "U" and found["p"].dtype.kind == "f"
    assert found["id"].shape == found["p"].shape
    "".join(found["id"].tolist()).encode()


READERS = [
    Reader("part-npz", ".npz", part, check_part, NPY, n_slow=MANY),
    Reader("part-text", ".npz", part_array("id.npy")[0], check_part, NPY + NUMBERS, part_array("id.npy")[1]),
    Reader("part-numbers", ".npz", part_array("p.npy")[0], check_part, NPY + NUMBERS, part_array("p.npy")[1]),
    Reader(
        "part-parquet",
        ".parquet",
        parquet_part,
        check_part,
        (b"PAR1", b"id", b"p", b"ARROW:schema") + NUMBERS,
        n_slow=MANY,
    ),
]


@each(READERS)
def test_damaged_files(reader: Reader, n_cases: int, tmp_path: Path) -> None:
    fuzz(reader, tmp_path, n_cases)


def test_a_packed_part_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "part.npz").open("wb") as stream:
        np.savez_compressed(stream, id=np.zeros(10**4, "U1000"), p=np.zeros(10**4))
    assert (tmp_path / "part.npz").stat().st_size < 10**6
    with memory_limit(), pytest.raises(UserError, match="packed"):
        check_part(tmp_path / "part.npz")


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_one_bit_that_is_not_as_it_was_written_is_never_used(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is an optional requirement")
    path = tmp_path / f"part{suffix}"
    values = {"id": np.array([f"source {i}" for i in range(200)]), "p": np.linspace(0, 1, 200)}
    catalog.write_part(path, COLUMNS, values)
    whole, n_refused = path.read_bytes(), 0
    places = range(0, len(whole), len(whole) // 100)
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            found = catalog.read_part(path, COLUMNS)
        except UserError:
            n_refused += 1
            continue
        assert found["id"].tolist() == values["id"].tolist() and found["p"].tolist() == values["p"].tolist()
    assert n_refused > len(places) // 2


@pytest.mark.parametrize(
    ("texts", "packing", "said"),
    [
        (lambda pa: pa.array(["x"]).take(pa.array(np.zeros(10**6, np.int8))), "snappy", "1,000,000 rows, more than"),
        (
            lambda pa: pa.DictionaryArray.from_arrays(pa.array(np.zeros(9000, np.int32)), pa.array(["x" * 10**5])),
            "snappy",
            "its column id takes more than",
        ),
        (lambda pa: pa.array(["x" * 9000 + str(i) for i in range(9000)]), "zstd", "it says that it unpacks to"),
    ],
    ids=["rows", "texts", "packed"],
)
def test_a_parquet_part_of_far_more_than_its_bytes_is_refused(texts, packing, said, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an optional requirement")
    from pyarrow import parquet

    ids = texts(pyarrow)
    numbers = np.zeros(len(ids)) if "rows" in said else np.random.default_rng(1).random(len(ids))
    table = pyarrow.table({"id": ids, "p": numbers})
    parquet.write_table(table, tmp_path / "part.parquet", compression=packing)
    with memory_limit(), pytest.raises(UserError, match=said):
        check_part(tmp_path / "part.parquet")
