"""Small helpers that know nothing of galaxies, networks or figures."""

from __future__ import annotations

import difflib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """An expected mistake of input or surroundings: its text is all the user needs, no traceback."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the known name most like ``word`` (case ignored), or None if none is like it."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[close[0]] if close else None


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; it takes the place of ``path`` only if the block succeeds.

    A block that fails, or a process killed inside it, leaves the file that was there untouched.

    Raises:
        UserError: if the folder cannot be made or written (read-only, full, gone).
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another folder or free some space") from None
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; the file that was there is untouched") from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: str | Path, content: object) -> None:
    """Writes ``content`` as indented JSON, atomically; NaN and infinities are refused as not being JSON."""
    text = json.dumps(content, indent=2, allow_nan=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
