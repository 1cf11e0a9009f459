"""Construction time and peak memory, each in a process of its own: ``python -m benchmarks.fresh`` prints them as JSON.

Usage: python -m benchmarks.fresh NAME stock|ours BATCH DEVICE PRECISION THREADS

BATCH is a file of torch.save with the images x (N, 1, S, S), their labels, and the background's value.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path


def in_fresh_process(name: str, path: str, batch: Path, device: str, precision: str, threads: int) -> dict:
    """Returns what ``main`` prints in a new process: seconds to build the network, and bytes to train it."""
    words = [name, path, batch, device, precision, threads]
    command = [sys.executable, "-m", "benchmarks.fresh", *map(str, words)]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(name: str, path: str, batch: str, device: str, precision: str, threads: str) -> None:
    """Builds the network, makes two training steps, and prints what both cost."""
    import torch

    from benchmarks.published import build, parse_name
    from benchmarks.trainer import Trainer
    from radgal.training.precision import choose_precision
    from utils import float32_in_full, pick_device

    torch.set_num_threads(int(threads))
    if parse_name(name)[1] is not None:  # imports, of e2cnn above all, are no part of the construction
        import_module("radgal.layers.e2cnn_layers")
        import_module("radgal.layers.steerable")
    given = torch.load(batch, weights_only=True)
    before = peak_memory()
    started = time.perf_counter()
    model = build(name, given["x"].shape[-1], stock=path == "stock", background=given["background"])
    build_s = time.perf_counter() - started

    where = pick_device(device)
    x, labels = given["x"].to(where), given["labels"].to(where)
    trainer = Trainer(model.to(where), path, choose_precision(precision, where))
    with float32_in_full():
        for _ in range(2):
            trainer.step(x, labels)
    if where.type == "cuda":
        before, peak = 0, torch.cuda.max_memory_allocated(where)
    else:
        peak = peak_memory()
    print(json.dumps({"build_s": build_s, "peak_bytes": peak, "beyond_imports_bytes": peak - before}))


def peak_memory() -> int:
    """Returns the largest resident memory of this process so far, bytes.

    Not ``ru_maxrss`` where it can be helped: on Linux that begins with the memory of the process that started this.
    """
    try:
        for text in Path("/proc/self/status").read_text().splitlines():
            if text.startswith("VmHWM:"):
                return 1024 * int(text.split()[1])
    except OSError:
        pass
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(*sys.argv[1:])
