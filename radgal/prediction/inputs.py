"""New images as a trained network reads them, a few at a time, with what is to be said of each.

A source is the path of an image, or a position in a mosaic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from radgal.data.sourcenames import parse_source_name
from radgal.images.mosaic import Mosaic, OffEdge, Position, read_cutout
from radgal.images.preparation import Preparation
from radgal.images.reading import FLAGS, Image, read_image, without_suffix
from utils import UserError
from utils import printable as _printable

Source = str | Position


@dataclass(frozen=True, eq=False)
class Reading:
    """A source as it was read: an image for each way of reading it, or none and an error."""

    source: Source
    images: dict[tuple, Image]  # by Preparation.reading
    flags: tuple[str, ...]
    error: str = ""


def read_ahead(
    sources: Sequence[Source],
    preparations: Sequence[Preparation],
    *,
    rescale: bool,
    mosaic: str | None,
    batch_size: int,
    threads: int,
) -> Iterator[list[Reading]]:
    """Yields batches of sources, each read by a few threads while the one before it is worked on."""
    batches = [sources[i : i + batch_size] for i in range(0, len(sources), batch_size)]
    with ThreadPoolExecutor(max_workers=threads) as pool:
        waiting = None
        for batch in [*batches, ()]:
            following = [pool.submit(read, source, preparations, rescale, mosaic) for source in batch]
            if waiting is not None:
                yield [future.result() for future in waiting]
            waiting = following


def read(source: Source, preparations: Sequence[Preparation], rescale: bool, mosaic: str | None) -> Reading:
    """Returns a source as every run needs it; what goes wrong with one file must not end the others."""
    try:
        different = {one.reading: one for one in preparations}
        images = {key: _prepare(source, one, rescale, mosaic) for key, one in different.items()}
    except OffEdge as error:
        return Reading(source, {}, ("off_edge",), str(error))
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return Reading(source, {}, (), reason)
    flags = {flag for image in images.values() for flag in image.flags}
    if any(_las_arcsec(source) > _field_arcsec(one, images[one.reading], rescale) for one in preparations):
        flags.add("too_large")
    ordered = tuple(flag for flag in FLAGS if flag in flags)
    if all(image.nan_fraction == 1 for image in images.values()):
        return Reading(source, {}, ordered, "no pixel has a value")
    return Reading(source, images, ordered)


def _prepare(source: Source, preparation: Preparation, rescale: bool, mosaic: str | None) -> Image:
    scale = preparation.pixel_scale_arcsec
    how: dict[str, Any] = dict(
        recipe=preparation.recipe,
        native_size=preparation.native_size,
        expected_arcsec=scale,
        rescale_to_arcsec=scale if rescale else None,
    )
    if isinstance(source, Position):
        return read_cutout(open_mosaic(mosaic), source, **how)
    return read_image(source, **how)


@lru_cache(maxsize=1)
def open_mosaic(path: str) -> Mosaic:
    """Returns a mosaic, opened once per process."""
    return Mosaic(path)


def _las_arcsec(source: Source) -> float:
    """Returns the largest angular size of a source, from its catalog or the name of its file; NaN if not known."""
    return source.las_arcsec if isinstance(source, Position) else parse_source_name(source)["las_arcsec"]


def _field_arcsec(preparation: Preparation, image: Image, rescale: bool) -> float:
    """Returns the side of the field that a network sees; NaN if not known."""
    trained, own = preparation.pixel_scale_arcsec, image.pixel_scale_arcsec
    scale = trained if rescale or own is None else own
    return np.nan if scale is None else preparation.imsize * scale


def describe_reading(reading: Reading) -> dict[str, str | float]:
    """Returns the columns of a catalog that are not of the networks; what is not known is NaN or ''."""
    source, image = reading.source, next(iter(reading.images.values()), None)
    if isinstance(source, Position):
        row = {"id": _printable(source.id), "ra_deg": source.ra_deg, "dec_deg": source.dec_deg}
    else:
        ra, dec = (image and image.position) or (np.nan, np.nan)
        name = _printable(without_suffix(Path(source).name))
        row = {"id": name, "path": _printable(source), "ra_deg": ra, "dec_deg": dec}
    return row | {
        "pixel_scale_arcsec": (image and image.pixel_scale_arcsec) or np.nan,
        "nan_fraction": image.nan_fraction if image else np.nan,
        "flags": ";".join(reading.flags),
        "error": _printable(" ".join(reading.error.split())),
    }
