"""Fixtures shared by all tests."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: there is a test process for each core

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.smallrun import CONFIG

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("RADGAL_DATA", ROOT.parent / "shared" / "data"))


gc.set_threshold(50_000, 20, 50)  # a tenth of the suite's time would go into looking for garbage in what stays


def pytest_collection_finish() -> None:
    """Leaves modules and tests, which all stay, out of what is looked through for garbage."""
    gc.freeze()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the published archives; skips with a reason where it is absent, never where it is there."""
    if not DATA.is_dir():
        pytest.skip(f"published archives not found at {DATA}; set RADGAL_DATA to the folder that holds them")
    return DATA


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory) -> Path:
    """A data folder for all tests that only read data sets: each archive is unpacked once."""
    return tmp_path_factory.mktemp("unpacked")


ONE_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c63f80f0001010100b138f6140000000049454e44ae426082"
)  # as PNG


@pytest.fixture(scope="session", autouse=True)
def undrawn() -> Iterator[Callable]:
    """Figures are made, and written as PNG files of one pixel: drawing them would take half of the suite's time.

    Those of the questions are not even made; ``tests/evaluation/test_questions.py`` draws every one of them. Tests that
    look at a figure use the fixture ``drawing``, as do all in ``tests/figures``. Yields what draws a figure.
    """
    from matplotlib.figure import Figure

    draw = Figure.savefig
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("radgal.evaluation.questions.listed.save_panels", lambda path, panels: Path(path).touch())
        patch.setattr(Figure, "savefig", lambda figure, path, **_: Path(path).write_bytes(ONE_PIXEL))
        yield draw


@pytest.fixture
def drawing(undrawn: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn, and written as they are."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", undrawn)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The config of a small run that writes to ``out`` beside it."""
    path = tmp_path / "small.txt"
    path.write_text(CONFIG.format(folder=(tmp_path / "out").as_posix()))
    return path


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, undrawn: Callable) -> Path:
    """The folder of a small run with all that can follow it, drawn. Tests that change anything do so in a copy."""
    import main

    folder = tmp_path_factory.mktemp("finished")
    config, out = folder / "small.txt", str(folder / "out")
    config.write_text(CONFIG.format(folder=(folder / "out").as_posix()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", undrawn)
        main.main(["--config", str(config), "--set", "model.quiet=True"])
        main.main(["rotate", out, "--limit", "3", "--out", out, "--mc-samples", "3", "--angles", "0", "90", "90"])
        main.main(["equivariance", out, "--step", "90", "--n-images", "2"])
        main.main(["report", out])
    return folder / "out"


@pytest.fixture
def folds(finished_run: Path, tmp_path: Path) -> Path:
    """Two folds of a cross-validation, of every other source."""
    from astropy.table import Table

    from radgal.runs import checkpoint

    content = checkpoint.read(finished_run / "best.pt")
    table = Table.read(finished_run / "sources.ecsv", format="ascii.ecsv")
    for k in (1, 2):
        folder = tmp_path / "folds" / f"fold_{k}"
        folder.mkdir(parents=True)
        data = content["config"]["data"] | {"fold": f"{k}/2"}
        checkpoint.save(folder / "best.pt", content | {"config": content["config"] | {"data": data}})
        table[k - 1 :: 2].write(folder / "sources.ecsv", format="ascii.ecsv")
        (folder / "metrics.json").write_text("{}")
    return tmp_path / "folds"
