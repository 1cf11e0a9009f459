"""Fixtures of the fuzz tests."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from functools import cache

import pytest

from radgal.files import packing
from tests.fuzz.tools import fits_bytes


@cache
def packed(pack: Callable[[bytes], bytes]) -> bytes:
    """Returns a FITS file of 70 MB of zeros, packed small."""
    return pack(fits_bytes() + bytes(70 << 20))


@pytest.fixture(params=[gzip.compress, bz2.compress, lzma.compress], ids=lambda pack: pack.__module__)
def huge(request, monkeypatch) -> bytes:
    """A file of far more bytes than it has, where no more than 1 MB may be unpacked."""
    monkeypatch.setattr(packing, "MAX_RATIO", 2)
    monkeypatch.setattr(packing, "MAX_UNPACKED_BYTES", 1 << 20)
    return packed(request.param)
