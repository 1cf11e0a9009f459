"""The notebook: stored without outputs, and run from top to bottom as a reader would."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from main import build_parser
from tests.conftest import ROOT

NOTEBOOK = ROOT / "notebooks" / "e2cnn_radgal.ipynb"
SECONDS = 300
"""On two idle cores; a reader should not wait longer."""


def read():
    nbformat = pytest.importorskip("nbformat", reason="pip install -r requirements-dev.txt")
    return nbformat.read(NOTEBOOK, as_version=4)


def test_notebook_is_stored_without_outputs() -> None:
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    assert len(cells) >= 10
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


def test_notebook_names_what_there_is() -> None:
    text = "\n".join(cell.source for cell in read().cells)
    named = re.findall(r"\b(?:configs|docs)/[\w/]+\.\w+", text)
    assert len(named) >= 4 and [path for path in named if not (ROOT / path).is_file()] == []
    assert set(re.findall(r"\bradgal\.(\w+)\(", text)) == {"train", "open_run"}
    commands = re.findall(r"^%run main\.py (.+)$", text, re.MULTILINE)
    assert {build_parser().parse_args(shlex.split(words)).command for words in commands} == {"equivariance", "demo"}


def children_seconds() -> float:
    """Returns how long processes that this one started, and that have ended, were on a processor."""
    times = os.times()
    return times.children_user + times.children_system


@pytest.mark.slow
def test_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    """From the folder it is stored in, in a copy of what git would clone."""
    nbclient = pytest.importorskip("nbclient", reason="pip install -r requirements-dev.txt")
    pytest.importorskip("ipykernel", reason="pip install -r requirements-dev.txt")
    copy = tmp_path / "clone"
    for name in ("radgal", "configs", "notebooks"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    for path in [*ROOT.glob("*.py"), ROOT / "requirements.txt"]:
        shutil.copy(path, copy)
    notebook = read()
    client = nbclient.NotebookClient(
        notebook, timeout=6 * SECONDS, kernel_name="python3", resources={"metadata": {"path": str(copy / "notebooks")}}
    )
    before = children_seconds()
    client.execute()
    assert 0 < children_seconds() - before < 2 * SECONDS  # of two cores, however busy they are with other things
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    said = "".join(output.get("text", "") for output in outputs)
    assert "error:" not in said and "Traceback" not in said  # %run shows how a program ends, and goes on
    images = [kind for output in outputs for kind in output.get("data", {}) if kind.startswith("image/")]
    assert images.count("image/png") == 4 and images.count("image/gif") == 1
    assert "installed: nothing, all is there" in said
    written = copy / "runs" / "notebook"
    assert {p.name for p in written.iterdir()} >= {
        "lenet",
        "d4",
        "equivariance",
        "demo.gif",
        "galaxy.fits",
        "catalog.csv",
    }
    header, row = (written / "catalog.csv").read_text().splitlines()
    assert row.count(",") == header.count(",")
