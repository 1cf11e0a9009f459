"""Images per second of ``predict``, and the memory it takes while the number of images grows.

Usage: python -m benchmarks.predict_memory [--kinds pixels fits mosaic] [--n-images N] [--out docs/figures]

Images are made in a temporary folder and classified as the command does, in a process of its own for each kind, by an
untrained VanillaLeNet of 50 px with 20 dropout passes, on one thread. Its resident memory is read from /proc after
every batch. Kinds: 'pixels', 150 x 150 px, half PNG and half NPY; 'fits', cutouts of 300 x 300 px; 'mosaic', positions
in one FITS image of 6000 x 6000 px. Writes predict_memory.csv and predict_memory.png.
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
from unittest import mock

import numpy as np

BATCH_SIZE = 64
MOSAIC_SIDE = 6000  # pixels
KINDS = {"pixels": 10_000, "fits": 2000, "mosaic": 2000}  # how many, unless --n-images says


def make_images(work: Path, kind: str, n: int) -> None:
    """Writes what is to be classified: blobs on a dark field, or on noise."""
    from astropy.io import fits
    from PIL import Image

    folder = work / "images"
    folder.mkdir()
    generator = np.random.default_rng(0)
    if kind == "mosaic":
        side = MOSAIC_SIDE
        header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 20.0})
        header.update(CRPIX1=side / 2, CRPIX2=side / 2, CDELT1=-0.0005, CDELT2=0.0005)
        pixels = generator.standard_normal((side, side), dtype=np.float32)
        fits.PrimaryHDU(pixels, header).writeto(work / "mosaic.fits")
        return
    side = 150 if kind == "pixels" else 300
    y, x = np.mgrid[:side, :side]
    for i in range(n):
        x0, y0 = side / 2 + generator.normal(size=2) * 8
        blob = np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * generator.uniform(3, 8) ** 2))
        if kind == "fits":
            noise = generator.standard_normal((side, side), dtype=np.float32)
            fits.PrimaryHDU((100 * blob + noise).astype(np.float32)).writeto(folder / f"{i:07d}.fits")
        elif i % 2:
            np.save(folder / f"{i:07d}.npy", (255 * blob).astype(np.uint8))
        else:
            Image.fromarray((255 * blob).astype(np.uint8)).save(folder / f"{i:07d}.png")


def list_sources(work: Path, n: int) -> list:
    """Returns the files, or n positions in the mosaic, in no order."""
    from radgal.images.finding import find_images
    from radgal.images.mosaic import Position

    if not (work / "mosaic.fits").exists():
        return [str(path) for path in find_images([work / "images"])]
    half = 0.0005 * (MOSAIC_SIDE / 2 - 150)
    offsets = np.random.default_rng(1).uniform(-half, half, (n, 2))
    places = zip(150 + offsets[:, 0] / np.cos(np.deg2rad(20)), 20 + offsets[:, 1], strict=True)
    return [Position(str(i), float(ra), float(dec), float("nan")) for i, (ra, dec) in enumerate(places)]


def make_run(folder: Path) -> None:
    """Writes a checkpoint of a network that is not trained; what it says takes as long as if it were."""
    import models
    from radgal.config.config import load_config
    from radgal.data.datasets import preparation_of
    from radgal.runs import checkpoint

    folder.mkdir()
    path = folder / "config.txt"
    path.write_text("[model]\nbase: 'VanillaLeNet'\n[data]\ndataset: 'MBFRConfident'\n[training]\nimsize: 50\n")
    config = load_config(path)
    model = models.build_from_config(config, ("FRI", "FRII"), preparation_of(config, (0.0031, 0.035)))
    content = {"format": checkpoint.FORMAT, "config": config.to_dict(), "classes": ["FRI", "FRII"], "mean": 0.0031}
    content |= {"std": 0.035, "model": model.state_dict(), "epoch": 1, "seed": 0, "history": []}
    checkpoint.save(folder / "best.pt", content)


def resident_mib() -> float:
    """Returns the memory of this process that is in RAM, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def predict(work: Path, n: int) -> None:
    """Classifies the images, and writes the memory and the time after every batch as JSON."""
    import torch

    from radgal.prediction import job as predictjob
    from radgal.prediction.chunk import open_settings

    torch.set_num_threads(1)
    sources = list_sources(work, n)
    mosaic = work / "mosaic.fits"
    settings = open_settings(
        [str(work / "run")],
        mc_samples=20,
        device="cpu",
        batch_size=BATCH_SIZE,
        threads=1,
        mosaic=str(mosaic) if mosaic.exists() else None,
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

    with mock.patch.object(predictjob, "bar", lambda *_, **__: Watch()):
        predictjob.run_job(job, say=lambda *_: None)
    rows.append((done, time.perf_counter() - started, time.process_time() - cpu_started, resident_mib()))
    print(json.dumps(rows))


def measure(kind: str, n: int) -> list[list[float]]:
    """Returns (images, seconds, CPU seconds, resident MiB) after every batch of a fresh process."""
    with tempfile.TemporaryDirectory() as work:
        make_images(Path(work), kind, n)
        make_run(Path(work, "run"))
        command = [sys.executable, "-m", "benchmarks.predict_memory", "--work", work, "--n-images", str(n)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        n_bytes = Path(work, "catalog.csv").stat().st_size
    rows = json.loads(done.stdout)
    _, seconds, cpu_seconds, _ = rows[-1]
    memory = {count: resident for count, _, _, resident in rows}
    tenth = min(memory, key=lambda count: abs(count - n / 10))
    print(
        f"{kind}: {n} images in {seconds:.1f} s, {cpu_seconds:.1f} s of CPU time ({n / cpu_seconds:.0f} images/s per "
        f"core); resident {memory[tenth]:.0f} MiB after {tenth} images, {memory[n]:.0f} MiB at the end; "
        f"{n_bytes / n:.0f} bytes of csv per image",
        flush=True,
    )
    return rows


def draw(measured: dict[str, list[list[float]]], path: Path) -> None:
    """Writes the figure of memory against images."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for kind, rows in measured.items():
        n, _, _, memory = zip(*rows, strict=True)
        axes.plot(n, memory, label=kind)
    axes.set(xlabel="images classified", ylabel="resident memory (MiB)")
    axes.set_ylim(0, 1.15 * max(row[3] for rows in measured.values() for row in rows))
    axes.set_title("predict: memory while the catalog grows", fontsize="medium")
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-images", type=int)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", default="docs/figures", metavar="FOLDER")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        predict(Path(args.work), args.n_images)
        return
    measured = {kind: measure(kind, args.n_images or KINDS[kind]) for kind in args.kinds}
    out = Path(args.out)
    draw(measured, out / "predict_memory.png")
    with (out / "predict_memory.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("kind", "images", "seconds", "cpu_seconds", "resident_mib"))
        for kind, rows in measured.items():
            # every tenth batch shows as much
            kept = [row for i, row in enumerate(rows) if i % 10 == 0 or i == len(rows) - 1]
            writer.writerows((kind, n, f"{s:.3f}", f"{c:.3f}", f"{m:.1f}") for n, s, c, m in kept)


if __name__ == "__main__":
    main()
