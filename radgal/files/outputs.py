"""Whether a file or a folder can be written where it is asked for, said before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from utils import UserError


def check_new_file(path: str | Path, suffixes: Iterable[str], what: str) -> None:
    """Does nothing if a file of this name can be written; folders that are not there yet will be made.

    Args:
        path: as given by ``--out``.
        suffixes: that its name may end in, lower case.
        what: it is, for the message, such as ``a catalog``.

    Raises:
        UserError: for another suffix, a folder, or one in a folder that cannot be written.
    """
    path, suffixes = Path(path), tuple(suffixes)
    if path.is_dir():
        raise UserError(f"--out {path} is a folder; name a file in it, such as {path / f'mine{suffixes[0]}'}")
    if path.suffix.lower() not in suffixes:
        raise UserError(f"--out {path}: {what} is written as {', '.join(suffixes)}; end its name in one of these")
    check_new_folder(path.parent, path)


def check_new_folder(folder: str | Path, asked_for: str | Path | None = None) -> None:
    """Does nothing if a folder can be written, or made.

    Args:
        folder: the folder.
        asked_for: what was given by ``--out``, if that is something in it.

    Raises:
        UserError: if it, or the first folder above it that is there, is a file or may not be written.
    """
    folder = Path(folder).absolute()
    above = next(one for one in (folder, *folder.parents) if one.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise UserError(
            f"--out {asked_for or folder}: {above} is not a folder that can be written; choose another place"
        )
