"""The report of a run, or of several side by side: one HTML page that needs nothing but itself.

Everything in it comes from the run folders' saved files, which are not trusted: every text is escaped, images are
encoded anew, and the page's own policy forbids all other scripts and every request.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shlex
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from radgal.data.datasets import DATASETS
from radgal.figures.style import load_matplotlib
from radgal.files.tables import file_name
from radgal.report import poseviews, resultviews, runviews, sourceviews
from radgal.report.savedrun import SavedRun, read_run, to_float
from radgal.report.values import clean
from radgal.runs.files import RunFile
from utils import UserError, atomic_write, counted

TEMPLATES = Path(__file__).resolve().parent / "templates"
GENERATOR = "E2CNNRadGal run report"
MAX_PAGE_BYTES = 5_000_000
MAX_IMAGE_BYTES = 4_200_000  # of all images of a page as text, which leaves room for the rest of seven runs
MAX_IMAGE_PIXELS = 40_000_000
THUMBNAIL_PX = 300  # galaxies are 150 px wide as a rule: only the images of others are made smaller
FIGURE_PX = 1200
STALE_SECONDS = 60  # copying a run folder may put its files' times that far apart
PARTS: dict[str, Callable[[SavedRun], Any]] = {
    "summary": runviews.summary,
    "scores": resultviews.scores,
    "confusion": resultviews.confusion,
    "roc": resultviews.roc,
    "reliability": resultviews.reliability,
    "curves": runviews.curves,
    "gallery": sourceviews.gallery,
    "rotation": poseviews.rotation,
    "equivariance": poseviews.equivariance,
    "balance": runviews.balance,
    "configuration": runviews.configuration,
    "environment": runviews.environment,
}
REFERENCES = (
    "Networks and recipe: Scaife & Porter 2021, MNRAS 503, 2369, doi:10.1093/mnras/stab530, arXiv:2102.08252",
    "Steerable layers (e2cnn): Weiler & Cesa 2019, arXiv:1911.08251",
    "MC dropout: Gal & Ghahramani 2016, arXiv:1506.02142",
)


def write_report(folders: Sequence[str | Path], out: str | Path | None = None) -> tuple[Path, list[str]]:
    """Writes the page of one run, or of several side by side.

    Args:
        folders: of the runs, or checkpoints in them.
        out: the file; None: report.html in the run's folder, or for several runs in ``runs``.

    Returns:
        Where it was written, and what could not be read, a line each.

    Raises:
        UserError: if a run is none, or the page cannot be written.
    """
    runs = list({run.folder.resolve(): run for run in map(read_run, folders)}.values())
    path = Path(out) if out else RunFile.REPORT.at(runs[0].folder if len(runs) == 1 else "runs")
    _forbid_overwriting(path)
    pages = [describe_run(run, f"r{i}", MAX_IMAGE_BYTES // len(runs)) for i, run in enumerate(runs)]
    text = render(pages, compare_runs(runs) if len(runs) > 1 else None, cite(runs))
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    problems = [f"{page['folder']}: {problem}" for page in pages for problem in page["problems"]]
    if (size := path.stat().st_size) > MAX_PAGE_BYTES:
        problems.append(
            f"{path} is {size / 1e6:.1f} MB, more than {MAX_PAGE_BYTES / 1e6:g} MB: give fewer runs at a time"
        )
    return path, problems


def _forbid_overwriting(path: Path) -> None:
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out {path}: a report is an HTML file; end its name with .html")
    if path.is_dir():
        raise UserError(f"--out {path} is a folder; name a file in it, such as {RunFile.REPORT.at(path)}")
    if path.is_file() and GENERATOR.encode() not in path.open("rb").read(4096):
        raise UserError(f"--out {path} is there and is not a report of this program; choose another name")


def describe_run(run: SavedRun, prefix: str, image_bytes: int) -> dict[str, Any]:
    """Returns all that the page says of a run; a part whose file is malformed is left out and named in ``problems``.

    Args:
        prefix: of the ids on the page.
        image_bytes: how much of the page its images may take.
    """
    page: dict[str, Any] = {
        "id": prefix,
        "name": clean(run.name),
        "folder": clean(run.folder.as_posix()),
    }
    page["evaluate"] = clean(f"python main.py evaluate {shlex.quote(run.folder.as_posix())}", 1000)
    problems = list(run.problems)
    for name, view in PARTS.items():
        page[name], problem = attempt(view, run)
        if problem:
            problems.append(f"{name} is left out, its file holds something unexpected: {problem}")
    page["problems"] = [clean(problem, 400) for problem in problems + stale_results(run)]
    _add_images(run, page, image_bytes)
    return page


def attempt(view: Callable[..., Any], *args: Any) -> tuple[Any, str | None]:
    """Returns (what a view shows, None), or (None, what is wrong) if the saved files are not what it expects."""
    try:
        return view(*args), None
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        return None, f"{type(error).__name__} {error}"


def stale_results(run: SavedRun) -> list[str]:
    """Returns what in the folder was made of other weights than the kept ones, as after a resumed run."""
    notes = []
    kept, tested = (to_float(v) for v in (run.environment.get("kept_epoch"), run.metrics.get("epoch")))
    if None not in (kept, tested) and kept != tested:
        notes.append(f"the test result is of epoch {tested:g}, but epoch {kept:g} is kept now: evaluate the run again")
    # environment.json may be younger: a resume that has nothing to train writes it again
    finished = _written_at(RunFile.LAST, run) or _written_at(RunFile.ENVIRONMENT, run)
    for file in (RunFile.ROTATION_SOURCES, RunFile.EQUIVARIANCE_SUMMARY):
        if 0 < (_written_at(file, run) or 0) < (finished or 0) - STALE_SECONDS:
            notes.append(f"{file.file} is older than the end of the training: run `{file.command}` again")
    return notes


def _written_at(file: RunFile, run: SavedRun) -> float | None:
    """Returns when a file of the run was written, seconds; None if it is not there, or a link leads elsewhere."""
    try:
        path = file.at(run.folder)
    except UserError:
        return None
    return path.stat().st_mtime if path.is_file() else None


def _add_images(run: SavedRun, page: dict[str, Any], budget: int) -> None:
    """Puts data URIs into the page's gallery and rotation test while the budget lasts; says what had no room."""
    page["figures"], n_left_out = [], 0
    sources = (page["gallery"] or {"cards": {}})["cards"].values()
    for card in sources:
        card["image"] = encode_source(run.images[card["key"]]) if card["has_image"] else None
        budget -= len(card["image"] or "")
        if budget < 0 and card["image"]:
            card["image"], n_left_out = None, n_left_out + 1
    by_key: dict[str, str] = {}
    for row in (page["rotation"] or {"rows": []})["rows"]:
        name = f"{file_name(row['key'])}.png"
        try:
            path = RunFile.ROTATION_FIGURES.at(run.folder, name)
            image = encode_figure(path) if path.is_file() else None
        except (OSError, ValueError, SyntaxError, UserError) as error:
            page["problems"].append(clean(f"{name} cannot be read as an image: {error}", 400))
            continue
        if image and len(image) > budget:
            n_left_out += 1
        elif image:
            budget -= len(image)
            by_key[row["key"]] = row["figure"] = f"{page['id']}-figure-{len(page['figures'])}"
            page["figures"].append({"id": row["figure"], "name": row["name"], "image": image})
    for card in sources:
        card["figure"] = by_key.get(card["key"])
    if n_left_out:
        page["problems"].append(f"{counted(n_left_out, 'image', 'are')} left out to keep the page under 5 MB")


def encode_source(image: np.ndarray) -> str:
    """Returns a uint8 (S, S) image as the data URI of a PNG: square root of brightness, in the colors "inferno"."""
    load_matplotlib()
    from matplotlib import colormaps
    from PIL import Image

    stretched = np.sqrt(image / 255.0) * 255.0
    picture = Image.fromarray(np.round(stretched).astype(np.uint8))
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    picture = Image.fromarray(np.asarray(picture) // 4 * 4)  # 64 levels: half the size, no visible loss
    picture.putpalette((colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.uint8).tobytes())
    return _data_uri(picture)


def encode_figure(path: Path) -> str:
    """Returns a PNG file as the data URI of a smaller one.

    Raises:
        OSError, ValueError, SyntaxError: if it is no PNG, or is far too large.
    """
    from PIL import Image

    with Image.open(path, formats=("PNG",)) as picture:
        if picture.width * picture.height > MAX_IMAGE_PIXELS:
            raise ValueError(f"{picture.width} x {picture.height} pixels are too many")
        small = picture.convert("RGB")
    small.thumbnail((FIGURE_PX, FIGURE_PX))
    return _data_uri(small.quantize(64))


def _data_uri(picture: Any) -> str:
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def compare_runs(runs: Sequence[SavedRun]) -> dict[str, Any]:
    """Returns the table and the charts of several runs side by side, and whether their numbers may be compared."""
    names = _distinct([clean(run.name, 60) for run in runs])
    columns, rows, roc_lines = resultviews.comparison_columns(), [], []
    for i, (name, run) in enumerate(zip(names, runs, strict=True)):
        cells, _ = attempt(resultviews.comparison_cells, run)  # the run's own part tells what is malformed
        row = {"name": name, "id": f"r{i}", "network": runviews.network(run), "dataset": runviews.dataset(run)}
        rows.append(row | {"cells": cells or [None] * len(columns)})
        lines, _ = attempt(resultviews.roc_series, run, name, i)
        roc_lines += lines[:1] if lines and len(run.metrics.get("classes", ())) == 2 else []
    charts, _ = attempt(runviews.epoch_charts, dict(zip(names, runs, strict=True)))
    roc = resultviews.roc_chart("ROC curves", "Receiver operating characteristics of the runs.", roc_lines)
    charts = [*(charts or []), *([roc] if roc else [])]
    tested = {
        (runviews.dataset(run), str(run.metrics.get("checksum")), frozenset(row.get("name", "") for row in run.sources))
        for run in runs
        if run.metrics
    }
    return {"columns": columns, "rows": rows, "charts": charts, "same_test": len(tested) < 2}


def _distinct(names: Sequence[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]


def cite(runs: Sequence[SavedRun]) -> list[str]:
    """Returns what to cite for these runs, data sets first."""
    names = dict.fromkeys(str(run.environment.get("dataset") or run.option("data", "dataset")) for run in runs)
    citations = {name: getattr(DATASETS.get(name), "citation", None) for name in names}
    return [f"{name}: {text}" for name, text in citations.items() if text] + list(REFERENCES)


def render(pages: Sequence[dict[str, Any]], comparison: dict[str, Any] | None, citations: Sequence[str]) -> str:
    """Returns the HTML of the page."""
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return _template().render(
        generator=GENERATOR,
        script=script,
        script_hash=digest,
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        runs=pages,
        comparison=comparison,
        citations=citations,
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")
