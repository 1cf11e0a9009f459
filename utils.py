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
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; the file that was there is untouched"
        ) from error
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


def pick_device(name: str):
    """Returns the torch.device for 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'; 'auto' takes the fastest there is.

    Raises:
        UserError: if this machine, or this build of torch, does not have it.
    """
    import torch

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
            f"[training] device: '{name}' is not available here (torch {torch.__version__} sees "
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


def sayer(quiet: bool):
    """Returns a function that prints, or with ``quiet`` one that does nothing."""
    return (lambda *_: None) if quiet else (lambda *words: print(*words, flush=True))


def show_bars(quiet: bool) -> bool:
    """Returns whether progress bars make sense: someone is watching a terminal or a notebook, and wants them."""
    import sys

    return not quiet and (sys.stderr.isatty() or "ipykernel" in sys.modules)


def build_parser():
    """Returns the command line: training by default, and the commands that use a trained run."""
    import argparse

    def command(name: str, does: str, example: str):
        return commands.add_parser(
            name,
            help=does,
            description=f"{does[0].upper()}{does[1:]}.",
            epilog=f"example: python main.py {example}",
            allow_abbrev=False,
        )

    def add_overrides(to) -> None:
        to.add_argument(
            "--set",
            action="extend",
            nargs="+",
            default=[],
            metavar="SECTION.KEY=VALUE",
            help="override keys of the config, such as training.epochs=5",
        )

    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Train a conventional or E(2)-steerable LeNet to tell FR I from FR II radio galaxies.",
        epilog="example: python main.py --config configs/config_first_lenet.txt --set training.epochs=5; "
        "`python main.py COMMAND --help` explains a command",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="INI file that says what to train; see configs/README.md")
    add_overrides(parser)
    parser.add_argument("--dry-run", action="store_true", help="check everything and build the network; do not train")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the config's output folder")
    parser.add_argument("--no-test", action="store_true", help="do not evaluate the test set at the end")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands for trained runs")

    evaluate = command(
        "evaluate", "test a trained run once, upright and under rotations", "evaluate runs/config_first_lenet"
    )
    rotate = command(
        "rotate",
        "measure how a run's predictions depend on orientation",
        "rotate runs/config_first_lenet --limit 10",
    )
    for sub in (evaluate, rotate):
        sub.add_argument("run", metavar="RUN", help="output folder of a training run, or a checkpoint in it")
        sub.add_argument("--out", metavar="FOLDER", help="where to write (default: the run's folder)")
        sub.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
        sub.add_argument("--seed", type=int, default=0, help="of rotations and dropout passes (default: 0)")
        sub.add_argument("--mc-samples", type=int, default=100, help="dropout passes per image (default: 100)")
        sub.add_argument("--datadir", metavar="FOLDER", help="where the data set lies now, if it has moved")
    evaluate.add_argument("--rotations", type=int, default=20, help="random rotations to average over (default: 20)")
    rotate.add_argument(
        "--angles",
        nargs=3,
        type=float,
        metavar=("START", "STOP", "STEP"),
        default=(0, 160, 20),
        help="degrees (default: 0 160 20, as published)",
    )
    rotate.add_argument("--reflections", action="store_true", help="also test the mirrored images")
    rotate.add_argument("--index", type=int, nargs="+", help="rows of the test set (default: all)")
    rotate.add_argument("--source", nargs="+", metavar="NAME", help="sources of the test set by name")
    rotate.add_argument("--limit", type=int, help="only the first so many sources")
    rotate.add_argument("--compare", metavar="OTHER_RUN", help="a second run, to count improved and worsened sources")

    equivariance = command(
        "equivariance",
        "measure equivariance and invariance errors",
        "equivariance configs/config_first_dn4lenet.txt",
    )
    equivariance.add_argument("runs", nargs="+", metavar="RUN_OR_CONFIG", help="trained runs, or configs (untrained)")
    equivariance.add_argument("--out", metavar="FOLDER", default="runs/equivariance", help="where to write")
    equivariance.add_argument("--step", type=float, default=5.0, help="of the grid of angles, degrees (default: 5)")
    equivariance.add_argument("--n-images", type=int, default=16, help="images to average over (default: 16)")
    equivariance.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")

    repeat = command(
        "repeat",
        "train configs with several seeds, and make the table of means, spreads and paired differences",
        "repeat --config configs/config_first_lenet.txt configs/config_first_dn4lenet.txt --seeds 5",
    )
    repeat.add_argument("--config", nargs="+", required=True, metavar="FILE", help="configs to train")
    repeat.add_argument("--seeds", type=int, default=5, help="how many seeds: 0, 1, ... (default: 5)")
    repeat.add_argument("--first-seed", type=int, default=0, help="the first seed (default: 0)")
    repeat.add_argument("--out", metavar="FOLDER", default="runs/repeat", help="where to write (default: runs/repeat)")
    add_overrides(repeat)
    return parser
