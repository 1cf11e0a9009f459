"""Runs whole commands, killed with their process groups at random moments and given again until they are done.

A program of its own (``python -m tests.kill.commands_driver COMMAND FOLDER N_KILLS SEED``), as ``kill_driver`` is.
Every change of a file is a moment to die at, before and after it, from the first to the last; some die by the clock.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import main
from radgal import trainingrun
from radgal.data import splits
from radgal.data.splits import Split
from radgal.evaluation import results
from radgal.figures import contactsheet, plots
from radgal.repeats import checks, comparison
from tests.kill.kill_driver import CONFIG, SIDE, flat, toy_data
from tests.prediction.tools import make_run, save_images
from utils import atomic_write

TIMES = {"seconds", "training_seconds", "finished", "best_sha256"}
STEPS = [(os, "replace"), (Path, "rename"), (Path, "unlink"), (Path, "mkdir"), (Path, "write_bytes"), (os, "rmdir")]


def toy_test(*_, **__) -> Split:
    """Returns 8 images that are not among those of ``toy_data``."""
    images = torch.randint(0, 256, (8, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(8)).to(torch.uint8)
    return Split(images, torch.arange(8) % 2, tuple(f"test {i}" for i in range(8)))


def write_name(path: Path, *_) -> None:
    """Writes a file where a figure would be: those take long, and are written in the same way."""
    with atomic_write(path) as temporary:
        temporary.write_text(Path(path).name)


def draw_nothing(*arguments) -> None:
    """Does so for all figures of a call, wherever their paths stand among its arguments."""
    for one in arguments:
        if isinstance(one, Path) and one.suffix == ".png":
            write_name(one)


def make_it_quick() -> None:
    """Toy images for trained commands, and no figures."""
    torch.set_num_threads(1)
    splits.load_training_data = checks.load_training_data = toy_data
    splits.load_test_data = results.load_test_data = checks.load_test_data = toy_test
    plots.save_training_curves = results.save_confusion = results.save_reliability = draw_nothing
    results.save_roc = comparison.save_learning_curves = contactsheet.save_contact_sheet = draw_nothing
    trainingrun.environment = dict
    trainingrun.make_report = lambda folder, say: write_name(folder / "report.html")


@dataclass(frozen=True)
class Command:
    """One command: the words of its line, in a folder of each run, and what it needs beside that folder."""

    words: list[str]
    again: list[str]  # words that are added from the second time on
    set_up: Callable[[Path], None]
    whole: str | None = None  # what it makes last, at once, and refuses to make again


def write_config(folder: Path) -> None:
    (folder / "tiny.txt").write_text(CONFIG.replace("epochs: 24", "epochs: 3"))


def save_run_and_images(folder: Path) -> None:
    make_run(folder / "run")
    save_images(folder / "images", 12)


def save_pictures(folder: Path) -> None:
    save_images(folder / "images", 6)


REPEAT = ["repeat", "--config", "../tiny.txt", "--seeds", "2", "--out", "out", "--set", "training.epochs=2"]
PREDICT = ["predict", "../run", "../images", "--out", "c.csv", "--mc-samples", "2", "--part-rows", "4"]
COMMANDS = {
    "train": Command(["--config", "../tiny.txt", "--set", "metrics.outputdir=out"], [], write_config),
    "repeat": Command(REPEAT, [], write_config),
    "predict": Command([*PREDICT, "--device", "cpu", "--quiet"], ["--resume"], save_run_and_images),
    "prepare": Command(["prepare", "../images", "out", "--like", "frdeep"], [], save_pictures, "out"),
}


def count_steps(die_at: int | None) -> list[int]:
    """Makes this process and its group die at that step, before or after it; returns the number so far, in a list."""
    steps = [0]

    def tick() -> None:
        steps[0] += 1
        if steps[0] == die_at:
            os.killpg(0, signal.SIGKILL)

    def counting(function: Callable) -> Callable:
        def step(*arguments, **options):
            tick()
            done = function(*arguments, **options)
            tick()
            return done

        return step

    for owner, name in STEPS:
        setattr(owner, name, counting(getattr(owner, name)))
    return steps


def start(command: Command, folder: Path, seconds: float | None, die_at: int | None) -> tuple[int, int]:
    """Starts a command in ``folder`` and has it killed after so many seconds, or at a step.

    Returns:
        (how it ended, the number of its steps if it did so by itself).
    """
    log, again = folder.with_suffix(".log"), folder.exists() and any(folder.iterdir())
    folder.mkdir(exist_ok=True)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setpgid(0, 0)
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            os.chdir(folder)
            steps = count_steps(die_at)
            main.main([*command.words, *(command.again if again else [])])
            code = 0
            Path(f"{folder}.steps").write_text(str(steps[0]))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:  # it has ended, or has not begun
            os.kill(child, signal.SIGKILL)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return ended, int(Path(f"{folder}.steps").read_text()) if ended == 0 else 0


def content_of(path: Path) -> object:
    """Returns what a file holds, without times and what follows from them."""
    if path.suffix == ".pt":
        content = torch.load(path, weights_only=True)
        return {key: value for key, value in flat(content).items()}
    if path.suffix == ".json":
        return without_times(json.loads(path.read_text()))
    if path.name == "history.csv":
        with path.open(newline="") as stream:
            return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]
    if path.suffix == ".html":
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", path.read_text(encoding="utf-8"))
    return None if path.stem.startswith("repeat") else path.read_bytes()  # which has times in its columns


def without_times(content: object) -> object:
    if isinstance(content, dict):
        kept = {key: value for key, value in content.items() if key not in TIMES and "second" not in key}
        return {key: without_times(value) for key, value in kept.items() if key != "minutes"}
    return [without_times(one) for one in content] if isinstance(content, list) else content


def outcome(folder: Path) -> dict[str, object]:
    """Returns all files, hidden ones, locks, temporary files and empty folders included."""
    return {
        path.relative_to(folder).as_posix(): content_of(path) if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def differing(expected: dict, found: dict) -> list[str]:
    both = expected.keys() & found.keys()
    return sorted(expected.keys() ^ found.keys()) + sorted(name for name in both if expected[name] != found[name])


def run_and_kill(name: str, folder: Path, n_kills: int, seed: int) -> dict:
    """Kills ``n_kills`` starts, over as many runs as that takes; returns what came out and all differences."""
    chance, command = random.Random(seed), COMMANDS[name]
    command.set_up(folder)
    begun = time.perf_counter()
    ended, n_steps = start(command, folder / "untouched", None, None)
    seconds = time.perf_counter() - begun
    assert ended == 0, (folder / "untouched.log").read_text()
    expected = outcome(folder / "untouched")
    n_killed, n_runs, wrong, late = 0, 0, [], 0
    while n_killed < n_kills:
        n_runs += 1
        out, ended = folder / f"run_{n_runs}", None
        while ended != 0 and not (command.whole and (out / command.whole).exists()):
            timed = chance.random() < 0.2
            after = chance.uniform(0, seconds) if timed else None
            # Half of them in the last third: what is written after the last epoch is soon over.
            at = None if timed else chance.randint(*chance.choice([(1, n_steps), (2 * n_steps // 3, n_steps)]))
            ended, _ = start(command, out, *((after, at) if n_killed < n_kills else (None, None)))
            if ended not in (0, -signal.SIGKILL):
                return {"error": out.with_suffix(".log").read_text()[-3000:], "ended": ended, "at": [at, n_steps]}
            n_killed += ended != 0
            late += ended != 0 and at is not None and at > 2 * n_steps // 3
        wrong += [f"run {n_runs}: {what}" for what in differing(expected, outcome(out))]
    return {"kills": n_killed, "late": late, "runs": n_runs, "steps": n_steps, "wrong": wrong, "files": len(expected)}


if __name__ == "__main__":
    np.random.seed(0)
    make_it_quick()
    began = time.perf_counter()
    found = run_and_kill(sys.argv[1], Path(sys.argv[2]).resolve(), int(sys.argv[3]), int(sys.argv[4]))
    print(json.dumps(found | {"seconds": round(time.perf_counter() - began, 1), "cpu": sum(os.times()[:4])}))
