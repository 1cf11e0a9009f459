"""Where on the sky the pixels of an image are, and how large they are there.

Legend: x columns, y rows, pixels from 0 at the middle of the first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from radgal.files.angles import spelled_unit
from utils import without_warnings

if TYPE_CHECKING:
    from astropy.wcs import WCS

ARCSEC = 3600 * 180 / np.pi
TOLERANCE = 0.02
"""Relative: pixel scales that differ by more are different, and axes further from a right angle are sheared."""

NUMBERS = re.compile(r"(?:(?:CRVAL|CRPIX|CDELT|CROTA)(\d+)|(?:CD|PC)(\d+)_(\d+)|PV(\d+)_\d+|(?:LON|LAT)POLE)$")
"""Words of a header that place an image on the sky, with the numbers of their axes."""

SYSTEMS = {"J2000": "FK5", "J2000.0": "FK5", "B1950": "FK4", "B1950.0": "FK4"}
"""Coordinate systems as some programs call them -> as FITS does."""

SPELLED_FREELY = {"EQUINOX", "EPOCH", *(f"CUNIT{i}" for i in range(1, 10))}

NO_WORDS = {"COMMENT", "HISTORY", ""}
"""Keywords of lines of text, which tell nothing of the sky."""

LINEAR_IN_LONGITUDE = {"CYP", "CEA", "CAR", "MER", "SFL", "PAR", "MOL"}
"""Projections whose pixels go on beyond 180 degrees from the reference longitude."""


@dataclass(frozen=True)
class Sky:
    """What the header says of one place in an image."""

    position: tuple[float, float] | None = None  # ICRS right ascension and declination, degrees
    scales_arcsec: tuple[float, float] | None = None  # the sides of a pixel there, along x and along y
    mirrored: bool = False  # right ascension grows to the wrong side, as if the sky were seen from outside
    sheared: bool = False  # x and y are not at right angles there

    @property
    def flags(self) -> tuple[str, ...]:
        """Keys of ``reading.FLAGS``."""
        return ("mirrored",) * self.mirrored + ("sheared",) * self.sheared


@dataclass(frozen=True)
class Celestial:
    """The celestial coordinates of the two axes of an image."""

    wcs: WCS  # of longitude along x and latitude along y, or any rotation of that
    swapped: bool  # whether the file has the axis of latitude first: the array is to be transposed


def celestial(header: Any) -> Celestial | None:
    """Returns the celestial coordinate system of the two axes of the image that are longer than 1, or None."""
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    with without_warnings():
        try:
            axes = [i + 1 for i in range(header["NAXIS"]) if header[f"NAXIS{i + 1}"] > 1]
            cards = [_as_wcslib_knows_it(card) for card in header.cards if card.keyword not in NO_WORDS]
            header = Header(cards)
            if len(axes) != 2 or not _are_numbers(header, axes):
                return None
            wcs = WCS(header, naxis=axes)  # whatever is wrong with a frequency, the sky is where it is
            if not wcs.has_celestial:
                return None
            swapped = wcs.wcs.lng > wcs.wcs.lat
            if swapped:
                wcs = wcs.sub([2, 1])
            system = wcs.wcs.radesys.strip().upper()
            wcs.wcs.radesys = SYSTEMS.get(system, system)
            if _projection(wcs) in LINEAR_IN_LONGITUDE:
                wcs.wcs.bounds_check(False, True)  # or else pixels beyond 180 degrees are none
            return Celestial(wcs, swapped)
        except Exception:  # wcslib and astropy raise many kinds on headers that are wrong
            return None


def _as_wcslib_knows_it(card: Any) -> Any:
    """Returns a card of a header, or what it says in words that wcslib knows: units, equinoxes, Fortran's exponents."""
    word, value = card.keyword, card.value if NUMBERS.match(card.keyword) or card.keyword in SPELLED_FREELY else None
    if isinstance(value, float) and "D" in str(card).partition("=")[2].partition("/")[0]:
        return word, value
    if isinstance(value, str) and word.startswith("CUNIT"):
        return word, spelled_unit(value) or value
    if isinstance(value, str) and (year := re.fullmatch(r"\s*[BJ]?\s*(\d{4}(\.\d*)?)\s*", value)):
        return word, float(year[1])
    return card


def _are_numbers(header: Any, axes: Sequence[int]) -> bool:
    """Returns whether what should be numbers are some: wcslib takes NaN for 0, and words for nothing."""
    for word in header:
        found = NUMBERS.match(word)
        if found and all(int(axis) in axes for axis in found.groups() if axis):
            if not isinstance(header[word], (int, float)) or not np.isfinite(header[word]):
                return False
    return True


def _projection(wcs: WCS) -> str:
    return wcs.wcs.ctype[wcs.wcs.lng][5:8]


def beam_of(header: Any) -> tuple[float, float, float] | None:
    """Returns the beam that a header gives: major and minor axis (full width at half maximum, arcsec), angle (degrees).

    The angle is from north through east. None where the header says none, or nothing that can be one.
    """
    found = [header.get(key, 0.0 if key == "BPA" else None) for key in ("BMAJ", "BMIN", "BPA")]
    if not all(isinstance(value, (int, float)) and np.isfinite(value) for value in found) or min(found[:2]) <= 0:
        return None
    return 3600.0 * found[0], 3600.0 * found[1], float(found[2])


def sky_at(wcs: WCS, x: float, y: float, position: tuple[float, float] | None = None) -> Sky:
    """Returns what is known of a place in an image, measured there: the reference position may be far away.

    Args:
        wcs: of the image.
        x, y: pixels.
        position: ICRS right ascension and declination of the place, degrees; None: it is computed.
    """
    with without_warnings(), np.errstate(all="ignore"):
        try:
            corners = np.array([(x, y), (x - 0.5, y), (x + 0.5, y), (x, y - 0.5), (x, y + 0.5)])
            places = wcs.all_pix2world(corners, 0)
            lon, lat = np.deg2rad(places).T
        except Exception:  # a header can be wrong in any way: then it does not tell a position
            return Sky()
        if not np.isfinite(places[0]).all():
            return Sky()
        position = position or _to_icrs(wcs, places[0])
        vectors = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        east = np.array([-np.sin(lon[0]), np.cos(lon[0]), 0.0])
        north = np.cross(vectors[:, 0], east)
        steps = np.stack([vectors[:, 2] - vectors[:, 1], vectors[:, 4] - vectors[:, 3]], axis=1)
        (a, b), (c, d) = np.stack([east, north]) @ steps  # east and north for one pixel along x, and along y
        # to the digits that a difference over one pixel has
        scales = tuple(float(f"{length * ARCSEC:.7g}") for length in (np.hypot(a, c), np.hypot(b, d)))
        if not (np.isfinite(scales).all() and min(scales) > 0):
            return Sky(position)
        cosine = abs(a * b + c * d) / (np.hypot(a, c) * np.hypot(b, d))
        return Sky(position, scales, mirrored=bool(a * d - b * c > 0), sheared=bool(cosine > TOLERANCE))


def _to_icrs(wcs: WCS, place: Sequence[float]) -> tuple[float, float] | None:
    """Returns a position of the coordinate system of a WCS as one of ICRS; None if that system is not known."""
    from astropy.coordinates import ICRS

    try:
        found = _transformed(place, frame_of(wcs), ICRS())
    except Exception:  # as above
        return None
    return found if np.isfinite(found).all() else None


def pixels_at(wcs: WCS, ra_deg: float, dec_deg: float) -> np.ndarray:
    """Returns all the pixels that an ICRS position may have, (N, 2) of x and y; none where it is not mapped.

    A cylinder may be unrolled more than once: where longitude grows linearly, so may 360 degrees more or less.
    """
    from astropy.coordinates import ICRS

    with without_warnings(), np.errstate(all="ignore"):
        try:
            place = _transformed((ra_deg, dec_deg), ICRS(), frame_of(wcs))
            first = np.array(wcs.world_to_pixel_values(*place), dtype=float)
            if not np.isfinite(first).all():
                return np.empty((0, 2))
            if _projection(wcs) not in LINEAR_IN_LONGITUDE:
                return first[None]
            return first + np.arange(-2, 3)[:, None] * _turn(wcs, first)
        except Exception:  # wcslib and astropy raise many kinds where a projection has no such position
            return np.empty((0, 2))


def frame_of(wcs: WCS) -> Any:
    """Returns the coordinate system of a WCS, such as ICRS or FK5; ValueError if it is none that is known."""
    from astropy.wcs.utils import wcs_to_celestial_frame

    if wcs.wcs.lngtyp not in ("RA", "GLON"):  # astropy takes ecliptic coordinates for ICRS
        raise ValueError(f"coordinates of the kind {wcs.wcs.lngtyp} are not known")
    return wcs_to_celestial_frame(wcs)


def _transformed(place: Sequence[float], from_frame: Any, to_frame: Any) -> tuple[float, float]:
    """Returns a position of longitude and latitude, degrees, in another coordinate system."""
    if from_frame != to_frame:  # or else most of the time would go into what changes nothing
        from astropy.coordinates import SkyCoord

        sky = SkyCoord(*place, unit="deg", frame=from_frame).transform_to(to_frame).spherical
        place = sky.lon.deg, sky.lat.deg
    return float(place[0]) % 360.0, float(place[1])


def _turn(wcs: WCS, pixel: np.ndarray) -> np.ndarray:
    """Returns the step in pixels, (2,), that is a whole turn of longitude at a pixel, (2,)."""
    to_plane = wcs.pixel_scale_matrix  # degrees in the plane of projection
    along_x = np.linalg.solve(to_plane, [1.0, 0.0])
    there = wcs.wcs.p2s((pixel + along_x * np.array([[0.0], [1.0]])), 0)
    plane, longitude = np.diff(there["imgcrd"][:, wcs.wcs.lng])[0], np.diff(there["phi"])[0]
    return along_x * 360.0 * plane / longitude
