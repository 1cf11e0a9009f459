"""What the name of a source says of it: the one place where names are read.

Three kinds of names are known:

- MiraBest, class_RA+Dec_redshift_size: ``100_162.947+055.386_0.0739_0250.34``.
- FIRSTGalaxyData, RA_Dec_label_catalog: ``116.785_17.291_0_MiraBest``.
- FR-DEEP, class_number with a letter or a catalog: ``FRI_13_FRICAT_FR1``, ``FRII_302a``. It says nothing that is read
  here.

Names of one's own files are taken for one of these only if the position stands in them as there, with decimals: so
``102_0001_0.5_80.fits`` is no MiraBest source.
"""

from __future__ import annotations

import math
import re
from typing import TypedDict

from radgal.data.crossmatch import Position

Source = tuple[str, Position | None]  # its name and, where it is known, its position

_SUFFIXES = re.compile(r"(\.(png|jpe?g|npy|fits?|fts|[gf]z))+$", re.IGNORECASE)
_DEGREES = r"[0-9]+\.[0-9]+"
_MIRABEST = re.compile(
    rf"(?P<code>[^_]*)_(?P<ra>{_DEGREES})(?P<dec>[+-]{_DEGREES})(_(?P<redshift>[^_]*)(_(?P<size>[^_]*)(_.*)?)?)?"
)
_FIRST_GALAXY = re.compile(rf"(?P<ra>{_DEGREES})_(?P<dec>[+-]?{_DEGREES})_[0-9]+_[^_]+")


class SourceFacts(TypedDict):
    """What a name says; a number that it does not say is NaN."""

    class_code: str  # of MiraBest, three digits; '' if it is not said
    ra_deg: float  # J2000
    dec_deg: float
    redshift: float
    las_arcsec: float  # largest angular size


def parse_source_name(name: str) -> SourceFacts:
    """Returns what the name of a source says of it.

    Args:
        name: as above; a folder before it and suffixes (.png, .fits.gz) after it are allowed.

    Returns:
        Each part is read for itself: what is missing, malformed or out of range is NaN, or ''.
    """
    stem = _SUFFIXES.sub("", re.split(r"[/\\]", name)[-1])
    found = _MIRABEST.fullmatch(stem) or _FIRST_GALAXY.fullmatch(stem)
    parts = found.groupdict(default="") if found else {}
    code = parts.get("code", "")
    return SourceFacts(
        class_code=code if re.fullmatch("[0-9]{3}", code) else "",
        ra_deg=_number(parts.get("ra", ""), 0, 360),
        dec_deg=_number(parts.get("dec", ""), -90, 90),
        redshift=_number(parts.get("redshift", ""), 0, math.inf),
        las_arcsec=_number(parts.get("size", ""), 0, math.inf),
    )


def named_position(name: str) -> Position | None:
    """Returns the position that the name of a source says; None if it says none on the sky."""
    facts = parse_source_name(name)
    position = facts["ra_deg"], facts["dec_deg"]
    return None if any(map(math.isnan, position)) else position


def _number(text: str, low: float, high: float) -> float:
    value = float(text) if re.fullmatch(r"[+-]?\d+(\.\d*)?", text, flags=re.ASCII) else math.nan
    return value if low <= value <= high else math.nan
