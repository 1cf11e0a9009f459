"""Images per second of ``predict``, and the memory it takes while the number of images grows.

Usage: python -m benchmarks.predict_memory [--n-images 10000] [--out docs/figures]

Images of 150 x 150 px, half PNG and half NPY, are made in a temporary folder and classified as the command does, in a
process of its own, by an untrained VanillaLeNet of 50 px with 20 dropout passes. Its resident memory is read from
/proc after every batch. Writes predict_memory.csv and predict_memory.png.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH_SIZE = 64


def make_images(folder: Path, n: int) -> None:
    """Writes n blobs on a dark field; PNG and NPY in turn."""
    from PIL import Image

    folder.mkdir()
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:150, :150]
    for i in range(n):
        x0, y0 = 75 + generator.normal(size=2) * 8
        image = (255 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * generator.uniform(3, 8) ** 2))).astype(np.uint8)
        if i % 2:
            np.save(folder / f"{i:07d}.npy", image)
        else:
            Image.fromarray(image).save(folder / f"{i:07d}.png")


def make_run(folder: Path) -> None:
    """Writes a checkpoint of a network that is not trained; what it says takes as long as if it were."""
    import models
    from radgal import checkpoint
    from radgal.config import load_config

    folder.mkdir()
    path = folder / "config.txt"
    path.write_text("[model]\nbase: 'VanillaLeNet'\n[data]\ndataset: 'MBFRConfident'\n[training]\nimsize: 50\n")
    config = load_config(path)
    model = models.build_from_config(config, ("FRI", "FRII"), 0.0031, 0.035)
    content = {"format": checkpoint.FORMAT, "config": config.to_dict(), "classes": ["FRI", "FRII"], "mean": 0.0031}
    content |= {"std": 0.035, "model": model.state_dict(), "epoch": 1, "seed": 0, "history": []}
    checkpoint.save(folder / "best.pt", content)


def resident_mib() -> float:
    """Returns the memory of this process that is in RAM, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def predict(work: Path, threads: int) -> None:
    """Classifies the images, and writes the memory and the time after every batch as JSON."""
    import torch

    import models
    from radgal import predictjob
    from radgal.images import find_images
    from radgal.predict import open_settings

    torch.set_num_threads(1)
    sources = [str(path) for path in find_images([work / "images"])]
    settings = open_settings(
        [str(work / "run")],
        models.build_from_config,
        mc_samples=20,
        device="cpu",
        batch_size=BATCH_SIZE,
        threads=threads,
    )
    job = predictjob.plan(settings, sources, work / "catalog.csv")
    rows, done = [], 0
    started, cpu_started = time.perf_counter(), time.process_time()

    class Watch:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def update(self, n: int) -> None:
            nonlocal done
            done += n
            rows.append((done, time.perf_counter() - started, time.process_time() - cpu_started, resident_mib()))

    predictjob.run_job(job, models.build_from_config, bar=lambda total: Watch(), say=lambda *_: None)
    rows.append((done, time.perf_counter() - started, time.process_time() - cpu_started, resident_mib()))
    print(json.dumps(rows))


def draw(rows: list[list[float]], path: Path) -> None:
    """Writes the figure of memory against images."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n, _, _, memory = zip(*rows, strict=True)
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(n, memory)
    axes.set(xlabel="images classified", ylabel="resident memory (MiB)", ylim=(0, 1.15 * max(memory)))
    axes.set_title("predict: memory while the catalog grows", fontsize="medium")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-images", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1, help="that read images")
    parser.add_argument("--out", default="docs/figures", metavar="FOLDER")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        predict(Path(args.work), args.threads)
        return
    with tempfile.TemporaryDirectory() as work:
        make_images(Path(work, "images"), args.n_images)
        make_run(Path(work, "run"))
        command = [sys.executable, "-m", "benchmarks.predict_memory", "--work", work, "--threads", str(args.threads)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        n_bytes = Path(work, "catalog.csv").stat().st_size
    rows = json.loads(done.stdout)
    out = Path(args.out)
    draw(rows, out / "predict_memory.png")
    with (out / "predict_memory.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("images", "seconds", "cpu_seconds", "resident_mib"))
        writer.writerows((n, f"{s:.3f}", f"{c:.3f}", f"{m:.1f}") for n, s, c, m in rows)
    n, seconds, cpu_seconds, _ = rows[-1]
    memory = {count: resident for count, _, _, resident in rows}
    tenth = min(memory, key=lambda count: abs(count - n / 10))
    print(f"{n} images in {seconds:.1f} s ({n / seconds:.0f} images/s), {cpu_seconds:.1f} s of CPU time")
    print(f"{n / cpu_seconds:.0f} images/s per core; {n_bytes / n:.0f} bytes of csv per image")
    print(f"resident: {memory[tenth]:.0f} MiB after {tenth} images, {memory[n]:.0f} MiB at the end")


if __name__ == "__main__":
    main()
