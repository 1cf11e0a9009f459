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
from radgal.images.fits import read_fits
from radgal.images.mosaic import Mosaic, OffEdge, Position, read_cutout
from radgal.images.preparation import Preparation
from radgal.images.reading import Image, in_order, read_image, without_suffix
from utils import UserError, printable, reason_of

Source = str | Position


@dataclass(frozen=True)
class Where:
    """Where sources are and how they are read, beside what the networks want."""

    mosaic: str | None = None  # None: sources are files
    hdu: str | None = None  # number or EXTNAME; None: whichever seems to be the image
    rescale: bool = False  # to the pixel scale of the training images


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
    where: Where,
    *,
    batch_size: int,
    threads: int,
) -> Iterator[list[Reading]]:
    """Yields batches of sources, each read by a few threads while the one before it is worked on."""
    batches = [sources[i : i + batch_size] for i in range(0, len(sources), batch_size)]
    with ThreadPoolExecutor(max_workers=threads) as pool:
        waiting = None
        for batch in [*batches, ()]:
            following = [pool.submit(read, source, preparations, where) for source in batch]
            if waiting is not None:
                yield [future.result() for future in waiting]
            waiting = following


def read(source: Source, preparations: Sequence[Preparation], where: Where) -> Reading:
    """Returns a source as every run needs it; what goes wrong with one file must not end the others."""
    try:
        different = {one.reading: one for one in preparations}
        images = {key: _prepare(source, one, where) for key, one in different.items()}
    except OffEdge as error:
        return Reading(source, {}, ("off_edge",), str(error))
    except UserError as error:
        return Reading(source, {}, (), str(error))
    except Exception as error:
        name = f"position {source.id}" if isinstance(source, Position) else source
        return Reading(source, {}, (), f"{name} cannot be used: reading it failed ({reason_of(error)})")
    flags = {flag for image in images.values() for flag in image.flags}
    if any(_las_arcsec(source) > _field_arcsec(one, images[one.reading], where.rescale) for one in preparations):
        flags.add("too_large")
    if all(image.nan_fraction == 1 for image in images.values()):
        return Reading(source, {}, in_order(flags), "no pixel has a value")
    return Reading(source, images, in_order(flags))


def _prepare(source: Source, preparation: Preparation, where: Where) -> Image:
    scale = preparation.pixel_scale_arcsec
    how: dict[str, Any] = dict(
        recipe=preparation.recipe,
        native_size=preparation.native_size,
        expected_arcsec=scale,
        rescale_to_arcsec=scale if where.rescale else None,
    )
    if isinstance(source, Position):
        return read_cutout(open_mosaic(where.mosaic, where.hdu), source, **how)
    return read_image(source, hdu=where.hdu, **how)


def explain(flag: str, source: Source, where: Where, trained: str) -> str:
    """Returns a sentence on the first source with the flag 'pixel_scale' or 'several_images'.

    Args:
        trained: the pixel scales of the training images, in words.
    """
    is_position = isinstance(source, Position)
    opened = open_mosaic(where.mosaic, where.hdu) if is_position else read_fits(source, hdu=where.hdu)
    if flag == "several_images":
        choice = opened.choice if is_position else opened
        path = where.mosaic if is_position else source
        return (
            f"{path} holds several images, of which {choice.label} was taken and not {', '.join(choice.rivals)}; "
            f"--hdu NUMBER or NAME takes another (flag {flag})"
        )
    sky = opened.sky_at(*opened.find(source.ra_deg, source.dec_deg)) if is_position else opened.sky
    x, y = (f"{scale:.4g}" for scale in sky.scales_arcsec)
    return (
        f"images of {x if x == y else f'{x} x {y}'} arcsec per pixel are given to networks trained on {trained}: a "
        f"source looks larger or smaller than those they know; --rescale resamples FITS images (flag {flag})"
    )


@lru_cache(maxsize=1)
def open_mosaic(path: str, hdu: str | None = None) -> Mosaic:
    """Returns a mosaic, opened once per process."""
    return Mosaic(path, hdu)


def _las_arcsec(source: Source) -> float:
    """Returns the largest angular size of a source, from its catalog or the name of its file; NaN if not known."""
    return source.las_arcsec if isinstance(source, Position) else parse_source_name(source)["las_arcsec"]


def _field_arcsec(preparation: Preparation, image: Image, rescale: bool) -> float:
    """Returns the side of the field that a network sees; NaN if not known."""
    trained, own = preparation.pixel_scale_arcsec, image.scales_arcsec
    scale = trained if rescale or own is None else min(own)
    return np.nan if scale is None else preparation.imsize * scale


def identify(source: Source) -> dict[str, str | float]:
    """Returns the columns of a catalog that a source has by itself: by these its row is known."""
    if isinstance(source, Position):
        return {"id": printable(source.id), "ra_deg": source.ra_deg, "dec_deg": source.dec_deg}
    return {"id": printable(without_suffix(Path(source).name)), "path": printable(source)}


def describe_reading(reading: Reading) -> dict[str, str | float]:
    """Returns the columns of a catalog that are not of the networks; what is not known is NaN or ''."""
    image = next(iter(reading.images.values()), None)
    ra, dec = (image and image.position) or (np.nan, np.nan)
    return (
        {"ra_deg": ra, "dec_deg": dec}
        | identify(reading.source)
        | {
            "pixel_scale_arcsec": (image and image.pixel_scale_arcsec) or np.nan,
            "nan_fraction": image.nan_fraction if image else np.nan,
            "flags": ";".join(reading.flags),
            "error": printable(" ".join(reading.error.split())),
        }
    )
