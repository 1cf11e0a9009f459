"""The page beside a catalog: what was found, to look through, sort, filter and save parts of.

One file that asks no network; beyond some size the pictures are in a folder beside it. What it shows comes from the
parts of the catalog, which are not trusted: every text is escaped or set as text, and the page's own policy forbids
all other scripts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from radgal.files.tables import column_name
from radgal.images.reading import FLAGS
from radgal.prediction.catalog import Part
from radgal.prediction.intraining import IN_TRAINING
from radgal.prediction.thumbnails import TILES, Sheets
from radgal.report.page import TEMPLATES as REPORT_TEMPLATES
from radgal.report.values import clean

TEMPLATES = Path(__file__).resolve().parent / "templates"
GENERATOR = "E2CNNRadGal catalog page"
MOST_IN_ONE_FILE = 2000  # rows whose pictures are in the page itself
ENTROPY, CALIBRATED = "predictive_entropy", "prob_calibrated"


def is_page(path: Path) -> bool:
    """Returns whether a file is a page that this module made."""
    try:
        with path.open("rb") as stream:
            return GENERATOR.encode() in stream.read(4096)
    except OSError:
        return False


def files_of(page: Path) -> Path:
    """Returns the folder of a page's pictures."""
    return page.with_name(f"{page.stem}_files")


def put(made: Path, place: Path) -> None:
    """Moves a file or folder, if it is there, to where another may be."""
    if made.exists():
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        os.replace(made, place)


def write_page(
    page: Path,
    folder: Path,
    *,
    name: str,
    about: str,
    probabilities: str,
    classes: Sequence[str],
    n_rows: int,
    part_rows: int,
    parts: Callable[[], Iterator[tuple[Part, Sheets]]],
) -> None:
    """Writes the page of a catalog; ``folder`` is made for the pictures of more than 2000 rows.

    Args:
        page: the file.
        folder: for the pictures; the page looks for them in a folder of its own name that ends in ``_files``.
        name: of the catalog.
        about: what made it, a phrase.
        probabilities: of what kind those on the page are, in sentences.
        classes: in their order.
        n_rows, part_rows: of the catalog, and of each of its parts but the last.
        parts: starts reading the parts from the first.
    """
    embedded: list[str] = []
    columns = _Columns(classes)
    if n_rows > MOST_IN_ONE_FILE:
        folder.mkdir(exist_ok=True)
    for index, (part, sheets) in enumerate(parts()):
        columns.add(part, sheets)
        for k, png in enumerate(sheets.pngs):
            if n_rows > MOST_IN_ONE_FILE:
                (folder / f"{index:06d}-{k:03d}.png").write_bytes(png)
            else:
                embedded.append(base64.b64encode(png).decode("ascii"))
    sheets_per_part = -(-part_rows // TILES**2)
    shape = {"part_rows": part_rows, "per_part": sheets_per_part, "tiles": TILES, "embedded": embedded or None}
    data = {"name": clean(name), "classes": [clean(one) for one in classes], "sheets": shape, **columns.packed()}
    words = {"about": clean(about, 400), "probabilities": clean(probabilities, 400)}
    page.write_text(_render(clean(name), words, data), encoding="utf-8")


class _Columns:
    """The columns of the page: as short as they may be, since a page may have 100,000 rows."""

    def __init__(self, classes: Sequence[str]):
        self.classes = list(classes)
        self._lists: dict[str, list[Any]] = {}
        self._texts: dict[str, dict[str, int]] = {"flags": {}, "error": {}}

    def add(self, part: Part, sheets: Sheets) -> None:
        """Takes one part."""
        there = {"id": [clean(text) for text in part["id"].tolist()]}
        if "path" in part:
            there["path"] = part["path"].tolist()
        place = {name: -1 for name in ("",)} | {name: k for k, name in enumerate(self.classes)}
        there["class"] = [place.get(name, -1) for name in part["pred_name"].tolist()]
        for key, name, digits in (("ra", "ra_deg", 5), ("dec", "dec_deg", 5), ("entropy", ENTROPY, 3)):
            there[key] = _short(part.get(name), digits, len(part["id"]))
        for k, name in enumerate(self.classes):
            for key, prefix in (("p", "prob"), ("c", CALIBRATED)):
                there[f"{key}{k}"] = _short(part.get(column_name(prefix, name)), 4, len(part["id"]))
        there["learned"] = _short(part.get(IN_TRAINING), 0, len(part["id"]))
        for key, digits in (("field_arcsec", 1), ("extent_arcsec", 1), ("extent_px", 0)):
            there[key] = _short(sheets.facts[key], digits, len(part["id"]))
        for key in ("beam_major", "beam_minor", "beam_angle"):
            there[key] = _short(sheets.facts[key], 2, len(part["id"]))
        for key, known in self._texts.items():  # the same few texts again and again
            there[key] = [known.setdefault(text, len(known)) for text in part[key].tolist()]
        for key, values in there.items():
            self._lists.setdefault(key, []).extend(values)

    def packed(self) -> dict[str, Any]:
        """Returns what the page's script unpacks: columns that say nothing are left out, paths without their start."""
        lists = {key: values for key, values in self._lists.items() if any(value is not None for value in values)}
        start = ""
        if "path" in lists:
            start = os.path.commonprefix(lists["path"]).rpartition("/")[0]
            start += "/" if start else ""
            lists["path"] = [clean(path[len(start) :], 1000) for path in lists["path"]]
        used = {flag for text in self._texts["flags"] for flag in text.split(";")}
        flags = {flag: text for flag, text in FLAGS.items() if flag in used}
        texts = {key: [clean(text, 400) for text in known] for key, known in self._texts.items()}
        return {"columns": lists, "start": clean(start, 1000), "flags": flags, "texts": texts}


def _short(values: np.ndarray | None, digits: int, n: int) -> list[float | int | None]:
    """Returns numbers with so many decimals, None for NaN."""
    if values is None:
        return [None] * n
    rounded = np.round(values, digits).tolist()
    return [None if value != value else int(value) if value == int(value) else value for value in rounded]


def _render(name: str, words: dict[str, str], data: dict[str, Any]) -> str:
    """Returns the HTML of the page; ``words`` are ``about`` and ``probabilities``."""
    script = (TEMPLATES / "catalog.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    packed = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    style = (REPORT_TEMPLATES / "report.css").read_text(encoding="utf-8")
    return _template().render(
        generator=GENERATOR,
        name=name,
        **words,
        script=script,
        script_hash=digest,
        style=style + (TEMPLATES / "catalog.css").read_text(encoding="utf-8"),
        data=packed.replace("<", "\\u003c"),  # no text in it can end the element that it stands in
        images="data:" if data["sheets"]["embedded"] else "data: file: 'self'",
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("catalog.html")
