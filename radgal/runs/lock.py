"""One run at a time in a folder: the lock, whose it is, and whether that run still lives.

The file ``run.lock`` says who trains here. Where the file system has locks (``flock``: local disks, and NFS, Lustre and
GPFS as they are usually mounted), it is also locked, and the system lets go of it when the process ends, however it
ends: that is right in containers too, where all are process 1. Elsewhere (Windows, some network mounts) the process id
decides, with the time at which that process started, since ids are used again.
Approximate because: without flock, two runs that start within the same millisecond may both get in.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from radgal.runs.files import RunFile, forbid_leaving
from utils import UserError, is_file_at, lock_file

NAME = RunFile.LOCK.file


class RunLock:
    """A held lock."""

    def __init__(self, path: Path, handle: int, left_by: dict | None):
        self.path, self._handle = path, handle
        self.left_by = left_by  # the dead run whose lock was taken over

    @property
    def is_held(self) -> bool:
        """Whether the folder is still there, with this very lock in it."""
        return is_file_at(self.path, self._handle)

    def release(self) -> None:
        """Removes the lock, if it is still this one."""
        if self._handle < 0:
            return
        mine = self.is_held
        if mine and os.name != "nt":
            self.path.unlink(missing_ok=True)
        os.close(self._handle)
        self._handle = -1
        if mine and os.name == "nt":  # where an open file cannot be removed
            self.path.unlink(missing_ok=True)


@contextmanager
def hold(folder: Path, name: str = NAME, key: str = "[metrics] outputdir") -> Iterator[RunLock]:
    """Holds the lock ``name`` in ``folder``, which is made if need be; ``key`` is what one could give another of.

    Raises:
        UserError: if another run has it (says which, and the way out), or the folder cannot be written.
    """
    lock = _take(Path(folder), name, key)
    try:
        yield lock
    finally:
        with suppress(OSError):  # the folder has vanished, and that was the error
            lock.release()


def remove_dead(folder: Path) -> None:
    """Removes the lock of a run that has died; that of a living one, or of one that cannot be told, stays."""
    if (folder / NAME).exists():
        with suppress(UserError), hold(folder):
            pass


def _take(folder: Path, name: str, key: str) -> RunLock:
    path = folder / name
    forbid_leaving(path, folder)
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # A link in a folder from elsewhere must not lead to a file of one's own, which is written over below.
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise UserError(
                f"cannot write in {folder}: {error.strerror}; nothing was begun; choose another {key}"
            ) from None
        locked = lock_file(handle)
        if locked is not False and not is_file_at(path, handle):
            os.close(handle)  # whoever held it has just removed it
            continue
        before = _read(handle)
        if locked is False or (before and _may_live(before, locked)):
            os.close(handle)
            raise UserError(_refusal(path, before, key))
        try:
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, json.dumps(_myself(), indent=1).encode())
        except OSError as error:
            os.close(handle)
            raise UserError(f"cannot write {path}: {error.strerror}; nothing was begun") from None
        return RunLock(path, handle, before or None)


def _read(handle: int) -> dict:
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        content = json.loads(os.read(handle, 4096))
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError, RecursionError):
        return {}


def _myself() -> dict:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "process_start": _process_start(os.getpid()),
    }


def _process_start(pid: int) -> str | None:
    """Returns when a process started, in the system's own words; None if it is not there, or cannot be told."""
    try:
        # After the name, which may hold anything but is in brackets: field 22, ticks since the machine started.
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {ticks}"
    except (OSError, IndexError):
        pass
    if os.name == "nt" or Path("/proc/self/stat").exists():
        return None
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip() or None


def _may_live(owner: dict, locked: bool | None) -> bool:
    """Returns whether the run that wrote the lock may still be running."""
    if owner.get("host") != socket.gethostname():
        return True  # nothing here can tell
    if locked:
        return False  # the system let go of its lock
    if os.name == "nt":
        return True
    pid = owner.get("pid")
    return isinstance(pid, int) and pid > 0 and _process_start(pid) == owner.get("process_start") is not None


def _refusal(path: Path, owner: dict, key: str) -> str:
    held = path.parent if path.name == NAME else path.with_name(path.name.removeprefix(".").removesuffix(".lock"))
    if not owner:
        return f"{held} is in use by a run that is just starting; choose another {key}"
    who = f"process {owner.get('pid')} on {owner.get('host')}, started {owner.get('started')}"
    who = "".join(c if c.isprintable() else "?" for c in who)
    way_out = f"wait for it to end, or choose another {key}"
    if owner.get("host") != socket.gethostname() or os.name == "nt":
        way_out += f"; if that run is dead, which cannot be told from here, delete {path}"
    return f"{held} is in use by another run ({who}); {way_out}"
