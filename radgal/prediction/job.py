"""The making of a whole catalog: its list of chunks, what is already there, and the table at the end."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radgal.images.finding import find_images
from radgal.images.mosaic import Position
from radgal.prediction.catalog import Column, Part, check_suffix, part_suffix, read_part, remove_parts, write_catalog
from radgal.prediction.catalogpage import files_of, is_page, put, write_page
from radgal.prediction.chunk import Chunk, Settings, columns_of, load, predict_chunk
from radgal.prediction.inputs import Source, explain, identify, open_mosaic
from radgal.prediction.positions import COLUMNS, read_positions
from radgal.prediction.summary import Summary, describe_calibration
from radgal.prediction.survey import confusion_of, describe_counts, expected_counts
from radgal.prediction.thumbnails import Sheets, path_beside, read_sheets
from radgal.progress import bar, working
from radgal.tasks import run_tasks
from utils import UserError, counted, free_name, remove_if_dead, write_json

FORMAT = "radgal-predict-1"
READY = "ready.json"  # among the parts: says that the catalog is whole, and where the one that was there goes
PART_ROWS = 1000
PATHS = (str, os.PathLike)
EXPLAINED = ("pixel_scale", "several_images")
"""Flags of which the first image is told of as soon as it is there."""


@dataclass(frozen=True)
class Job:
    """A catalog to be made; ``request`` tells in plain values all that it depends on."""

    settings: Settings
    sources: Sequence[Source]
    out: Path
    part_rows: int
    request: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Where the finished parts are until the catalog is written."""
        return self.out.with_name(f"{self.out.name}.parts")

    @property
    def record(self) -> Path:
        """The file beside the catalog that tells how it was made."""
        return self.out.with_name(f"{self.out.name}.json")

    @property
    def page(self) -> Path:
        """The page beside the catalog."""
        return self.out.with_suffix(".html")

    @property
    def columns(self) -> list[Column]:
        """The columns of the catalog."""
        return columns_of(self.settings)

    def chunks(self) -> Iterator[Chunk]:
        """Yields the tasks, in the order of the catalog; each can be done alone, anywhere, and twice."""
        for index, start in enumerate(range(0, len(self.sources), self.part_rows)):
            part = self.folder / f"part-{index:06d}{part_suffix(self.out)}"
            yield Chunk(str(part), tuple(self.sources[start : start + self.part_rows]))


def list_sources(
    images: Any,
    mosaic: str | None,
    out: Path,
    columns: Mapping[str, str | None] | None = None,
    say: Callable[[str], object] = print,
) -> list[Source]:
    """Returns the sources that a request names.

    Args:
        images: paths, folders or patterns of images; with ``mosaic``, the table of positions.
        mosaic: the image that positions are cut out of, or None.
        out: the catalog, which is no image of the request though it may lie among them, in FITS format.
        columns: of the table, see :func:`radgal.prediction.positions.read_positions`; None: the usual names.
        say: gets a line on what was guessed of a table, or left out of a folder.

    Raises:
        UserError: if what is given is no name of a file, or there is none.
    """
    is_one = mosaic is not None or isinstance(images, PATHS) or not isinstance(images, Iterable)
    names = [images] if is_one else list(images)
    if odd := [one for one in names if not isinstance(one, PATHS)]:
        what = "the catalog of positions is" if mosaic is not None else "images are"
        raise UserError(f"{what} given by the names of files, not as {type(odd[0]).__name__}; write a file of it first")
    if mosaic is not None:
        return read_positions(images, columns or dict.fromkeys(COLUMNS), say)
    return [str(path) for path in find_images(names, say) if path.resolve() != out.resolve()]


def plan(settings: Settings, sources: Sequence[Source], out: Path, part_rows: int = PART_ROWS) -> Job:
    """Returns the job of making a catalog.

    Args:
        settings: the networks and what is asked of them.
        sources: paths of images, or positions; never sorted or changed here.
        out: the catalog; its suffix says the format.
        part_rows: rows of a part, which is what a crash may lose.

    Raises:
        UserError: if the catalog cannot be written in that format, or the mosaic cannot be used.
    """
    check_suffix(out)
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; give the name of a file")
    if not sources:
        raise UserError("there are no images to predict")
    if settings.page and Path(out).with_suffix(".html").exists() and not is_page(Path(out).with_suffix(".html")):
        raise UserError(
            f"{Path(out).with_suffix('.html')} is there and is no page of a catalog: move it, give another --out, or "
            "--no-page"
        )
    if part_rows < 1:
        raise UserError(f"--part-rows {part_rows}: a part needs at least one row")
    if settings.mosaic is not None:
        open_mosaic(settings.mosaic, settings.hdu)
    request = {
        "format": FORMAT,
        "runs": [{"checkpoint": member.path, "sha256": member.sha256} for member in settings.members],
        "classes": list(settings.classes),
        "rotations": settings.rotations,
        "mc_samples": settings.mc_samples,
        "overlap": settings.overlap,
        "seed": settings.seed,
        "rescale": settings.rescale,
        "mosaic": settings.mosaic and [settings.mosaic, *_state(settings.mosaic)],
        "images": len(sources),
        "images_checksum": _checksum(sources),
        "part_rows": part_rows,
    }
    if any(member.reflections for member in settings.members):  # catalogs of before there was this have none
        request["reflections"] = True
    if settings.temperatures is not None:
        request["temperatures"] = settings.temperatures
    if settings.priors is not None:
        shares = {"survey": settings.priors, "training": settings.shares}
        request["priors"] = {key: dict(zip(settings.classes, of, strict=True)) for key, of in shares.items()}
        request["prob_survey_from"] = "prob" if settings.temperatures is None else "prob_calibrated"
    if settings.sets is not None:
        limits = dict(zip(settings.classes, settings.limits, strict=True))
        request["sets"] = {"coverage": settings.sets, "thresholds": limits}
    if len(settings.members) > 1 and not settings.mc_samples:
        request["spread"] = "standard deviation over runs (M - 1)"
    if settings.hdu is not None:  # and none of these
        request["hdu"] = settings.hdu
    return Job(settings, sources, Path(out), part_rows, json.loads(json.dumps(request)))


def _checksum(sources: Sequence[Source]) -> str:
    """Returns a checksum of the list of sources, and of the sizes and times of their files."""
    found = hashlib.sha256()
    for source in sources:
        what = tuple(vars(source).values()) if isinstance(source, Position) else (source, *_state(source))
        found.update(repr(what).encode("utf-8", "surrogateescape") + b"\n")
    return found.hexdigest()


def _state(path: str) -> tuple[int, int]:
    try:
        state = os.stat(path)
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns


def begin(job: Job, resume: bool, say: Callable[..., None] = print) -> bool:
    """Prepares the folder of parts; returns whether there is anything left to do.

    Parts that are damaged, or do not hold the rows that they are to hold, are removed, and that is said.

    Raises:
        UserError: if parts are there and ``resume`` is not wanted, or they belong to another request.
    """
    record = job.folder / "request.json"
    if not record.exists():  # what a process left that was killed while it began, or removed the parts
        for left in job.folder.glob(".*.part"):
            remove_if_dead(left, or_unknown=True)
        (job.folder / READY).unlink(missing_ok=True)
        with suppress(OSError):
            job.folder.rmdir()
    if not resume:
        if job.folder.exists():
            n_parts = len(list(job.folder.glob("part-*")))
            raise UserError(
                f"{job.folder} holds {n_parts} finished parts of a prediction that was interrupted: --resume goes on "
                "with it; to start afresh remove that folder, or give another --out"
            )
    elif record.exists():
        _compare(job, record, "the finished parts there")
        if (job.folder / READY).exists():  # all that was left to do is to put it where it belongs
            assemble(job, say)
            return False
        _remove_misfits(job, say)
        return True
    elif job.out.exists() and job.record.exists():
        _compare(job, job.record, f"the finished catalog {job.out.name}")
        return False
    write_json(record, job.request)
    return True


def _compare(job: Job, record: Path, what: str) -> None:
    try:
        before = json.loads(record.read_text(encoding="utf-8"))
        before = {key: before.get(key) for key in job.request}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{record} cannot be read ({error}); remove it, or start without --resume") from None
    differs = [key for key in job.request if before[key] != job.request[key]]
    if differs:
        changes = "; ".join(f"{key}: {_short(before[key])} then, {_short(job.request[key])} now" for key in differs)
        raise UserError(
            f"--resume: {what} ({record}) came of another request ({changes}); give the same runs, images and "
            "options as before, or another --out"
        )


def _remove_misfits(job: Job, say: Callable[..., None]) -> None:
    for chunk in job.chunks():
        if Path(chunk.part).exists():
            try:
                part = read_rows(job, chunk)
                if job.settings.page:
                    read_sheets(path_beside(chunk.part), len(part["id"]))
            except UserError as error:
                say(f"made again: {error}")
                Path(chunk.part).unlink()


def read_rows(job: Job, chunk: Chunk) -> Part:
    """Returns the part of a chunk.

    Raises:
        UserError: if it is damaged, or its rows are not those of the chunk's sources, in their order.
    """
    part, rows = read_part(Path(chunk.part), job.columns), [identify(source) for source in chunk.sources]
    # as texts, since a position that is no number (NaN) is not equal to itself
    if any([*map(repr, part[name].tolist())] != [repr(row[name]) for row in rows] for name in rows[0]):
        raise UserError(
            f"{chunk.part} does not hold the {counted(len(rows), 'row')} from {rows[0]['id']} to {rows[-1]['id']} "
            "that it is to hold; --resume makes it again"
        )
    return part


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def run_job(
    job: Job,
    *,
    resume: bool = False,
    say: Callable[..., None] = print,
    quiet: bool = True,
    workers: int | None = None,
    scheduler: str | None = None,
    collect: list[Part] | None = None,
) -> Summary:
    """Makes the catalog, in this process or by dask workers; what is finished stays finished, whatever happens.

    Args:
        resume: whether to go on with what an earlier call left.
        say: prints.
        quiet: no progress bar.
        collect: gets the parts, in order, before they are joined in the file; None: they are not kept.
        workers, scheduler: see :func:`radgal.tasks.run_tasks`; both None: this process.
    """
    begun = begin(job, resume, say)
    summary = Summary()

    def notice(part: Part) -> None:
        _notice(job, summary, part, say)
        if collect is not None:
            collect.append(part)

    if begun and (workers is not None or scheduler is not None):
        tasks = [PartTask(job.settings, chunk) for chunk in job.chunks()]
        run_tasks(run_part, tasks, workers=workers, scheduler=scheduler, unit="part", quiet=quiet)
        for task in tasks:
            notice(read_rows(job, task.chunk))
        assemble(job, say)
    elif begun:
        with bar(len(job.sources), "predicting", quiet, unit="image") as shown:
            for chunk in job.chunks():
                predict_chunk(job.settings, chunk, shown.update)
                notice(read_rows(job, chunk))
        assemble(job, say)
    else:
        say(f"{job.out} is finished already; nothing was done")
    return summary


@dataclass(frozen=True)
class PartTask:
    """One part of a catalog, as a task for any worker."""

    settings: Settings
    chunk: Chunk

    def __str__(self) -> str:
        return Path(self.chunk.part).name


def run_part(task: PartTask) -> None:
    """Makes one part, unless it is there."""
    predict_chunk(task.settings, task.chunk)


def _notice(job: Job, summary: Summary, part: Part, say: Callable[..., None]) -> None:
    """Counts a part, and warns of the first image of another pixel scale, and of the first of several in a file."""
    known = set(summary.first)
    summary.add(part)
    scales = {member.preparation.pixel_scale_arcsec for member in job.settings.members} - {None}
    trained = " and ".join(f"{scale:g}" for scale in sorted(scales)) or "squares"
    for flag in EXPLAINED:
        if flag in summary.first and flag not in known:
            say(f"warning: {explain(flag, job.sources[summary.first[flag]], job.settings.where, trained)}")


def assemble(job: Job, say: Callable[..., None] = print) -> None:
    """Writes the catalog from its parts, keeps a catalog that was there under a free name, and removes the parts.

    It is made whole among the parts first, with a note of where the one that was there goes. After a kill anywhere the
    next call goes on from there, and takes neither of the two for the other.

    Raises:
        UserError: if a part is missing, damaged, or does not hold the rows that it is to hold.
    """
    whole, ready = job.folder / f"whole{job.out.suffix}", job.folder / READY
    page, pictures = job.folder / "page.html", job.folder / "page_files"
    if not ready.exists():
        chunks = list(job.chunks())
        if missing := [Path(chunk.part).name for chunk in chunks if not Path(chunk.part).exists()]:
            raise UserError(
                f"{job.folder} lacks {len(missing)} of {counted(len(chunks), 'part')}, {missing[0]} first: use --resume"
            )
        with working("writing the catalog"):
            write_catalog(whole, job.columns, lambda: (read_rows(job, chunk) for chunk in chunks), len(job.sources))
        if job.settings.page:
            shutil.rmtree(pictures, ignore_errors=True)  # of an earlier call that was killed here
            with working("making the page"):
                _write_page(job, page, pictures)
        kept_as = free_name(job.out).name if job.out.exists() else None
        write_json(ready, {"kept_as": kept_as, "found": _find(job, chunks, say)})
    found = json.loads(ready.read_text(encoding="utf-8"))
    if whole.exists():
        if kept := found["kept_as"]:
            _keep(job, job.out.with_name(Path(kept).name))
            say(f"the catalog that was there is now {job.out.with_name(kept)}")
        os.replace(whole, job.out)
    put(pictures, files_of(job.page))
    put(page, job.page)
    write_json(job.record, job.request | found.get("found", {}))
    remove_parts(job.folder)


def _find(job: Job, chunks: Sequence[Chunk], say: Callable[..., None]) -> dict[str, Any]:
    """Returns what the record says of the rows of a catalog for a survey, and says it."""
    settings = job.settings
    if settings.priors is None:
        return {}
    (first, *others), confusion = settings.members, None
    if not others:
        confusion = confusion_of(load(first, settings.device), settings.rotations)
    counts = expected_counts((read_rows(job, chunk) for chunk in chunks), settings.classes, confusion)
    say(describe_counts(counts))
    return {"expected_counts": counts}


def _keep(job: Job, kept: Path) -> None:
    moved = [(job.record, kept.with_name(f"{kept.name}.json")), (job.out, kept)]
    if is_page(job.page):
        moved = [(files_of(job.page), files_of(kept)), (job.page, kept.with_suffix(".html")), *moved]
    for path, name in moved:
        if path.exists():
            os.replace(path, name)


def _write_page(job: Job, page: Path, pictures: Path) -> None:
    """Makes the page among the parts."""

    def parts() -> Iterator[tuple[Part, Sheets]]:
        for chunk in job.chunks():
            part = read_rows(job, chunk)
            yield part, read_sheets(path_beside(chunk.part), len(part["id"]))

    names = [Path(member.path).parent.name or member.path for member in job.settings.members]
    about = f"{counted(len(job.sources), 'source')} classified by {', '.join(names)}"
    shape = dict(classes=job.settings.classes, n_rows=len(job.sources), part_rows=job.part_rows)
    words = dict(name=job.out.name, about=about, probabilities=describe_calibration(job.settings.temperatures))
    write_page(page, pictures, parts=parts, **words, **shape)
