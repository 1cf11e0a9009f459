"""Config files, damaged: a config that can be written and read again, or a UserError."""

from __future__ import annotations

from pathlib import Path

import models
from radgal.config.config import Config, load_config
from radgal.data.datasets import class_counts
from tests.conftest import ROOT
from tests.fuzz.tokens import INI, NUMBERS
from tests.fuzz.tools import Reader, each, fuzz


def config() -> bytes:
    return (ROOT / "configs" / "config_first_dn4lenet.txt").read_bytes()


def check_config(path: Path) -> None:
    known = dict(models=models.needs_nrot(), datasets=class_counts())
    cfg = load_config(path, **known)
    assert Config.from_dict(cfg.to_dict()) == cfg


READERS = [
    Reader("config", ".txt", config, check_config, INI + NUMBERS),
]


@each(READERS)
def test_damaged_files(reader: Reader, n_cases: int, tmp_path: Path) -> None:
    fuzz(reader, tmp_path, n_cases)
