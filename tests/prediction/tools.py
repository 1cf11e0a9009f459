"""What the tests of predictions share: an untrained run, images, a mosaic, and the command."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits as pyfits
from astropy.wcs import WCS

import main
import models
from radgal.config.config import load_config
from radgal.data.datasets import preparation_of
from radgal.runs import checkpoint

CLASSES = ("FRI", "FRII")
PIXEL_DEG = 0.0005  # 1.8 arcsec
CONFIG = """
[model]
base: '{base}'
[data]
dataset: 'MBFRConfident'
[training]
imsize: {imsize}
"""


def make_run(folder: Path, *, seed=0, imsize=18, base="VanillaLeNet", classes=CLASSES, std=0.035, **changes) -> Path:
    """A run folder whose network is not trained; ``changes`` are of the checkpoint."""
    folder.mkdir(parents=True)
    path = folder / "small.txt"
    path.write_text(CONFIG.format(base=base, imsize=imsize))
    config = load_config(path)
    torch.manual_seed(seed)
    model = models.build_from_config(config, classes, preparation_of(config, (0.0031, std)))
    content = {"format": checkpoint.FORMAT, "config": config.to_dict(), "classes": list(classes), "mean": 0.0031}
    content |= {"std": std, "model": model.state_dict(), "epoch": 1, "seed": seed, "history": []}
    checkpoint.save(folder / "best.pt", content | changes)
    return folder


def save_images(folder: Path, n: int, seed: int = 0) -> Path:
    """A folder of n small images with a bright middle, which NPY holds as pixels."""
    folder.mkdir()
    generator = np.random.default_rng(seed)
    for i in range(n):
        image = np.zeros((30, 30), dtype=np.uint8)
        image[10:20, 10:20] = generator.integers(0, 256, (10, 10))
        np.save(folder / f"s{i:04d}.npy", image)
    return folder


def sky(x: float, y: float, **changes) -> WCS:
    """A tangent plane with its reference pixel at (x, y), from 0."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 20.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [x + 1, y + 1], [-PIXEL_DEG, PIXEL_DEG]
    for key, value in changes.items():
        setattr(wcs.wcs, key, value)
    return wcs


def rows_of(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def go(run: Path, *words: object, out: Path) -> list[dict]:
    main.main(["predict", str(run), *map(str, words), "--out", str(out), "--device", "cpu"])
    return rows_of(out)


def numbers(rows: list[dict], *names: str) -> np.ndarray:
    names = names or tuple(name for name in rows[0] if name.startswith(("prob", "predictive", "expected", "mutual")))
    return np.array([[float(row[name]) for name in names] for row in rows])


def make_mosaic(folder: Path, wcs: WCS | None = None, side: int = 400) -> Path:
    data = np.random.default_rng(0).normal(size=(side, side))
    data[190:210, 190:210] = 100 + np.arange(400.0).reshape(20, 20)
    path = folder / "mosaic.fits"
    pyfits.PrimaryHDU(data, None if wcs is None else wcs.to_header()).writeto(path)
    return path
