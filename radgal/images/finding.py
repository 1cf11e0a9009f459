"""Which files are meant by a folder, a pattern or a name, and what is left out of a folder."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from radgal.images.reading import SUFFIXES, is_image_name
from utils import UserError, counted, nearest_path

PACKINGS = (".gz", ".fz", ".bz2", ".xz", ".zst", ".z", ".zip")
KINDS_SHOWN = 6
NO_IMAGES = frozenset(
    ".txt .md .rst .csv .tsv .dat .ecsv .vot .votable .xml .parquet .json .yaml .yml .toml .ini .cfg .log .html .htm "
    ".css .js .pdf .ps .doc .docx .xls .xlsx .ods .tex .bib .py .ipynb .sh .reg .sha256 .md5 .pt".split()
)
"""Suffixes of texts, tables and programs, which nobody expects to be read as images."""
PAPERS = ("README", "LICENSE", "COPYING", "TERMS", "SHA256SUMS", "MD5SUMS", "Makefile")


def find_images(
    places: str | Path | Iterable[str | Path], say: Callable[[str], object] = lambda text: None
) -> list[Path]:
    """Returns the images that files, folders (with what is below them) and patterns name: sorted, each once.

    Links to folders are followed, each folder once. Files that are named themselves are returned whatever their
    suffix; reading them may fail.

    Args:
        places: files, folders and patterns.
        say: gets a line on what a folder holds besides images.

    Raises:
        UserError: for a place that is not there, or that holds no image.
    """
    found: dict[Path, Path] = {}
    for place in [places] if isinstance(places, (str, Path)) else places:
        path, others = Path(place).expanduser(), ""
        if path.is_dir():
            matches, others = _in_folder(path)
        elif path.exists():
            matches = [path]
        elif glob.has_magic(str(place)):
            matches = [p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file()]
        elif path.is_symlink():
            raise UserError(f"{place} is a link to {os.readlink(path)}, which is not there")
        else:
            raise UserError(f"there is no file or folder {place}{nearest_path(place)}")
        if not matches:
            raise UserError(f"{place} holds no images ({SUFFIXES})" + (f": {others}" if others else ""))
        if others:
            say(f"{place}: {others}")
        for match in matches:
            found.setdefault(match.resolve(), match)
    return sorted(found.values(), key=str)


def _in_folder(folder: Path) -> tuple[list[Path], str]:
    """Returns the images in a folder and below it, and what is to be said of its other files ('': nothing).

    Texts and tables beside images are not worth a word; of a folder without images all is told that it holds.
    """
    images, others, expected, closed = [], Counter(), Counter(), []
    for path in _files(folder, closed):
        if is_image_name(Path(path.name)):
            images.append(path)
        else:
            others[_kind(path)] += 1
            if path.suffix.lower() in NO_IMAGES or path.name in PAPERS:
                expected[_kind(path)] += 1
    others = others - expected if images else others
    said = []
    if n := sum(others.values()):
        kinds = [
            f"{others[kind]} {kind}" for kind in sorted(others, key=lambda kind: (-others[kind], kind))[:KINDS_SHOWN]
        ]
        more = ", ..." if len(others) > KINDS_SHOWN else ""
        what = "files are no images that are read" if n > 1 else "file is no image that is read"
        said.append(f"{n} {what} ({', '.join(kinds)}{more})")
    if closed:
        said.append(f"{counted(len(closed), 'folder')} cannot be opened ({closed[0]} first)")
    return images, "; ".join(said)


def _files(folder: Path, closed: list[str]) -> Iterator[Path]:
    """Yields all files but hidden ones; folders that are links come last, so that a file has its own name first."""
    waiting, seen = [str(folder)], set()
    while waiting:
        links = []
        for place, folders, names in os.walk(waiting.pop(0), onerror=lambda error: closed.append(str(error.filename))):
            here = os.stat(place)
            if (here.st_dev, here.st_ino) in seen:
                folders.clear()
                continue
            seen.add((here.st_dev, here.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            links += [path for name in folders if os.path.islink(path := os.path.join(place, name))]
            yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))
        waiting += links


def _kind(path: Path) -> str:
    suffixes = path.suffixes[-2:] if path.suffix.lower() in PACKINGS else path.suffixes[-1:]
    return "".join(suffixes).lower() or "without a suffix"


def seen_from(path: Path, folder: Path) -> str:
    """Returns the path as seen from ``folder``; as it is on the whole machine where there is no way between them."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive
        return path.resolve().as_posix()
