"""Compressed FITS images (.fits.fz) unpacked by another process, which a file that lies can crash, fill or stop.

The decoders believe what a file says of itself: one that says less than it holds makes them write past their memory,
and one of a megabyte can ask for gigabytes. The process is kept for the files that follow, since to start one takes
longer than to read many cutouts.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from struct import unpack
from typing import BinaryIO

from radgal.files.packing import written_again
from utils import UserError


def unpack_images(path: Path, limit: int) -> BinaryIO:
    """Returns a FITS file in which no image is compressed, at its start; what is no image is empty there.

    Args:
        path: FITS file, also packed by gzip.
        limit: bytes, of what is returned.

    Raises:
        UserError: if that would be longer, or the file is damaged or lies.
    """
    child = _take()
    try:
        return written_again(lambda file: child.unpack(path, limit, file))
    finally:
        if child.is_ready:
            _idle.append(child)
        else:
            child.end()


class _Child:
    """A process that unpacks one file after another."""

    def __init__(self):
        # Isolated, since Python would otherwise look for its modules in the current folder, which may be a stranger's.
        program = f"import sys; sys.path[:] = {sys.path!r}; from radgal.images.unpackchild import serve; serve()"
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # it computes nothing
        )
        self.is_ready = self._receive()[0] == b"."
        if not self.is_ready:
            self.end()
            raise UserError("the process that unpacks compressed FITS images cannot be started")

    def unpack(self, path: Path, limit: int, file: BinaryIO) -> None:
        """Writes ``path`` unpacked into ``file``; see :func:`unpack_images`."""
        self.is_ready, size, problem = False, 0, ""
        with suppress(OSError):  # a process that has ended will not answer
            self.process.stdin.write(json.dumps({"path": os.path.abspath(path), "limit": limit}).encode() + b"\n")
            self.process.stdin.flush()
        while True:
            said, content = self._receive()
            size += len(content)
            if not said:
                raise UserError(f"{path} is refused: it makes its decoder crash")
            if said == b"E":
                problem = content.decode()
            elif size > limit:
                raise UserError(f"{path} is refused: it unpacks to more than {limit:,} bytes")
            elif said == b"D":
                file.write(content)
            else:
                break
        self.is_ready = said == b"."
        if problem:
            raise UserError(f"{path} cannot be read as a compressed FITS image: {problem}")

    def _receive(self) -> tuple[bytes, bytes]:
        """Returns the next frame of an answer; (b"", b"") if the process has ended."""
        head = self.process.stdout.read(9)
        n_bytes = unpack("<q", head[1:])[0] if len(head) == 9 else 0
        content = self.process.stdout.read(n_bytes)
        return (head[:1], content) if len(head) == 9 and len(content) == n_bytes else (b"", b"")

    def end(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                stream.close()


_idle: list[_Child] = []


def _take() -> _Child:
    """Returns a process that is not in use, a new one if there is none; one of another process is not touched."""
    while _idle:
        child = _idle.pop()
        if child.owner == os.getpid() and child.process.poll() is None:
            return child
    return _Child()


@atexit.register
def _end_all() -> None:
    for child in _idle:
        if child.owner == os.getpid():
            child.end()
