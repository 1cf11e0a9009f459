"""Small helpers that know nothing of galaxies, networks or figures."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import secrets
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

VERSION = "1.0.0"  # of the program, also in CITATION.cff


class UserError(Exception):
    """An expected mistake of input or surroundings: its text is all the user needs, no traceback."""


def reason_of(error: BaseException, longest: int = 200) -> str:
    """Returns what an exception of another program says, as one short line for a message of this one.

    That is what the system says of a file, else the first line that says something, else the exception's type.
    """
    said = getattr(error, "strerror", None) or str(error)
    lines = [" ".join(line.split()) for line in said.splitlines()]
    line = next(filter(None, lines), type(error).__name__)
    return line if len(line) <= longest else line[: longest - 3] + "..."


def printable(text: str) -> str:
    """Returns text that every table can hold: control characters and bytes that are no text are escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the known name most like ``word`` (case ignored), or None if none is like it."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[close[0]] if close else None


def counted(n: int, noun: str, verb: str = "", several: str | None = None) -> str:
    """Returns ``1 row`` or ``2 rows``; with the verb of several (``are``, ``have``) ``1 row is`` or ``2 rows are``.

    ``several`` is the noun of several where that is not the noun and an s (``classes``).
    """
    words = [f"{n:,}", noun if n == 1 else several or f"{noun}s"]
    return " ".join([*words, {"are": "is", "have": "has"}.get(verb, verb) if n == 1 else verb]).rstrip()


def nearest_path(path: str | Path) -> str:
    """Returns ``; did you mean PATH?`` for the file or folder beside one that is not there; '' if none is like it."""
    path = Path(path).expanduser()
    try:
        like = nearest(path.name, (one.name for one in path.parent.iterdir() if not one.name.startswith(".")))
    except OSError:
        like = None
    return f"; did you mean {path.with_name(like)}?" if like else ""


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keeps warnings away, such as those of readers about headers (units, dates, comments) that are not needed here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; it takes the place of ``path`` only if the block succeeds.

    A block that fails, or a process killed inside it, leaves the file that was there untouched. What a killed process
    left of its temporary file, the next one that writes ``path`` removes.

    Raises:
        UserError: if the folder cannot be made or written (read-only, full, gone).
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, handle = _new_part(path.absolute())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another folder or free some space") from None
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)  # and not after it was moved: by then another process may have the name
        if not isinstance(error, OSError):
            raise
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; the file that was there is untouched"
        ) from error
    finally:
        if handle is not None:
            os.close(handle)


def _new_part(path: Path) -> tuple[Path, int | None]:
    """Returns a new, empty file beside ``path``, and the locked handle on it; None where the system has no locks.

    Its name is always the same, so that the next process finds what a dead one left; another if that is in use.
    """
    usual, create = path.with_name(f".{path.name}.part"), os.O_RDWR | os.O_CREAT | os.O_EXCL
    remove_if_dead(usual)
    with suppress(FileExistsError):
        handle = os.open(usual, create, 0o666)  # with the rights that the umask leaves
        locked = lock_file(handle)
        if locked and is_file_at(usual, handle):
            return usual, handle
        os.close(handle)
        if locked is None:  # nobody could tell whether it is of a dead process
            usual.unlink(missing_ok=True)
    other = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    handle = os.open(other, create, 0o666)
    if lock_file(handle):
        return other, handle
    os.close(handle)
    return other, None


def remove_if_dead(part: Path, or_unknown: bool = False) -> None:
    """Removes a temporary file that no living process holds; what is no plain file stays.

    Args:
        part: the file; it need not be there.
        or_unknown: whether to remove it, too, where the system cannot tell.
    """
    try:  # a link is not followed, and a pipe not waited for
        handle = os.open(part, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return
    try:
        locked = lock_file(handle) if stat.S_ISREG(os.fstat(handle).st_mode) else False
        is_dead = (or_unknown if locked is None else locked) and is_file_at(part, handle)
    finally:
        if os.name == "nt":  # where an open file cannot be removed
            os.close(handle)
    if is_dead:
        part.unlink(missing_ok=True)
    if os.name != "nt":
        os.close(handle)


def lock_file(handle: int) -> bool | None:
    """Returns True if an open file is now locked, False if another process has it, None if there are no locks here.

    The system lets go of the lock when the process ends, however it ends.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_file_at(path: Path, handle: int) -> bool:
    """Returns whether an open file is the one that has this path now."""
    try:
        there, mine = os.stat(path), os.fstat(handle)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, as ``sha256sum`` writes it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_json(path: str | Path, content: object) -> None:
    """Writes ``content`` as indented JSON, atomically; NaN and infinities are refused as not being JSON."""
    text = json.dumps(content, indent=2, allow_nan=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def free_name(path: Path) -> Path:
    """Returns ``stem.k.suffix`` with the lowest k >= 1 that is not taken: where an earlier run's file is kept."""
    k = 1
    while (kept := path.with_name(f"{path.stem}.{k}{path.suffix}")).exists():
        k += 1
    return kept


def format_duration(seconds: float) -> str:
    """Returns seconds as h:mm:ss."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}"


def set_seed(seed: int) -> None:
    """Seeds Python's, numpy's and torch's (CPU and GPU) global random number generators."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_states(device=None) -> dict:
    """Returns the states of Python's, numpy's and torch's (CPU and GPU) generators, in plain types and tensors."""
    import random

    import numpy as np
    import torch

    legacy = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (legacy[0], torch.from_numpy(legacy[1].astype("int64")), *legacy[2:]),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device is not None and device.type == "cuda" else None,
    }


def set_random_states(states: dict, device=None) -> None:
    """Puts the generators back to what :func:`random_states` returned; a GPU's only if it was on one, and is."""
    import random

    import numpy as np
    import torch

    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype("uint32"), *rest))
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and device is not None and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


@contextmanager
def float32_in_full() -> Iterator[None]:
    """Inside, new tensors are float32, and float32 on a GPU is float32; afterwards all is as it was.

    TensorFloat-32 keeps 10 of the 23 bits; torch allows it in convolutions unless told otherwise. Whatever computes
    results is inside, and as ``@float32_in_full()`` this is written above functions, too.
    """
    import torch

    switches = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before, dtype = [switch.allow_tf32 for switch in switches], torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float32)
        for switch in switches:
            switch.allow_tf32 = False
        yield
    finally:
        for switch, allowed in zip(switches, before, strict=True):
            switch.allow_tf32 = allowed
        torch.set_default_dtype(dtype)


def pick_device(name: str):
    """Returns the torch.device for 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'; 'auto' takes the fastest there is.

    Raises:
        UserError: if it is none of these, or this machine, or this build of torch, does not have it.
    """
    import torch

    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise UserError(f"device: '{name}' must be auto, cpu, cuda, cuda:N or mps")

    if name == "auto":
        if torch.cuda.is_available():
            name = "cuda"
        else:
            name = "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if (device.index or 0) >= there[device.type]:
        raise UserError(
            f"device: '{name}' is not available here (torch {torch.__version__} sees "
            f"{there['cuda']} CUDA devices); use 'auto' or 'cpu'"
        )
    return device


def environment() -> dict:
    """Returns what a result depends on besides its config: versions, platform, processor, git commit."""
    import platform
    import subprocess
    from importlib.metadata import PackageNotFoundError, version

    import torch

    def version_of(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    def git(*words: str) -> str | None:
        here = Path(__file__).resolve().parent
        try:
            done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    packages = ("torch", "torchvision", "e2cnn", "numpy", "scipy", "scikit-learn", "matplotlib", "pydantic")
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "cuda_device": cuda,
        "packages": {package: version_of(package) for package in packages},
        "git_commit": git("rev-parse", "HEAD"),
        "git_changed_files": len((git("status", "--porcelain") or "").splitlines()),
    }


def _processor() -> str:
    import platform

    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
