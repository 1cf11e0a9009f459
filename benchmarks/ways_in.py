"""The same sources by every way into ``predict``: how far the probabilities of a network lie apart.

Usage: python -m benchmarks.ways_in RUN CUTOUTS [--page docs/predict.md]

RUN is a run folder, a checkpoint or the name of a network that comes along, trained on images of 1.8 arcsec; CUTOUTS is
a folder of FIRST cutouts of 300 x 300 px, as FITS. With --page the table between the marks of that page is made anew.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image as PillowImage

from benchmarks.table import update_section
from radgal.classifier import Classifier, softmax
from radgal.images.mosaic import Mosaic, Position, read_cutout
from radgal.images.reading import Image, read_image
from radgal.runs import checkpoint

PIXEL_DEG = 0.0005
FILLS = (0.0, -32768.0, -9.2e18, 1e30)
PROJECTIONS = ("TAN", "SIN", "ZEA", "CAR", "AIT", "CEA")
PER_ROW, STEP = 5, 330  # of sources in a mosaic, and pixels from one to the next
ALLOWED = 2e-3  # what probabilities may differ by
LOSSY, FINE = 16, 256  # steps to a standard deviation of the noise, in lossy compression: the usual ones, and fine ones
DITHERS = {"": -1, ", dithered": 1, ", dithered but for zeros": 2}
PACKINGS = (
    ("GZIP_2", 0, ""),
    *(("RICE_1", level, dither) for level in (FINE, LOSSY) for dither in DITHERS),
    *((codec, LOSSY, "") for codec in ("GZIP_2", "HCOMPRESS_1")),
)
"""Codecs of FITS, steps to a standard deviation of the noise (0: no loss), and how these are dithered."""

LOSES = {f"1/{LOSSY} of": 4e-2, f"1/{FINE} of": 5e-3}  # and what is lost in these

Cutouts = dict[str, np.ndarray]
Way = tuple[str, str, dict[str, Image]]
"""(what was done, what its probabilities are held against, the images by source)."""


def header_of(**changes: Any) -> fits.Header:
    """Returns the header of a cutout of 300 x 300 px."""
    words = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 20.0, "CRPIX1": 150.5}
    words |= {"CRPIX2": 150.5, "CDELT1": -PIXEL_DEG, "CDELT2": PIXEL_DEG} | changes
    return fits.Header(words)


def ways_in(cutouts: Cutouts, folder: Path, how: dict[str, Any]) -> Iterator[Way]:
    """Yields the images of the sources as they come by each way.

    Args:
        cutouts: fluxes (300, 300) by source.
        folder: for files.
        how: arguments of ``read_image``.
    """

    def through(
        change: Callable[[np.ndarray], np.ndarray], header: fits.Header | None = None, **other: Any
    ) -> dict[str, Image]:
        images = {}
        for name, data in cutouts.items():
            fits.PrimaryHDU(change(data), header or header_of()).writeto(folder / "a.fits", overwrite=True)
            images[name] = read_image(folder / "a.fits", **how, **other)
        return images

    def left(value: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda data: np.where(np.arange(300) < 90, value, data).astype(np.float32)

    def around(value: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda data: np.pad(data, 40, constant_values=value)

    plain = through(lambda data: data)
    yield "as they are", "plain", plain
    yield "NaN around them, 40 px", "plain", through(around(np.nan))
    for value in FILLS:
        yield f"{value:g} around them, 40 px", "plain", through(around(value))
    yield "NaN on the left 30 %", "NaN", through(left(np.nan))
    for value in FILLS:
        yield f"{value:g} on the left 30 %", "NaN", through(left(value))
    yield "mirrored twice, in pixels and in CDELT1", "plain", mirrored_twice(cutouts, folder, how)
    yield "axes Stokes, Dec, RA", "plain", through(lambda data: data.T[..., None], header_of(**SWAPPED))
    yield "resampled to their own scale", "plain", through(lambda data: data, rescale_to_arcsec=1.8)
    yield "gzipped", "plain", packed(cutouts, folder / "a.fits.gz", how)
    for codec, level, dither in PACKINGS:
        what = f"compressed, {codec}" + (f", in steps of 1/{level} of the noise{dither}" if level else "")
        yield what, "plain", packed(cutouts, folder / "a.fits.fz", how, codec, level, DITHERS[dither])
    yield "RGBA PNG of the prepared image", "plain", as_pictures(plain, folder / "a.png", how)
    for projection in PROJECTIONS:
        yield f"out of a mosaic, {projection}", "plain", out_of_mosaic(cutouts, folder / "m.fits", projection, how)


SWAPPED = {
    "CTYPE1": "STOKES", "CRVAL1": 1.0, "CRPIX1": 1.0, "CDELT1": 1.0,
    "CTYPE2": "DEC--TAN", "CRVAL2": 20.0, "CRPIX2": 150.5, "CDELT2": PIXEL_DEG,
    "CTYPE3": "RA---TAN", "CRVAL3": 150.0, "CRPIX3": 150.5, "CDELT3": -PIXEL_DEG,
}  # fmt: skip


def mirrored_twice(cutouts: Cutouts, folder: Path, how: dict[str, Any]) -> dict[str, Image]:
    """Returns the images of files that were mirrored with their header, read, and mirrored again."""
    images = {}
    for name, data in cutouts.items():
        once, twice = folder / "once.fits", folder / "twice.fits"
        fits.PrimaryHDU(data[:, ::-1], header_of(CDELT1=PIXEL_DEG)).writeto(once, overwrite=True)
        with fits.open(once) as hdus:
            assert "mirrored" in read_image(once, **how).flags
            hdus[0].header["CDELT1"] = -PIXEL_DEG
            fits.PrimaryHDU(hdus[0].data[:, ::-1], hdus[0].header).writeto(twice, overwrite=True)
        images[name] = read_image(twice, **how)
    return images


def packed(
    cutouts: Cutouts, path: Path, how: dict[str, Any], codec: str | None = None, level: float = 0, dither: int = -1
) -> dict[str, Image]:
    """Returns the images of files packed by gzip, or by a codec of FITS, in so many steps to the noise (0: exactly)."""
    images = {}
    for name, data in cutouts.items():
        if codec is None:
            fits.PrimaryHDU(data, header_of()).writeto(path, overwrite=True)
        else:
            steps = dict(quantize_level=level, quantize_method=dither, dither_seed=77)
            hdu = fits.CompImageHDU(data, header_of(), compression_type=codec, **steps)
            fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
        images[name] = read_image(path, **how)
    return images


def as_pictures(plain: dict[str, Image], path: Path, how: dict[str, Any]) -> dict[str, Image]:
    """Returns the images of pictures in which the empty sky is transparent, with white beneath."""
    images = {}
    for name, image in plain.items():
        shown = image.pixels > 0
        gray = np.where(shown, image.pixels, 255)
        PillowImage.fromarray(np.dstack([gray, gray, gray, 255 * shown]).astype(np.uint8)).save(path)
        images[name] = read_image(path, **how)
    return images


def out_of_mosaic(cutouts: Cutouts, path: Path, projection: str, how: dict[str, Any]) -> dict[str, Image]:
    """Returns the images at the positions of sources that were pasted into a mosaic; CEA's begin at 200 degrees."""
    rows = -(-len(cutouts) // PER_ROW)
    shape = rows * STEP + 20, PER_ROW * STEP + 20
    pixels = np.random.default_rng(0).normal(scale=1e-4, size=shape).astype(np.float32)
    corners = {name: (17 + STEP * (i % PER_ROW), 11 + STEP * (i // PER_ROW)) for i, name in enumerate(cutouts)}
    for name, (x, y) in corners.items():
        pixels[y : y + 300, x : x + 300] = cutouts[name]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = [f"RA---{projection}", f"DEC--{projection}"], [150.0, 0.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [shape[1] / 2, shape[0] / 2], [-PIXEL_DEG, PIXEL_DEG]
    if projection == "CEA":
        wcs.wcs.crpix = [200 / PIXEL_DEG, shape[0] / 2]
        wcs.wcs.bounds_check(False, False)
    fits.PrimaryHDU(pixels, wcs.to_header()).writeto(path, overwrite=True)
    mosaic, images = Mosaic(path), {}
    for name, (x, y) in corners.items():
        ra, dec = wcs.all_pix2world(x + 149.8, y + 149.2, 0)
        images[name] = read_cutout(mosaic, Position(name, float(ra), float(dec), float("nan")), **how)
    return images


def probabilities(run: Classifier, images: dict[str, Image]) -> np.ndarray:
    """Returns (N, K), without dropout."""
    pixels = torch.from_numpy(np.stack([image.pixels for image in images.values()]))
    return softmax(run.logits(run.preparation.crop(pixels)))


def measure(run: Classifier, folder: Path) -> list[tuple[str, str, float, float, int, str]]:
    """Returns a row for each way: what, against which, largest difference, the same against plain, changes, flags."""
    cutouts = {path.name: fits.getdata(path).astype(np.float32) for path in sorted(folder.glob("*.fits*"))}
    preparation, rows, known = run.preparation, [], {}
    how = dict(recipe=preparation.recipe, native_size=preparation.native_size, expected_arcsec=1.8)
    with tempfile.TemporaryDirectory() as scratch:
        for what, against, images in ways_in(cutouts, Path(scratch), how):
            found = probabilities(run, images)
            known.setdefault(against, found)
            apart = [float(np.abs(found - known[one]).max()) for one in (against, "plain")]
            changes = int((found.argmax(1) != known["plain"].argmax(1)).sum())
            flags = sorted({flag for image in images.values() for flag in image.flags} - {"saturated"})
            rows.append((what, against, *apart, changes, " ".join(flags)))
    return rows


def table(rows: list[tuple]) -> str:
    """Returns the rows as Markdown."""
    heads = ("way in", "held against", "largest difference", "against plain", "other class", "flags")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for what, against, apart, from_plain, changes, flags in rows:
        lines.append(f"| {what} | {against} | {apart:.0e} | {from_plain:.0e} | {changes} | {flags} |")
    return "\n".join(lines).replace("0e+00", "0") + "\n"


def main(words: list[str] | None = None) -> None:
    """Prints the table, and puts it into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("cutouts", type=Path)
    parser.add_argument("--page", type=Path)
    args = parser.parse_args(words)
    run = checkpoint.load_run(checkpoint.find(args.run), torch.device("cpu"))
    text = table(measure(run, args.cutouts))
    print(text)
    if args.page is not None:
        update_section(args.page, "ways in", text)


if __name__ == "__main__":
    main()
