"""The report of a run, one HTML page that needs nothing but itself; of several runs, one that compares them.

Everything in it comes from the run folders' saved files, which are not trusted: every text is escaped, images are
encoded anew, and the page's own policy forbids all other scripts and every request.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

from radgal.data.datasets import DATASETS
from radgal.files.outputs import check_new_file
from radgal.files.tables import file_name
from radgal.progress import progress
from radgal.report import comparison, poseviews, questionviews, resultviews, runviews, sourceviews
from radgal.report.savedrun import SavedRun, read_run, to_float
from radgal.report.thumbnails import encode_figure, encode_source
from radgal.report.values import attempt, clean
from radgal.runs.files import RunFile
from utils import UserError, atomic_write, counted

TEMPLATES = Path(__file__).resolve().parent / "templates"
GENERATOR = "E2CNNRadGal run report"
MAX_PAGE_BYTES = 5_000_000
MAX_IMAGE_BYTES = 4_200_000  # of all images of a page as text, which leaves room for the rest
STALE_SECONDS = 60  # copying a run folder may put its files' times that far apart
PARTS: dict[str, Callable[[SavedRun], Any]] = {
    "summary": runviews.summary,
    "scores": resultviews.scores,
    "confusion": resultviews.confusion,
    "roc": resultviews.roc,
    "reliability": resultviews.reliability,
    "questions": questionviews.questions,
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
    "MC dropout: Gal & Ghahramani 2016, arXiv:1506.02142",
)
OF_STEERABLE = "Steerable layers (e2cnn): Weiler & Cesa 2019, arXiv:1911.08251"


def write_report(folders: Sequence[str | Path], out: str | Path | None = None) -> tuple[Path, list[str]]:
    """Writes the page of one run; of several, a page that compares them, and those of the single runs beside it.

    Args:
        folders: of the runs, or checkpoints in them.
        out: the file; None: report.html in the run's folder, or for several runs in ``runs``.

    Returns:
        Where it was written, and what could not be read, a line each.

    Raises:
        UserError: if a run is none, or a page cannot be written.
    """
    runs = list({run.folder.resolve(): run for run in map(read_run, folders)}.values())
    path = Path(out) if out else RunFile.REPORT.at(runs[0].folder if len(runs) == 1 else "runs")
    names = comparison.names_of(runs)
    alone = [path] if len(runs) == 1 else _beside(path, names)
    for one in dict.fromkeys([path, *alone]):
        _forbid_overwriting(one)
    problems = []
    for run, file in progress(list(zip(runs, alone, strict=True)), "making the report", quiet=False):
        page = describe_run(run)
        _write_page(file, run.name, [run], run=page)
        problems += [f"{page['folder']}: {problem}" for problem in page["problems"]]
    if len(runs) > 1:
        compared = comparison.compare_runs(runs, names, [file.name for file in alone])
        _write_page(path, f"{len(runs)} runs", runs, comparison=compared)
    for file in dict.fromkeys([path, *alone]):
        if (size := file.stat().st_size) > MAX_PAGE_BYTES:
            problems.append(f"{file} is {size / 1e6:.1f} MB, more than {MAX_PAGE_BYTES / 1e6:g} MB: too many runs")
    return path, problems


def _beside(path: Path, names: Sequence[str]) -> list[Path]:
    """Returns the files of the single runs' pages, named after the page that compares them and after the runs."""
    stems = [f"{path.stem}_{file_name(name)[-80:]}" for name in names]
    numbered = [stem if stems.count(stem) == 1 else f"{stem}_{i + 1}" for i, stem in enumerate(stems)]
    return [path.with_name(f"{stem}{path.suffix}") for stem in numbered]


def _forbid_overwriting(path: Path) -> None:
    check_new_file(path, (".html", ".htm"), "a report")
    if path.is_file() and GENERATOR.encode() not in path.open("rb").read(4096):
        raise UserError(f"--out {path} is there and is not a report of this program; choose another name")


def describe_run(run: SavedRun) -> dict[str, Any]:
    """Returns all that the page says of a run; a part whose file is malformed is left out and named in ``problems``."""
    page: dict[str, Any] = {
        "id": "r0",  # the beginning of the ids on the page
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
    _add_images(run, page, MAX_IMAGE_BYTES)
    return page


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


def cite(runs: Sequence[SavedRun]) -> list[str]:
    """Returns what to cite for these runs: first the data sets that they, or their first weights, were trained on."""
    names: list[str] = []
    for run in runs:
        start, also = (run.environment.get(key) for key in ("started_from", "also"))
        names.append(str(run.environment.get("dataset") or run.option("data", "dataset")))
        names += map(str, also if isinstance(also, Mapping) else ())
        names += [str(start.get("dataset"))] if isinstance(start, Mapping) else []
    citations = {name: getattr(DATASETS.get(name), "citation", None) for name in dict.fromkeys(names)}
    is_steerable = any(str(run.option("model", "base")).startswith(("CN", "DN")) for run in runs)
    texts = [f"{name}: {text}" for name, text in citations.items() if text]
    return [*texts, *REFERENCES, *([OF_STEERABLE] if is_steerable else [])]


def _write_page(path: Path, name: str, runs: Sequence[SavedRun], **content: Any) -> None:
    """Writes a page, atomically: of a ``run``, or of a ``comparison``."""
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    text = _template().render(
        generator=GENERATOR,
        script=script,
        script_hash=digest,
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        title=clean(name),
        citations=cite(runs),
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        **({"run": None, "comparison": None} | content),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
    environment.filters["pieces"] = lambda name: re.findall(r"[^_/ ]*[_/ ]?", name)[:-1] or [name]
    return environment.get_template("report.html")
