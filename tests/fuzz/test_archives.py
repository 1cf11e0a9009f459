"""Archives and their batches of images, damaged: the published content, images that are some, or a UserError."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from radgal.data.base import read_batch
from radgal.data.frdeep import FRDEEPF
from radgal.files import archives
from tests.fuzz.tokens import PICKLE
from tests.fuzz.tools import Reader, each, fuzz, memory_limit, real_folder
from utils import UserError


def batch() -> bytes:
    images = [np.full(64, i, np.uint8) for i in range(5)]
    return pickle.dumps(
        {
            "batch_label": "1 of 1",
            "labels": [0, 1, 0, 1, 1],
            "data": images,
            "filenames": [f"{i}.png" for i in range(5)],
        },
        protocol=4,
    )


def check_batch(path: Path) -> None:
    images, labels, names = read_batch(path.read_bytes(), path.name, 8, 2)
    assert images.dtype == np.uint8 and images.shape == (len(names), 8, 8) and labels.shape == (len(names),)
    assert set(labels) <= {0, 1} and all(isinstance(name, str) for name in names)


def real_batch() -> bytes:
    """The test batch of FR-DEEP as it was published."""
    archive = FRDEEPF.archive
    with tarfile.open(real_folder() / "frdeep" / archive.name) as tar:
        return tar.extractfile(f"{archive.folder}/test_batch").read()


def check_real_batch(path: Path) -> None:
    images, labels, names = read_batch(path.read_bytes(), path.name, 150, 4)
    assert images.shape == (len(names), 150, 150) and labels.shape == (len(names),)


MEMBERS = {"data_batch_1": b"one" * 300, "test_batch": b"two" * 300}


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in MEMBERS.items():
            info = tarfile.TarInfo(f"folder/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def check_archive(path: Path) -> None:
    archive = archives.Archive(
        name=path.name,
        size=0,
        md5="",
        sha256="",
        folder="folder",
        files={name: hashlib.md5(content).hexdigest() for name, content in MEMBERS.items()},
    )
    root = path.parent / "out"
    try:
        archives.extract(path, archive, root)
        for name, content in MEMBERS.items():
            assert (root / "folder" / name).read_bytes() == content
    finally:
        for name in MEMBERS:
            (root / "folder" / name).unlink(missing_ok=True)
        for folder in (root / "folder", root):
            if folder.is_dir():
                folder.rmdir()


READERS = [
    Reader("batch", "", batch, check_batch, PICKLE),
    Reader("batch-real", "", real_batch, check_real_batch, PICKLE),
    Reader("archive", ".tar.gz", lambda: gzip.compress(tar(), mtime=0), check_archive),
    Reader(
        "archive-tar",
        ".tar.gz",
        tar,
        check_archive,
        (b"folder/", b"../", b"/", b"0000644", b"0", b"1", b"2", b"5", b"L", b"x", b"S"),
        lambda content: gzip.compress(content, mtime=0),
    ),
]


@each(READERS)
def test_damaged_files(reader: Reader, n_cases: int, tmp_path: Path) -> None:
    fuzz(reader, tmp_path, n_cases)


def test_a_pickle_of_ten_bytes_cannot_ask_for_gigabytes() -> None:
    with memory_limit(), pytest.raises(UserError, match="it numbers its 2,147,483,647th part"):
        read_batch(b"\x80\x02]r\xff\xff\xff\x7f.", "batch", 8, 2)
