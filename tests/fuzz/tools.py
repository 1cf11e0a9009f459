"""What the fuzz tests share: damage, limits of time and memory, and a FITS file to damage.

Files of every kind that is read are damaged and forged, and must give a UserError or a result that is one, nothing
else. Each reader gets files that are whole, with bytes changed, taken out, repeated and put in, by hypothesis: 100
cases each by default, 500 or 2000 with ``-m slow``, the same ones every time.
"""

from __future__ import annotations

import io
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import DATA
from utils import UserError

QUICK, FEW, MANY = 50, 500, 2000  # cases: in the default suite, and in the slow one
LONGEST_S = 30
MOST_MB = 700
PIXELS = np.arange(40 * 40, dtype=np.uint32).reshape(40, 40) ** 2 % 251


class Hang(BaseException):
    """A reader that does not come back; no ``except Exception`` catches it."""


@contextmanager
def time_limit() -> Iterator[None]:
    """Ends what takes longer than ``LONGEST_S``, where the platform has timers."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise Hang(f"still reading after {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def memory_limit() -> Iterator[None]:
    """Fails if what is done takes more than ``MOST_MB`` of memory, and ends it long before the machine's is gone."""
    try:
        import resource
    except ImportError:  # not on Windows
        yield
        return

    def peak_mb() -> float:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)

    before, limits = peak_mb(), resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)
    assert peak_mb() - before < MOST_MB


@dataclass(frozen=True)
class Reader:
    """One way in. ``read`` gets a path and checks what it returns; ``tokens`` are what such files are made of."""

    name: str
    suffix: str
    make: Callable[[], bytes]
    read: Callable[[Path], None]
    tokens: tuple[bytes, ...] = ()
    wrap: Callable[[bytes], bytes] = bytes  # around the damaged bytes: a packing that would notice the damage
    n_slow: int = FEW  # cases in the slow suite


PLACES = st.integers(0, 2**16 - 1)
DAMAGE = st.one_of(
    st.tuples(st.just("flip"), PLACES, st.integers(0, 7)),
    st.tuples(st.just("write"), PLACES, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("insert"), PLACES, st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("token"), PLACES, st.integers(0, 99)),
    st.tuples(st.just("swap"), PLACES, st.integers(0, 9999)),
    st.tuples(st.just("delete"), PLACES, st.integers(1, 400)),
    st.tuples(st.just("repeat"), PLACES, st.integers(1, 400)),
    st.tuples(st.just("cut off"), PLACES, st.none()),
)


def damage(content: bytes, steps: list[tuple], tokens: tuple[bytes, ...]) -> bytes:
    """Returns ``content`` with damage; half of all places are in the first 600 bytes, where headers are."""
    for what, place, how in steps:
        span = len(content) + 1 if place % 2 else min(600, len(content) + 1)
        at = place // 2 * span // 2**15
        head, tail = content[:at], content[at:]
        if what == "flip" and tail:
            content = head + bytes([tail[0] ^ 1 << how]) + tail[1:]
        elif what == "write":
            content = head + how + tail[len(how) :]
        elif what == "insert":
            content = head + how + tail
        elif what == "token" and tokens:
            content = head + tokens[how % len(tokens)] + tail
        elif what == "swap" and tokens:
            old, new = tokens[how % len(tokens)], tokens[how // 100 % len(tokens)]
            content = head + tail.replace(old, new, 1) if old else content
        elif what == "delete":
            content = head + tail[how:]
        elif what == "repeat":
            content = head + tail[:how] + tail
        elif what == "cut off":
            content = head
    return content


def real_folder() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"published archives not found at {DATA}; set RADGAL_DATA to the folder that holds them")
    return DATA


def fits_bytes(codec: str | None = None) -> bytes:
    """A small cutout of integers with BZERO, BLANK and a WCS, in the second HDU; compressed, if a codec is named."""
    from astropy.io import fits
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---SIN", "DEC--SIN"], [180, 30], [20.5, 20.5]
    wcs.wcs.cdelt = [-5e-4, 5e-4]
    pixels, header = PIXELS.astype(np.int16), wcs.to_header()
    hdu = fits.CompImageHDU(pixels, header, compression_type=codec) if codec else fits.ImageHDU(pixels, header)
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, 7.0
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
    return stream.getvalue()


def derandomized(n_cases: int) -> settings:
    """Settings of hypothesis for so many cases, the same ones every time."""
    return settings(
        max_examples=n_cases, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )


def each(readers: list[Reader]) -> pytest.MarkDecorator:
    """Runs a test for every one of the readers, with few cases in the default suite and many in the slow one."""
    ways = [(one, n, mark) for one in readers for n, mark in ((QUICK, ()), (one.n_slow, pytest.mark.slow))]
    return pytest.mark.parametrize(
        "reader, n_cases", [pytest.param(one, n, marks=mark, id=f"{one.name}-{n}") for one, n, mark in ways]
    )


# How many cases: few by default, many with ``-m slow``.
def cases_from(n_quick: int):
    """Returns the mark of a test that takes so many cases in the default suite, and 500 in the slow one."""
    return pytest.mark.parametrize("n_cases", [n_quick, pytest.param(FEW, marks=pytest.mark.slow)])


cases = cases_from(QUICK)


def fuzz(reader: Reader, folder: Path, n_cases: int) -> None:
    """Damages the reader's file in ``n_cases`` ways and reads it; some must be refused, and nothing else be written."""
    whole = reader.make()
    path = folder / f"given{reader.suffix}"
    refused = 0

    @derandomized(n_cases)
    @given(st.lists(DAMAGE, min_size=1, max_size=4))
    def check(steps: list[tuple]) -> None:
        nonlocal refused
        path.write_bytes(reader.wrap(damage(whole, steps, reader.tokens)))
        with time_limit():
            try:
                reader.read(path)
            except UserError as error:
                refused += 1
                assert str(error).strip()
        assert [found.name for found in folder.iterdir()] == [path.name]

    path.write_bytes(reader.wrap(whole))
    reader.read(path)  # nothing is shown by refusing everything
    with memory_limit():
        check()
    assert refused > n_cases // 20


def check_refusal(read: Callable[[Path], object], path: Path, content: bytes) -> None:
    """Checks that a packed file is refused before it fills the memory."""
    path.write_bytes(content)
    with memory_limit(), pytest.raises(UserError, match="more than|not by gzip|cannot be read"):
        read(path)
