"""What was in a folder before is never replaced: it is moved to ``earlier.1``, ``earlier.2``, ... in that folder."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from radgal.runs import lock
from radgal.runs.files import RunFile, forbid_leaving
from utils import UserError, free_name

RESULTS = ".results.part"  # where results are gathered before they appear


def put_aside(folder: Path, names: Iterable[str]) -> Path | None:
    """Moves files and folders of ``folder``, in that order, to the next ``earlier.k``; None if there are none.

    They are gathered in ``earlier.part`` first: after a kill the next call goes on, and all are in one place.

    Raises:
        UserError: if they cannot be moved.
    """
    gathered, found = folder / "earlier.part", [folder / name for name in names if (folder / name).exists()]
    forbid_leaving(gathered, folder)
    if not found and not gathered.exists():
        return None
    try:
        if any((gathered / path.name).exists() for path in found):
            gathered.rename(free_name(folder / "earlier"))
        gathered.mkdir(exist_ok=True)
        for path in found:
            path.rename(gathered / path.name)
        return gathered.rename(free_name(folder / "earlier"))
    except OSError as error:
        raise UserError(
            f"cannot put what is in {folder} aside: {error.strerror}; nothing was overwritten; choose another folder"
        ) from None


@contextmanager
def scratch(place: Path) -> Iterator[Path]:
    """Yields an empty folder in ``place``, which one process has at a time; both are gone afterwards.

    What a killed process left there is removed.

    Raises:
        UserError: if another process has it, or it cannot be made.
    """
    new = place / "new"
    forbid_leaving(place, place.parent)
    forbid_leaving(new, place)
    with lock.hold(place, lock.NAME, "folder to write to"):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            yield new
        finally:
            shutil.rmtree(new, ignore_errors=True)
    with suppress(OSError):
        place.rmdir()


def remove_dead_scratch(folder: Path) -> None:
    """Removes the results that a killed process was about to write into ``folder``; those of a living one stay."""
    if (folder / RESULTS).is_dir():
        with suppress(UserError), scratch(folder / RESULTS):
            pass


@contextmanager
def new_results(
    folder: Path, files: Sequence[RunFile], goes_along: Sequence[RunFile] = (), say: Callable[..., None] = print
) -> Iterator[Path]:
    """Yields a folder to write results into, which then appear in ``folder``, all or (after an error) none.

    Other results that are there are put aside; those that say the very same stay.

    Args:
        files: all that the results may consist of.
        goes_along: what was made of the results that are put aside, and goes with them.
        say: prints where they are kept.

    Raises:
        UserError: if what is there leads out of ``folder`` by a link, or they cannot be written.
    """
    names = [one.at(folder).name for one in files]
    with scratch(folder / RESULTS) as new:
        yield new
        if any(not _is_same(folder / name, new / name) for name in names if (folder / name).exists()):
            say(f"the earlier results are kept in {put_aside(folder, [*names, *(one.file for one in goes_along)])}")
        for path in sorted(new.iterdir()):
            if not (folder / path.name).exists():
                path.rename(folder / path.name)


def _is_same(one: Path, other: Path) -> bool:
    """Returns whether two files, or two folders of files, hold the same."""
    if one.is_dir() and other.is_dir():
        names = sorted(path.name for path in one.iterdir())
        same_names = names == sorted(path.name for path in other.iterdir())
        return same_names and all(_is_same(one / name, other / name) for name in names)
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)
