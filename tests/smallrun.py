"""A small run on galaxies that come with a package: what many tests train."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import main

if TYPE_CHECKING:
    from radgal.api import Run  # imports torch, which the process that starts the test processes needs not

CONFIG = """
[model]
base: 'VanillaLeNet'
[data]
dataset: 'FIRSTGalaxyData'
[training]
imsize: 26       # small, to be quick
epochs: 2
lr0: 1e-3
[metrics]
outputdir: '{folder}'
"""
WRITTEN = (
    "best.pt last.pt model.pt history.csv config.txt environment.json metrics.json loss.png error.png "
    "finished.json confusion.png roc.png reliability.png sources.csv sources.ecsv sources.fits gallery.npz questions "
    "report.html"
)


def rows(path: Path) -> list[dict]:
    """Returns the rows of a csv without their times."""
    with path.open(newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def train(config: Path, *options: str) -> Run:
    """Trains as the command line does."""
    return main.main(["--config", str(config), *options])
