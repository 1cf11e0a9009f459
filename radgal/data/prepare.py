"""A folder of FITS images made what the published data sets hold: pixels, a table of them, and a sheet to look at."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from radgal.data.base import GalaxyImages
from radgal.data.mirabest import MiraBest_full
from radgal.data.sourcenames import parse_source_name
from radgal.files.cells import safe_cell
from radgal.images.finding import find_images, seen_from
from radgal.images.reading import read_image, scales_differ, without_suffix
from radgal.progress import progress
from utils import UserError, counted, lock_file, printable

FORMATS = ("png", "npz", "hdf5")
COLUMNS = "path label id ra dec hdu pixel_scale_arcsec las_arcsec flags error source".split()
MAX_ON_SHEET = 100
DrawSheet = Callable[[Path, list[dict], dict[str, np.ndarray], int], None]


def prepare(
    place: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    like: type[GalaxyImages],
    image_format: str = "png",
    side: int = 150,
    rescale: bool = False,
    hdu: str | None = None,
    draw_sheet: DrawSheet | None = None,
    quiet: bool = True,
) -> list[dict]:
    """Writes table.csv and the images (images/ID.png, images.npz or images.h5) to a new folder.

    The folder appears when everything in it is written, or not at all.

    Args:
        place: folders, files or patterns of the images.
        out: the folder; it must not exist, or be empty.
        like: the data set whose recipe and pixel scale to follow; other scales are flagged.
        image_format: one of ``FORMATS``; for the two arrays all images are kept in memory.
        side: pixels along each side.
        rescale: whether images of another scale are resampled to its.
        hdu: number or EXTNAME of the image in FITS files that hold several; where the table names those, it says it.
        draw_sheet: draws contact.png: (path, rows to show, pixels by id, how many there are), see
            ``figures.contactsheet``; None: no sheet.
        quiet: no progress bar.

    Returns:
        The rows of the table, see ``COLUMNS``. A file that cannot be read is a row with its ``error`` and no path.

    Raises:
        UserError: if there is something in ``out`` already, or no file can be read.
    """
    out = Path(out)
    paths = find_images(place)
    options = dict(recipe=like.recipe, native_size=side, expected_arcsec=like.pixel_scale_arcsec, hdu=hdu)
    options["rescale_to_arcsec"] = like.pixel_scale_arcsec if rescale else None
    sheet_step = -(-len(paths) // MAX_ON_SHEET)
    rows, images = [], {}
    with _new_folder(out) as part:
        names = _names(paths)
        for i, path in enumerate(progress(paths, "preparing", quiet)):
            row, pixels = _prepare_one(path, names[i], out, options)
            if pixels is not None and image_format == "png":
                row |= {"path": f"images/{names[i]}.png", "hdu": ""}
                (part / "images").mkdir(exist_ok=True)
                PillowImage.fromarray(pixels).save(part / row["path"])
            if pixels is not None and (image_format != "png" or i % sheet_step == 0):
                images[names[i]] = pixels
            rows.append(row)
        if all(row["error"] for row in rows):
            raise UserError(f"none of {counted(len(rows), 'file')} can be read; the first: {rows[0]['error']}")
        if image_format != "png":
            _save_arrays(part, image_format, rows, images)
        _save_table(part / "table.csv", rows)
        if draw_sheet is not None:
            draw_sheet(part / "contact.png", rows[::sheet_step], images, len(rows))
    return rows


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Yields an empty folder, which becomes ``out`` if the block succeeds; if it fails nothing is left.

    What a killed process left of it is removed by the next one for the same ``out``.

    Raises:
        UserError: if there is something in ``out`` already, another process writes it, or it cannot be written.
    """
    part, handle = out.parent / f".{out.name}.part", None
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out} is there already, and is left as it is: give another folder, or delete it first")
        out.parent.mkdir(parents=True, exist_ok=True)
        if part.is_symlink():  # whoever put it there would have another folder emptied below
            part.unlink()
        part.mkdir(exist_ok=True)
        handle = _hold(part)
        for left in part.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}; choose another folder") from None
    try:
        yield part
        if out.exists():
            out.rmdir()
        part.rename(out)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}; nothing is left there") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _hold(folder: Path) -> int | None:
    """Returns a handle that keeps other processes from the folder until it is closed; None where there is none such.

    Raises:
        UserError: if another process has it.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows
        return None
    if lock_file(handle) is False:
        os.close(handle)
        raise UserError(f"another process is writing in {folder}: wait for it, or give another folder")
    return handle


def _names(paths: list[Path]) -> list[str]:
    """Returns a name for every file, from its own; where some repeat, the folder's name and a number are added."""
    stems = [printable(without_suffix(path.name)) for path in paths]
    names, taken, counts = [], set(), Counter(stems)
    for path, stem in zip(paths, stems, strict=True):
        name = stem if counts[stem] == 1 else f"{printable(path.parent.name)}_{stem}"
        candidate, k = name, 1
        while candidate.lower() in taken:  # some file systems do not tell upper from lower case
            k += 1
            candidate = f"{name}_{k}"
        taken.add(candidate.lower())
        names.append(candidate)
    return names


def _prepare_one(path: Path, name: str, out: Path, options: dict) -> tuple[dict, np.ndarray | None]:
    facts = parse_source_name(path.name)
    source = seen_from(path, out)
    row = dict.fromkeys(COLUMNS, "") | {"id": name, "source": source, "hdu": options["hdu"] or ""}
    if facts["class_code"] in MiraBest_full.classes:
        row["label"] = facts["class_code"]
    if np.isfinite(facts["las_arcsec"]):
        row["las_arcsec"] = facts["las_arcsec"]
    try:
        image = read_image(path, **options)
    except UserError as error:
        return row | {"error": str(error)}, None
    ra, dec = image.position or (facts["ra_deg"], facts["dec_deg"])
    if np.isfinite([ra, dec]).all():
        row |= {"ra": f"{ra:.6f}", "dec": f"{dec:.6f}"}
    flags = list(image.flags)
    if image.pixel_scale_arcsec is not None:
        used = options["rescale_to_arcsec"] or image.pixel_scale_arcsec
        row["pixel_scale_arcsec"] = f"{used:.4g}"
        if facts["las_arcsec"] > options["native_size"] * used:
            flags.append("too_large")
    return row | {"path": source, "flags": " ".join(flags)}, image.pixels


def _save_table(path: Path, rows: Iterable[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows({key: safe_cell(value) for key, value in row.items()} for row in rows)


def _save_arrays(folder: Path, image_format: str, rows: list[dict], images: dict[str, np.ndarray]) -> None:
    """Writes ``images`` (N, side, side) uint8 and texts ``id`` and ``label`` (N,), of the files that could be read."""
    good = [row for row in rows if not row["error"]]
    stack = np.stack([images[row["id"]] for row in good])
    texts = {key: [row[key] for row in good] for key in ("id", "label")}
    if image_format == "npz":
        np.savez_compressed(folder / "images.npz", images=stack, **{key: np.array(v) for key, v in texts.items()})
        return
    try:
        import h5py
    except ImportError:
        raise UserError("HDF5 needs a package: pip install h5py; or take --format npz") from None
    with h5py.File(folder / "images.h5", "w") as file:
        file.create_dataset("images", data=stack, compression="gzip", chunks=(1, *stack.shape[1:]))
        for key, values in texts.items():
            file.create_dataset(key, data=values, dtype=h5py.string_dtype())


def common_scale(rows: list[dict]) -> float | None:
    """Returns the pixel scale of the images of a table, arcsec; None if it is not known, or they differ in it."""
    scales = sorted(float(row["pixel_scale_arcsec"]) for row in rows if row["pixel_scale_arcsec"])
    return None if not scales or scales_differ(scales[0], scales[-1]) else scales[0]


def describe(rows: list[dict]) -> str:
    """Returns in a line how many images there are, with which flags and labels."""
    good = [row for row in rows if not row["error"]]
    flags = [flag for row in good for flag in row["flags"].split()]
    parts = [counted(len(good), "image")]
    parts += [f"{flags.count(flag)} {flag}" for flag in sorted(set(flags))]
    if n_bad := len(rows) - len(good):
        parts.append(f"{n_bad} unreadable (see the column error)")
    labels = sorted({row["label"] for row in good if row["label"]})
    n_unknown = sum(not row["label"] for row in good)
    parts.append(f"labels from the names: {', '.join(labels) or 'none'}")
    return ", ".join(parts) + (f", {n_unknown} to be filled in" if n_unknown else "")
