"""The process that unpacks compressed FITS images for ``images.unpacking``: what they can do, they do to it.

It gets requests on its standard input, a line of JSON each, and answers on its standard output in frames: a letter,
eight bytes that tell how long the content is, the content. "D" are the bytes of a FITS file in which nothing is
compressed, "E" says why there is none, "." ends an answer.

Where the system can fork, every file is read by a copy of this process, which ends with it: what a file has done to its
memory does nothing to the next one.
"""

from __future__ import annotations

import gc
import gzip
import io
import json
import math
import os
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits

from radgal.files.packing import is_gzip
from radgal.images.fitsheaders import BLOCK, compressed_shape, is_compressed_image, read_headers
from utils import UserError, reason_of, without_warnings

SLAB_PIXELS = 1 << 22  # unpacked at a time, if the tiles allow it
SPARE_BYTES = 256 << 20  # for what a slab of that size does not account for
BYTES_PER_PIXEL = 40  # of a slab on its way from packed bytes to float64
PATIENCE_S = 20  # for a slab
CAN_FORK = hasattr(os, "fork")


def serve() -> None:
    """Answers requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that asks
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a decoder prints is no answer

    def send(kind: bytes, content: bytes = b"", patience: int = 0) -> None:
        _set_alarm(0)  # who asks may take its time
        view = memoryview(kind + struct.pack("<q", len(content)) + content)
        while len(view):
            view = view[out.write(view) :]
        _set_alarm(patience)

    send(b".")
    gc.freeze()  # so that a copy has little to copy
    for line in sys.stdin.buffer:
        request = json.loads(line)
        work = partial(answer, Path(request["path"]), request["limit"], partial(send, patience=PATIENCE_S))
        if problem := _in_a_copy(work):
            send(b"E", problem)
        send(b".")


def _set_alarm(seconds: int) -> None:
    """Ends this process in so many seconds, where the system can, whatever a decoder does; 0: not."""
    if CAN_FORK:
        signal.alarm(seconds)


def _in_a_copy(work: Callable[[], None]) -> bytes:
    """Does ``work`` in a copy of this process, where there can be one; returns how that ended, b"" if it ended well."""
    if not CAN_FORK:
        work()
        return b""
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            _set_alarm(PATIENCE_S)
            work()
            os._exit(0)
        os._exit(1)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        return b"it keeps its decoder busy for longer than %d s" % PATIENCE_S
    return b"it makes its decoder crash" if status else b""


def answer(path: Path, limit: int, send: Callable[..., None]) -> None:
    """Sends one file unpacked, or why it cannot be."""
    try:
        with without_warnings(), path.open("rb") as stream:
            file: BinaryIO = stream
            if is_gzip(path):
                with gzip.open(stream) as unpacked:
                    file = io.BytesIO(unpacked.read(limit + 1))
            headers = _headers(file)
            _limit_memory(file, [header for header in headers if is_compressed_image(header)])
            file.seek(0)
            with fits.open(file, memmap=False, lazy_load_hdus=True) as hdus:
                for i, header in enumerate(headers):
                    if header.get("ZCMPTYPE") == "HCOMPRESS_1" and is_compressed_image(header):
                        _check_hcompress(file, i, header)
                    _send_hdu(hdus[i], header, i == 0, send)
    except MemoryError:
        send(b"E", b"it takes more memory than an image of its size may")
    except Exception as error:  # what astropy and the decoders raise depends on where a file is damaged
        said = str(error) if isinstance(error, UserError) else reason_of(error)
        send(b"E", said.encode("utf-8", "backslashreplace"))


def _headers(file: BinaryIO) -> list[Any]:
    """Returns the headers of a file, up to where it is damaged."""
    found = []
    with suppress(OSError):
        for header, _ in read_headers(file):
            found.append(header)
    return found


def _limit_memory(file: BinaryIO, packed: list[Any]) -> None:
    """Lets this process take no more memory than the file and the largest slab in it need, where Linux tells."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return
    import resource

    slab = max([SLAB_PIXELS, *(_slab_rows(header) * math.prod(compressed_shape(header)[:-1]) for header in packed)])
    now = int(statm.read_text().split()[0]) * resource.getpagesize()
    most = now + 3 * file.seek(0, io.SEEK_END) + SPARE_BYTES + BYTES_PER_PIXEL * slab
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _slab_rows(header: Any) -> int:
    """Returns how much of the slowest axis is unpacked at a time: whole tiles."""
    sides = compressed_shape(header)
    tile = min(header.get(f"ZTILE{len(sides)}", 1 if len(sides) > 1 else sides[0]), sides[-1])
    return max(1, SLAB_PIXELS // (math.prod(sides[:-1]) * tile)) * tile


def _send_hdu(hdu: Any, header: Any, is_first: bool, send: Callable[..., None]) -> None:
    """Sends an image as a plain one; of what is no image, an empty one that has its name."""
    shape = tuple(hdu.shape or ()) if hdu.is_image else ()
    if not shape or 0 in shape:
        send(b"D", _header(hdu.header, np.dtype(np.uint8), (), is_first))
        return
    rows = _slab_rows(header) if is_compressed_image(header) else max(1, SLAB_PIXELS // math.prod(shape[1:]))
    for start in range(0, shape[0], rows):
        part = np.asarray(hdu.data if rows >= shape[0] else hdu.section[start : start + rows])
        if part.shape != (min(rows, shape[0] - start), *shape[1:]):
            raise ValueError("its pixels are not as many as its header says")
        if start == 0:
            kind = np.dtype(">f4" if part.dtype.kind == "f" and part.dtype.itemsize == 4 else ">f8")
            send(b"D", _header(hdu.header, kind, shape, is_first))
        send(b"D", np.ascontiguousarray(part, dtype=kind).tobytes())
    send(b"D", bytes(-math.prod(shape) * kind.itemsize % BLOCK))


def _check_hcompress(file: BinaryIO, i: int, header: Any) -> None:
    """Raises ValueError for tiles that say they are larger than they may: their decoder writes all of them."""
    sides = compressed_shape(header)
    most = math.prod(min(header.get(f"ZTILE{i + 1}", 1 if i else side), side) for i, side in enumerate(sides))
    at = file.tell()
    file.seek(0)
    tables = fits.open(file, memmap=False, disable_image_compression=True)
    for tile in tables[i].data["COMPRESSED_DATA"]:
        start = np.asarray(tile)[:10].tobytes()
        if start and (len(start) < 10 or not 0 < math.prod(struct.unpack(">2x2i", start)) <= most):
            raise ValueError("a tile in it is larger than its header says")
    tables.close(closed=False)
    file.seek(at)


def _header(of: Any, kind: np.dtype, shape: tuple[int, ...], is_first: bool) -> bytes:
    """Returns the header of a plain image (NumPy's ``shape``) that says what another one says of the sky."""
    cards: list[tuple] = [("SIMPLE", True) if is_first else ("XTENSION", "IMAGE")]
    cards += [("BITPIX", 8 * kind.itemsize * (-1 if kind.kind == "f" else 1)), ("NAXIS", len(shape))]
    cards += [(f"NAXIS{i + 1}", side) for i, side in enumerate(reversed(shape))]
    cards += [("EXTEND", True)] if is_first else [("PCOUNT", 0), ("GCOUNT", 1)]
    others = of.copy(strip=True)
    for key in ("BSCALE", "BZERO", "BLANK", "CHECKSUM", "DATASUM", "ZIMAGE", "COMMENT", "HISTORY", ""):
        others.remove(key, ignore_missing=True, remove_all=True)
    plain = fits.Header(cards)
    plain.extend(others.cards, strip=False)
    return plain.tostring().encode("ascii")
