"""What the tests of configs share: short configs, and the mistakes that are found in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import needs_nrot
from radgal.config.config import load_config
from radgal.data.datasets import class_counts
from tests.conftest import ROOT
from utils import UserError

CONFIGS = ROOT / "configs"
ALL_CONFIGS = sorted(CONFIGS.rglob("*.txt"))
MODELS, DATASETS = needs_nrot(), class_counts()
PUBLISHED_STYLE = """
[model]
base: 'CNSteerableLeNet'    # network
nrot: 4                     # order of the group
early_stopping: True
quiet = False

[data]
dataset: 'MBFRConfident'
datadir: 'mirabest'
datamean: 0.0031
datastd: 0.0350             # of pixel/255

[training]
Batch_Size: 50
frac_val: 0.2
epochs: 600
imsize: 150
num_classes: 2
lr0: 1e-4
decay: 1e-6

[output]
csvfile: 'lenet # one.csv'  # a hash in quotes is no comment
modfile: "lenet.pt"
"""
SHORT = "[model]\nbase: 'VanillaLeNet'\n[data]\ndataset: 'MBFRConfident'\n"


def write(folder: Path, text: str, name: str = "some.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def mistakes_in(path: Path, overrides: tuple[str, ...] = ()) -> list[str]:
    """The lines of the report, less its headline."""
    with pytest.raises(UserError) as caught:
        load_config(path, overrides, models=MODELS, datasets=DATASETS)
    return str(caught.value).splitlines()[1:]


def only_mistake(folder: Path, line: str, section: str = "training") -> str:
    """The one mistake that an otherwise good config with ``line`` has."""
    extra = f"{line}\n" if section == "data" else f"[{section}]\n{line}\n"
    text = SHORT.replace("[data]", f"{line}\n[data]") if section == "model" else SHORT + extra
    (mistake,) = mistakes_in(write(folder, text))
    return mistake
