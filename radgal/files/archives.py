"""Fetches published archives: finds or downloads them, checks them, takes out what is needed.

Nothing that comes from outside is trusted: a file counts only if its size, md5 (as published) and sha256
hold, and is written under a temporary name until they do. Two programs that start at once may both do the
work; each file appears by a rename, so neither ever sees half of one.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import logging
import re
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from radgal.files.lying import candidates, find_unpacked, is_tar, named
from radgal.progress import bar
from utils import UserError, atomic_write

log = logging.getLogger(__name__)

TIMEOUT_S = 20  # for the connection and for every read
CHUNK_BYTES = 1 << 16
MAX_UNPACKED_BYTES = 256 << 20  # the largest archive here unpacks to 29 MB,
MAX_RATIO = 200  # 44 times its size,
MAX_MEMBERS = 1000  # with 14 members
NO_DOWNLOAD_CONFIG = "configs/config_first_lenet.txt trains on real galaxies with no download at all."


@dataclass(frozen=True)
class Archive:
    """One published file: where it is, how it is recognized, what is taken out of it.

    Args:
        name: file name.
        size: bytes.
        md5: as published.
        sha256: of the file with that md5.
        urls: addresses, in the order they are tried.
        folder: folder inside the archive, and the one it becomes in the data folder.
        files: names in ``folder`` that are needed, with the md5 of each.
        advice: what a user can do where the file is not to be had.
    """

    name: str
    size: int
    md5: str
    sha256: str
    urls: tuple[str, ...] = ()
    folder: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    advice: str = NO_DOWNLOAD_CONFIG


_may_write: ContextVar[bool] = ContextVar("may_write", default=True)


class _Unusable(Exception):
    """One address gave no usable file; its text says why."""


def read_files(
    archive: Archive,
    names: Iterable[str],
    root: str | Path,
    download: bool = False,
    mirror: str | Path | None = None,
) -> list[bytes]:
    """Returns the checked bytes of files of an archive, in the order of ``names``.

    Files that lie in ``root``'s folder of that name already, also from another program, are used as they
    are if their md5 holds, and so are those that lie unpacked in any folder of ``root`` or ``mirror``; else the
    archive is found or downloaded and its files are put there, if anything can be written there.

    Args:
        archive: what to read.
        names: keys of ``archive.files``.
        root: data folder.
        download: whether the network may be used.
        mirror: folder (or archive file) to look in, or http(s) address to ask before the published ones.

    Raises:
        UserError: if the files cannot be had; the text says what was tried and what to do.
    """
    root, names = Path(root).expanduser(), list(names)
    contents, troubles = _read_checked(archive, names, root)
    if not troubles:
        return contents
    if (lying := find_unpacked(_folders(root, mirror), archive.files, names)) is not None:
        return lying
    if (root / archive.folder).exists():
        for trouble in troubles:
            log.warning("%s; taking it from %s again", trouble, archive.name)
    found = unpack(fetch(archive, root, download, mirror, troubles), archive)
    if _may_write.get():
        try:
            _put(found, archive, root)
        except UserError as error:
            log.warning("%s; until then the archive is unpacked anew each time", error)
    return [found[name] for name in names]


@contextmanager
def without_writing() -> Iterator[None]:
    """Inside, :func:`read_files` leaves data folders as they are: what is packed is unpacked in memory."""
    before = _may_write.set(False)
    try:
        yield
    finally:
        _may_write.reset(before)


def _read_checked(archive: Archive, names: list[str], root: Path) -> tuple[list[bytes], list[str]]:
    """Returns the contents and, where one does not hold, what is wrong (one entry if all are missing)."""
    folder = root / archive.folder
    if not folder.is_dir():
        return [], [f"{folder}: not there"]
    contents, troubles = [], []
    for name in names:
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            troubles.append(f"{folder / name} cannot be read ({error.strerror})")
            continue
        if _md5(content) != archive.files[name]:
            troubles.append(f"{folder / name} is damaged (its md5 is not {archive.files[name]})")
        contents.append(content)
    return contents, troubles


def fetch(
    archive: Archive,
    root: str | Path,
    download: bool = False,
    mirror: str | Path | None = None,
    troubles: Iterable[str] = (),
) -> Path:
    """Returns the path of the checked archive, found in ``root`` or ``mirror`` or downloaded into ``root``.

    A file in ``mirror`` is never changed; a damaged one in ``root`` is replaced once a good one has come.

    Args:
        archive, root, download, mirror: as for ``read_files``.
        troubles: what failed before, for the message.

    Raises:
        UserError: if it is nowhere to be had.
    """
    root, tried = Path(root).expanduser(), list(troubles)
    for place in _folders(root, mirror):
        found = named(place, archive.name)
        for path in found:
            problem = find_problem(path, archive)
            if problem is None:
                return path
            log.warning("%s is not used: %s", path, problem)
            tried.append(f"{path}: {problem}")
        if other := next((path for path in candidates(place, archive.size) if _is_it(path, archive)), None):
            log.warning("%s is taken for %s, as its checksums say", other, archive.name)
            return other
        if not found:
            tried.append(f"{place}: no {archive.name} in it or in a folder of it, under that name or another")

    urls = ([_address_in(str(mirror), archive.name)] if is_address(mirror) else []) + list(archive.urls)
    for url in urls if download else ():
        try:
            with atomic_write(root / archive.name) as part:
                _download(url, part, archive)
            return root / archive.name
        except _Unusable as error:
            tried.append(f"{url}: {error}")
    if urls and not download:
        tried.append("the network: not asked, because download is False (in [data]; of a trained run: --download)")
    raise UserError(
        f"{archive.name} is needed and could not be had. Tried:\n"
        + "".join(f"  - {line}\n" for line in tried)
        + f"Put {archive.name} ({archive.size:,} bytes, md5 {archive.md5}) into {root.resolve()}, or name "
        f"the folder that holds it with mirror (in [data]). {archive.advice}"
    )


def _folders(root: Path, mirror: str | Path | None) -> list[Path]:
    return [root] if mirror is None or is_address(mirror) else [root, Path(mirror).expanduser()]


def _is_it(path: Path, archive: Archive) -> bool:
    """Returns whether a file of another name is the archive, or that without its packing."""
    if find_problem(path, archive) is None:
        return True
    try:
        return bool(archive.files) and is_tar(path) and bool(unpack(path, archive))
    except (OSError, UserError):
        return False


def is_address(mirror: str | Path | None) -> bool:
    """Returns whether a mirror is an http(s) address, and not a folder."""
    return mirror is not None and re.match(r"https?://", str(mirror), re.IGNORECASE) is not None


def _address_in(mirror: str, name: str) -> str:
    return mirror if mirror.endswith("/" + name) else f"{mirror.rstrip('/')}/{name}"


def _download(url: str, part: Path, archive: Archive) -> None:
    """Writes the file at ``url`` to ``part`` and checks it; _Unusable if it is not the archive."""
    received = 0
    with bar(archive.size, archive.name, quiet=False, unit="B") as shown, part.open("wb") as file:
        for chunk in _receive(url):
            received += len(chunk)
            if received > archive.size:
                raise _Unusable(f"more than the {archive.size:,} bytes of the published file")
            file.write(chunk)
            shown.update(len(chunk))
    problem = find_problem(part, archive)
    if problem:
        raise _Unusable(problem)


def _receive(url: str) -> Iterator[bytes]:
    """Yields the bytes at ``url``; any network trouble is _Unusable (disk trouble is not seen here)."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "E2CNNRadGal"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            while chunk := response.read(CHUNK_BYTES):
                yield chunk
    except (OSError, http.client.HTTPException, ValueError) as error:
        is_wrapped = type(error) is urllib.error.URLError
        raise _Unusable(str(error.reason if is_wrapped else error) or type(error).__name__) from None


def find_problem(path: Path, archive: Archive) -> str | None:
    """Returns what tells the file from the published archive (size, md5, sha256), or None if it is that."""
    try:
        size = path.stat().st_size
        if size != archive.size:
            return f"incomplete or another file ({size:,} bytes, not {archive.size:,})"
        content = path.read_bytes()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if _md5(content) != archive.md5:
        return f"damaged (its md5 is not {archive.md5})"
    if hashlib.sha256(content).hexdigest() != archive.sha256:
        return f"forged (md5 right, but its sha256 is not {archive.sha256})"
    return None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def extract(path: Path, archive: Archive, root: Path) -> None:
    """Puts the needed files of a tar.gz into ``root / archive.folder``, leaving good ones there untouched.

    Raises:
        UserError: if the archive is damaged, unpacks to more than it may, holds a link, a device or a path
            that leaves the folder, or lacks a needed file; then nothing is written.
    """
    _put(unpack(path, archive), archive, root)


def _put(contents: Mapping[str, bytes], archive: Archive, root: Path) -> None:
    for name, content in contents.items():
        target = root / archive.folder / name
        if not (target.is_file() and _md5(target.read_bytes()) == archive.files[name]):
            with atomic_write(target) as part:
                part.write_bytes(content)


def unpack(path: Path, archive: Archive) -> dict[str, bytes]:
    """Returns the checked bytes of the needed files of a tar.gz by name; UserError as for :func:`extract`."""
    try:
        return _read_members(_decompress(path), archive)
    except UserError as error:
        raise UserError(f"{path} is refused: {error}") from None
    except Exception as error:  # gzip and tarfile raise many kinds on hostile input
        raise UserError(f"{path} cannot be unpacked ({error}); delete it and run again") from None


def _decompress(path: Path) -> bytes:
    limit = min(MAX_UNPACKED_BYTES, MAX_RATIO * path.stat().st_size)
    with path.open("rb") if is_tar(path) else gzip.open(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UserError(f"it unpacks to more than {limit:,} bytes")
    return content


def _read_members(content: bytes, archive: Archive) -> dict[str, bytes]:
    """Returns name -> checked bytes of the needed files in an uncompressed tar; nothing touches the disk."""
    wanted = {f"{archive.folder}/{name}": name for name in archive.files}
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        for count, member in enumerate(tar, start=1):
            parts = PurePosixPath(member.name).parts
            if member.name.startswith("/") or ".." in parts or "\\" in member.name or ":" in member.name:
                raise UserError(f"its path {member.name!r} leaves the folder")
            if not (member.isfile() or member.isdir()) or member.issparse():
                raise UserError(f"{member.name!r} is neither a plain file nor a folder")
            if count > MAX_MEMBERS:
                raise UserError(f"it has more than {MAX_MEMBERS} members")
            if member.isfile() and "/".join(parts) in wanted:
                found[wanted["/".join(parts)]] = tar.extractfile(member).read()
    for name, md5 in archive.files.items():
        if _md5(found.get(name, b"")) != md5:
            raise UserError(f"its {archive.folder}/{name} is {'damaged' if name in found else 'missing'}")
    return found
