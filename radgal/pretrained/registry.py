"""The one list of the networks that come along: their names, their files, and the checksums that those must have.

``SHA256SUMS`` is that list, a line a network; ``sha256sum -c`` reads it too. A network NAME is ``NAME.pt``, a
checkpoint like any other but in half precision; its card is ``NAME.json``. They lie in this folder, in the package,
so that a checkout, ``pip install .`` and ``pip install -e .`` all find them at the same place.
"""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path

from utils import UserError, atomic_write, nearest_path, sha256_of

FOLDER = Path(__file__).parent
LIST = "SHA256SUMS"
HOW_TO_MEND = "install the program again"


def checksums() -> dict[str, str]:
    """Returns the SHA-256 of the file of each network, by name, in the order of the list."""
    try:
        lines = (FOLDER / LIST).read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise UserError(f"{FOLDER / LIST} cannot be read ({error.strerror}); {HOW_TO_MEND}") from None
    pairs = [line.split() for line in lines]
    return {file.removesuffix(".pt"): sha256 for sha256, file in pairs}


def names() -> list[str]:
    """Returns the names of the networks that come along."""
    return list(checksums())


def file_of(name: str) -> Path:
    """Returns the checkpoint of a network that comes along, checked against the list.

    Raises:
        UserError: if it is missing, or is not the file that the list says.
    """
    path = FOLDER / f"{name}.pt"
    try:
        found = sha256_of(path)
    except OSError as error:
        raise UserError(f"the network {name}, {path}, cannot be read ({error.strerror}); {HOW_TO_MEND}") from None
    if found != checksums()[name]:
        raise UserError(
            f"the network {name} is refused: {path} is not the file that came along (SHA-256 {found}); {HOW_TO_MEND}"
        )
    return path


def name_of(path: str | os.PathLike) -> str | None:
    """Returns the name of the network whose checkpoint a path is; None for any other file."""
    path = Path(path).resolve()
    return path.stem if path.parent == FOLDER.resolve() and path.suffix == ".pt" else None


def nearest_names(word: str) -> list[str]:
    """Returns the names most like a word, the likest first, at most three."""
    return difflib.get_close_matches(word.lower(), names(), n=3, cutoff=0.5)


def no_such_run(run: str | os.PathLike) -> UserError:
    """Returns the error for a run that is neither here nor comes along; its text has the nearest names."""
    like = nearest_names(os.fspath(run))
    more = f", and no network of that name comes along; nearest: {', '.join(like)}" if like else ""
    return UserError(f"there is no run folder or checkpoint {run}{more or nearest_path(run)}")


def check_name(name: str) -> str:
    """Returns ``name``, if a network of that name comes along.

    Raises:
        UserError: if none does; the text has the nearest names.
    """
    if name in names():
        return name
    like = nearest_names(name)
    listed = f"nearest: {', '.join(like)}" if like else f"there are {', '.join(names()) or 'none'}"
    raise UserError(f"no network {name} comes along with this program; {listed}")


def read_card(name: str) -> dict:
    """Returns the card of a network: what `python -m benchmarks.pretrained` found of it.

    Raises:
        UserError: if it cannot be read.
    """
    path = FOLDER / f"{name}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"the card of {name}, {path}, cannot be read ({error}); {HOW_TO_MEND}") from None


def register(name: str) -> str:
    """Writes the checksum of a network's file, as it is now, into the list; returns it."""
    sha256 = sha256_of(FOLDER / f"{name}.pt")
    known = checksums() | {name: sha256}
    with atomic_write(FOLDER / LIST) as temporary:
        temporary.write_text("".join(f"{known[one]}  {one}.pt\n" for one in sorted(known)), encoding="ascii")
    return sha256
