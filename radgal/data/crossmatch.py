"""Positions on the sky: which sources of two lists are the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAME_SOURCE_ARCSEC = 5.0  # about the beam of FIRST

Position = tuple[float, float]  # right ascension and declination, degrees


def match(
    one: Sequence[Position | None], other: Sequence[Position | None], arcsec: float = SAME_SOURCE_ARCSEC
) -> list[tuple[int, int]]:
    """Returns (row of ``one``, row of ``other``) where the nearest of ``other`` is within ``arcsec``.

    Rows without a position match nothing. A list given for both is compared with itself: no row matches itself.
    """
    from scipy.spatial import cKDTree

    rows, points = _points(one)
    other_rows, other_points = _points(other)
    if not rows or not other_rows:
        return []
    chord = 2 * np.sin(np.radians(arcsec / 3600) / 2)
    # Two neighbors, since the nearest of a list's own rows may be the row itself.
    distances, nearest = cKDTree(other_points).query(points, k=[1, 2], distance_upper_bound=chord)
    pairs = []
    for row, found, places in zip(rows, np.isfinite(distances), nearest, strict=True):
        matches = [other_rows[place] for is_near, place in zip(found, places, strict=True) if is_near]
        pairs += [(row, match) for match in matches if one is not other or match != row][:1]
    return pairs


def pairs(positions: Sequence[Position | None], arcsec: float) -> list[tuple[int, int]]:
    """Returns all pairs of rows (a < b), in order, that are within ``arcsec`` of each other."""
    from scipy.spatial import cKDTree

    rows, points = _points(positions)
    if not rows:
        return []
    chord = 2 * np.sin(np.radians(arcsec / 3600) / 2)
    return sorted((rows[a], rows[b]) for a, b in cKDTree(points).query_pairs(chord))


def separation(one: Position, other: Position) -> float:
    """Returns the angle between two positions, arcsec."""
    first, second = _points([one, other])[1]
    return float(np.degrees(2 * np.arcsin(np.linalg.norm(first - second) / 2)) * 3600)


def _points(positions: Sequence[Position | None]) -> tuple[list[int], np.ndarray]:
    """Returns the rows that have a position, and their unit vectors (N, 3)."""
    rows = [i for i, position in enumerate(positions) if position is not None]
    ra, dec = np.radians(np.array([positions[i] for i in rows], dtype=float).reshape(-1, 2)).T
    return rows, np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
