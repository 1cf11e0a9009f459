"""Fixtures shared by all tests."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: there is a test process for each core

from pathlib import Path

import pytest

from tests.smallrun import CONFIG

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("RADGAL_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the published archives; skips with a reason where it is absent, never where it is there."""
    if not DATA.is_dir():
        pytest.skip(f"published archives not found at {DATA}; set RADGAL_DATA to the folder that holds them")
    return DATA


@pytest.fixture(scope="session", autouse=True)
def undrawn_questions():
    """Tests of whole commands write the figures of the questions as empty files: drawing them all would take minutes.

    ``tests/evaluation/test_questions.py`` draws every one of them.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("radgal.evaluation.questions.listed.save_panels", lambda path, panels: Path(path).touch())
        yield


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The config of a small run that writes to ``out`` beside it."""
    path = tmp_path / "small.txt"
    path.write_text(CONFIG.format(folder=(tmp_path / "out").as_posix()))
    return path


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    """The folder of a small run with all that can follow it. Tests that change anything in it do so in a copy."""
    import main

    folder = tmp_path_factory.mktemp("finished")
    config, out = folder / "small.txt", str(folder / "out")
    config.write_text(CONFIG.format(folder=(folder / "out").as_posix()))
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
