"""Fixtures of the fuzz tests."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pytest

from radgal.files import packing
from tests.fuzz.tools import fits_bytes


@pytest.fixture(params=[gzip.compress, bz2.compress, lzma.compress], ids=lambda pack: pack.__module__)
def huge(request, monkeypatch) -> bytes:
    """A FITS file of 70 MB of zeros, packed small, where no more than 1 MB may be unpacked."""
    monkeypatch.setattr(packing, "MAX_RATIO", 2)
    monkeypatch.setattr(packing, "MAX_UNPACKED_BYTES", 1 << 20)
    return request.param(fits_bytes() + bytes(70 << 20))
