"""Where published files lie on people's disks: unpacked already, renamed, gunzipped, in a folder of a folder.

Nothing is recognized by its name alone: whoever asks checks what is found.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

MAX_DEPTH = 4  # folders below the one that was named
MAX_FOLDERS, MAX_FILES = 2000, 50_000  # that are looked into
MAX_BYTES = 64 << 20  # of a file that is read; the largest published one has 4 MB
TAR_NAMES = (".tar", ".tar.gz", ".tgz")
TAR_MARK = slice(257, 262), b"ustar"


def files_below(place: Path) -> Iterator[tuple[Path, dict[str, os.DirEntry]]]:
    """Yields each folder, the nearest first, and its files by name; hidden ones are left out."""
    waiting, n_folders, n_files = [(place, 0)], 0, 0
    while waiting and n_folders < MAX_FOLDERS and n_files < MAX_FILES:
        folder, depth = waiting.pop(0)
        try:
            with os.scandir(folder) as entries:
                inside = sorted((one for one in entries if not one.name.startswith(".")), key=lambda one: one.name)
        except OSError:
            continue
        files = {one.name: one for one in inside if one.is_file()}
        n_folders, n_files = n_folders + 1, n_files + len(files)
        yield folder, files
        if depth < MAX_DEPTH:
            waiting += [(folder / one.name, depth + 1) for one in inside if one.is_dir()]


def named(place: Path, name: str) -> list[Path]:
    """Returns the files called ``name``: ``place`` itself, in ``place`` or one folder below, that order."""
    if place.name == name and place.is_file():
        return [place]
    try:
        return [path for path in (place / name, *sorted(place.glob(f"*/{name}"))) if path.is_file()]
    except OSError:
        return []


def find_unpacked(places: Iterable[Path], md5s: Mapping[str, str], names: Iterable[str]) -> list[bytes] | None:
    """Returns the bytes of files, in the order of ``names``, from the first folder that has all of them intact.

    Args:
        places: folders to look in, and below.
        md5s: name -> md5 that the file must have.
        names: of the wanted files.
    """
    names = list(names)
    for place in places:
        for folder, files in files_below(place):
            if not set(names) <= set(files) or any(files[name].stat().st_size > MAX_BYTES for name in names):
                continue
            try:
                contents = [(folder / name).read_bytes() for name in names]
            except OSError:
                continue
            if all(_md5(content) == md5s[name] for name, content in zip(names, contents, strict=True)):
                return contents
    return None


def candidates(place: Path, size: int) -> Iterator[Path]:
    """Yields files of so many bytes, and tar files that are not packed (any more); ``place`` itself if it is a file."""
    if place.is_file():
        yield place
    for folder, files in files_below(place):
        for name, entry in files.items():
            try:
                n_bytes = entry.stat().st_size
                if n_bytes == size or (
                    n_bytes <= MAX_BYTES and name.lower().endswith(TAR_NAMES) and is_tar(folder / name)
                ):
                    yield folder / name
            except OSError:
                continue


def is_tar(path: Path) -> bool:
    """Returns whether a file is a tar that is not packed."""
    with path.open("rb") as file:
        return file.read(512)[TAR_MARK[0]] == TAR_MARK[1]


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
