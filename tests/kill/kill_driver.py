"""Trains a tiny network, killed at random moments and started again until it is done; compares with a run untouched.

A program of its own (``python -m tests.kill.kill_driver FOLDER N_KILLS SEED EPOCHS``), so that it can fork from a
process in which torch is loaded but has no threads yet: a start then takes milliseconds. Prints what it did as JSON.
"""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from importlib import import_module
from pathlib import Path

import torch

import main
from radgal import trainingrun
from radgal.data import splits
from radgal.data.splits import Split, TrainingData
from radgal.figures import plots
from radgal.images.preparation import Preparation
from radgal.runs import checkpoint, folder

SIDE, EPOCHS = 18, 24
CONFIG = f"""
[model]
base: 'VanillaLeNet'
[data]
dataset: 'FIRSTGalaxyData'
augment: 'rotate+flip'
[training]
imsize: {SIDE}
epochs: {EPOCHS}
batch_size: 5
lr0: 1e-3
device: 'cpu'
resume: 'auto'
"""
KINDS = ("timed", "batch", "half a write", "before replacing", "after replacing", "half a row", "SIGTERM")


def toy_data(cfg, together=True) -> TrainingData:
    """Returns 22 + 9 images of two classes, the same every time."""
    generator = torch.Generator().manual_seed(7)
    labels = torch.arange(31) % 2
    images = torch.randint(0, 256, (31, 1, SIDE, SIDE), generator=generator).to(torch.uint8)
    whole = Split(images, labels, tuple(map(str, range(31))))
    parts = whole.take(list(range(22))), whole.take(list(range(22, 31)))
    return TrainingData(*parts, ("FRI", "FRII"), Preparation(0.5, 0.3, SIDE), "toy", "v1", "none")


def kill_at(kind: str, count: int) -> None:
    """Makes this process kill itself at the ``count``-th time that it comes to such a place."""
    left = [count]

    def tick() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if kind == "batch":
        to_input = Preparation.to_input

        def counted(*args, **options):
            tick()
            return to_input(*args, **options)

        Preparation.to_input = counted
    elif kind == "half a write":
        write = Path.write_bytes

        def write_bytes(path, content):
            write(path, bytes(content)[: len(content) // 2])
            tick()
            return write(path, content)

        Path.write_bytes = write_bytes
    elif kind in ("before replacing", "after replacing"):
        replace = os.replace

        def replace_(*paths):
            if kind == "before replacing":
                tick()
            replace(*paths)
            if kind == "after replacing":
                tick()

        os.replace = replace_
    elif kind == "half a row":
        add_row = folder.RunFolder.add_row

        def add_row_(folder, row):
            with folder.csv.open("a") as stream:
                stream.write(f"{row['epoch']},0.1")
            tick()
            raw = folder.csv.read_bytes()
            folder.csv.write_bytes(raw[: raw.rindex(b"\n") + 1])
            add_row(folder, row)

        folder.RunFolder.add_row = add_row_


def start(config: Path, out: Path, kind: str | None, chance: random.Random) -> int:
    """Starts the run of ``config`` in ``out`` and kills it in the way of ``kind``; returns how it ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            log = os.open(out.parent / f"{out.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            if kind:
                kill_at(kind, chance.randint(1, {"half a row": 4}.get(kind, 12)))
            main.main(["--config", str(config), "--no-test", "--set", f"metrics.outputdir={out}"])
            code = 0
        except SystemExit as end:
            code = int(end.code)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    if kind in ("timed", "SIGTERM"):
        time.sleep(chance.uniform(0, 0.5))
        os.kill(child, signal.SIGKILL if kind == "timed" else signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def outcome(out: Path) -> tuple:
    """Returns all that must be equal: csv without times, the files there, and every stored number."""
    with (out / "history.csv").open(newline="") as stream:
        rows = [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]
    stored = {name: flat(checkpoint.read(out / name)) for name in ("last.pt", "best.pt")}
    stored["model.pt"] = flat(torch.load(out / "model.pt", weights_only=True))
    return rows, sorted(path.name for path in out.iterdir()), stored


def flat(content, name: str = "") -> dict[str, object]:
    """Returns nested dicts and lists as one dict; tensors as bytes; times, and where the run lies, left out."""
    if isinstance(content, torch.Tensor):
        return {name: content.contiguous().numpy().tobytes()}
    if isinstance(content, dict):
        items = [(key, value) for key, value in content.items() if key not in ("seconds", "outputdir")]
    elif isinstance(content, (list, tuple)):
        items = list(enumerate(content))
    else:
        return {name: content}
    return {key: value for sub, part in items for key, value in flat(part, f"{name}/{sub}").items()}


def differing(one: tuple, other: tuple) -> list[str]:
    """Returns names of what differs."""
    found = ["csv"] * (one[0] != other[0]) + [f"file {name}" for name in set(one[1]) ^ set(other[1])]
    for file in one[2]:
        a, b = one[2][file], other[2].get(file, {})
        found += [f"{file}{key}" for key in a.keys() | b.keys() if a.get(key) != b.get(key)][:5]
    return found


def run_and_kill(folder: Path, n_kills: int, seed: int, epochs: int) -> dict:
    """Kills ``n_kills`` starts, over as many runs as that takes; returns the kinds of kills and all differences."""
    chance = random.Random(seed)
    config = folder / "tiny.txt"
    config.write_text(CONFIG.replace(f"epochs: {EPOCHS}", f"epochs: {epochs}"))
    assert start(config, folder / "untouched", None, chance) == 0, (folder / "untouched.log").read_text()
    expected = outcome(folder / "untouched")
    kills: Counter[str] = Counter()
    wrong, n_runs, started = [], 0, time.perf_counter()
    while kills.total() < n_kills:
        n_runs += 1
        out, ended = folder / f"run_{n_runs}", None
        while ended != 0:
            # Each way once, then by chance; the last start of all is left to finish.
            kind = KINDS[kills.total()] if kills.total() < len(KINDS) else chance.choice(KINDS)
            ended = start(config, out, kind if kills.total() < n_kills else None, chance)
            if ended not in (0, -signal.SIGKILL, -signal.SIGTERM, 75):
                return {"error": (folder / f"{out.name}.log").read_text()[-2000:], "ended": ended, "kind": kind}
            kills[kind] += ended != 0
        wrong += [f"run {n_runs}: {what}" for what in differing(expected, outcome(out))]
    return {"kills": kills, "runs": n_runs, "wrong": wrong, "seconds": round(time.perf_counter() - started, 1)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main.build_parser()
    for name in ("radgal.api", "scipy.optimize", "torch._dynamo"):  # what every start would load anew
        import_module(name)
    splits.load_training_data = toy_data
    plots.save_training_curves = lambda *_: None
    trainingrun.environment, trainingrun.make_report = dict, lambda *_: None
    print(json.dumps(run_and_kill(Path(sys.argv[1]), *map(int, sys.argv[2:]))))
