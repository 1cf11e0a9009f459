"""Small pictures of what was classified, for the page beside a catalog: sheets of 25, made part by part.

A part of a catalog has a file of sheets beside it, so that what is made by many workers, or resumed, ends in the same
page, and no more pictures are in memory than a part has.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radgal.figures.style import load_matplotlib
from radgal.files.packing import check_zip
from radgal.images.reading import Image
from radgal.prediction.inputs import Reading
from utils import UserError, atomic_write, reason_of

TILES = 5  # along each side of a sheet
PER_SHEET = TILES**2
SIDE = 150  # pixels of a tile: those of the published data sets
FAINT = 255 // 10  # pixels above a tenth of the brightest are the source
LEVELS = 4  # brightness is kept in steps of so much: half the size, no visible loss
FACTS = ("field_arcsec", "extent_px", "extent_arcsec", "beam_major", "beam_minor", "beam_angle")


@dataclass(frozen=True, eq=False)
class Sheets:
    """The pictures of a part: PNGs of 25 tiles, in rows of 5, and what is known of each tile (NaN: is not)."""

    pngs: list[bytes]
    facts: dict[str, np.ndarray]  # by the names of FACTS, float64 (N,)


def path_beside(part: str | Path) -> Path:
    """Returns where the sheets of a part are."""
    part = Path(part)
    return part.with_name(f"{part.stem.replace('part', 'sheets', 1)}.npz")


class Maker:
    """Takes the readings of a part, batch by batch, and keeps their sheets."""

    def __init__(self, rescaled_to: float | None):
        self.rescaled_to = rescaled_to  # arcsec per pixel that FITS images were resampled to; None: they were not
        self._pngs: list[bytes] = []
        self._tiles: list[np.ndarray] = []
        self._facts: list[tuple[float, ...]] = []

    def add(self, readings: Sequence[Reading]) -> None:
        """Draws some sources; those without an image get an empty tile."""
        for reading in readings:
            image = next(iter(reading.images.values()), None)
            self._tiles.append(np.zeros((SIDE, SIDE), np.uint8) if image is None else _tile(image))
            self._facts.append((np.nan,) * len(FACTS) if image is None else self._facts_of(image))
            if len(self._tiles) == PER_SHEET:
                self._pngs.append(_sheet(self._tiles))
                self._tiles = []

    def _facts_of(self, image: Image) -> tuple[float, ...]:
        scale = (self.rescaled_to if image.scales_arcsec else None) or image.pixel_scale_arcsec or np.nan
        extent = extent_of(image.pixels)
        return (len(image.pixels) * scale, extent, extent * scale, *(image.beam or (np.nan,) * 3))

    def write(self, path: Path) -> None:
        """Writes all that was added, atomically."""
        pngs = [*self._pngs, *([_sheet(self._tiles)] if self._tiles else [])]
        facts = np.array(self._facts, dtype=np.float64).reshape(-1, len(FACTS))
        content = np.frombuffer(b"".join(pngs), dtype=np.uint8)
        with atomic_write(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, pngs=content, ends=np.cumsum([len(png) for png in pngs], dtype=np.int64), facts=facts)


def read_sheets(path: Path, n_rows: int) -> Sheets:
    """Returns the sheets of a part.

    Raises:
        UserError: if they are not there, damaged, or of another number of rows.
    """
    try:
        check_zip(path)
        with np.load(path, allow_pickle=False) as content:
            pngs, ends, facts = content["pngs"].tobytes(), content["ends"].tolist(), content["facts"]
        if facts.shape != (n_rows, len(FACTS)) or len(ends) != -(-n_rows // PER_SHEET) or ends[-1:] != [len(pngs)]:
            raise ValueError("it is of other rows")
    except Exception as error:  # whatever a damaged file makes the readers raise
        raise UserError(f"{path} cannot be used ({reason_of(error)}); --resume makes it again") from None
    starts = [0, *ends[:-1]]
    return Sheets([pngs[a:b] for a, b in zip(starts, ends, strict=True)], dict(zip(FACTS, facts.T, strict=True)))


def extent_of(pixels: np.ndarray) -> float:
    """Returns the largest distance, pixels, between the outer edges of pixels above a tenth of full brightness.

    Of an image without such pixels it is 0.
    """
    bright = pixels > FAINT
    rows = np.flatnonzero(bright.any(axis=1))
    if not len(rows):
        return 0.0
    first, last = bright[rows].argmax(axis=1), bright.shape[1] - 1 - bright[rows, ::-1].argmax(axis=1)
    points = np.concatenate([np.stack([rows, first], axis=1), np.stack([rows, last], axis=1)]).astype(float)
    return float(np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=-1).max())) + 1.0


def _tile(image: Image) -> np.ndarray:
    """Returns an image as uint8 (SIDE, SIDE): the square root of brightness, FITS images with row 0 at the bottom."""
    from PIL import Image as PillowImage

    pixels = image.pixels[::-1] if image.scales_arcsec else image.pixels  # FITS counts rows from the bottom
    shown = np.round(np.sqrt(pixels / 255.0) * 255.0).astype(np.uint8)
    if shown.shape != (SIDE, SIDE):
        shown = np.asarray(PillowImage.fromarray(shown).resize((SIDE, SIDE)))
    return shown // LEVELS * LEVELS


def _sheet(tiles: Sequence[np.ndarray]) -> bytes:
    """Returns up to 25 tiles as one PNG in the colors "inferno"."""
    load_matplotlib()
    from matplotlib import colormaps
    from PIL import Image as PillowImage

    sheet = np.zeros((TILES, TILES, SIDE, SIDE), dtype=np.uint8)
    sheet.reshape(PER_SHEET, SIDE, SIDE)[: len(tiles)] = tiles
    picture = PillowImage.fromarray(np.ascontiguousarray(sheet.swapaxes(1, 2)).reshape(TILES * SIDE, TILES * SIDE))
    picture.putpalette((colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.uint8).tobytes())
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
