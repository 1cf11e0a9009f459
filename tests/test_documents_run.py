"""The commands and snippets of README and docs do, as they stand there, what is said: run in a newcomer's folder.

The folder has the configs with one epoch and small images, and cutouts under the names that the pages use.
"""

from __future__ import annotations

import _thread
import csv
import gzip
import re
import shlex
import shutil
import threading
import webbrowser
from itertools import cycle
from pathlib import Path

import pytest
import torch

import main
from tests.conftest import ROOT
from tests.test_docs import FENCE, TEXTS

MADE_BEFORE = (
    "python main.py --config configs/config_mb_dn4lenet.txt",
    "python main.py --config configs/config_first_lenet.txt --no-test",
    "python main.py export runs/config_first_lenet --format onnx",
    "python main.py export runs/config_first_lenet --format torch",
)
"""What a page supposes that the reader has done, after the words of its text or of another page."""
LEFT_OUT = re.compile(r"repeat|calibrate|--scheduler|RUN|IMAGES|FILE")
"""Hours of training, a cluster, and forms with names to be filled in: test_docs.py reads those."""


def shortened(config: str, mirror: Path) -> str:
    """Returns a config with one epoch, images of 52 px, and the archives at hand."""
    config = re.sub(r"^epochs: \d+", "epochs: 1", config, flags=re.MULTILINE)
    config = re.sub(r"^imsize: \d+", "imsize: 52", config, flags=re.MULTILINE)
    return config.replace("[data]\n", f"[data]\nmirror: {mirror.as_posix()!r}\n")


@pytest.fixture(scope="module")
def folder(real_data: Path, tmp_path_factory):
    """The newcomer's folder; the working directory as long as this module runs."""
    place = tmp_path_factory.mktemp("newcomer")
    (place / "configs").mkdir()
    for path in ROOT.glob("configs/*.txt"):
        (place / "configs" / path.name).write_text(shortened(path.read_text(encoding="utf-8"), real_data))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for line in MADE_BEFORE:
            run_line(line)
        yield place


def lay_out_cutouts(real_data: Path) -> None:
    """Puts cutouts where a reader who did not come from the README has some, one under the name that a snippet uses."""
    Path("my_cutouts").mkdir()
    first, *others = sorted((real_data / "fits").glob("*.fits.gz"))
    Path("my_cutouts/a.fits").write_bytes(gzip.decompress(first.read_bytes()))
    for path in others:
        shutil.copy(path, "my_cutouts")


def run_line(line: str) -> None:
    _, _, words = line.partition("main.py ")
    main.main(shlex.split(words, comments=True))


def blocks_of(page: str) -> list[tuple[str, str]]:
    return [(kind, block) for kind, block in FENCE.findall(TEXTS[page]) if kind in ("", "python", "ini")]


def fill_in_labels() -> None:
    """Does what the text of own_data.md asks for between two of its blocks."""
    table = Path("prepared/table.csv")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, label in zip(rows, cycle("abc"), strict=False):
        row["label"] = label
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("page", ["docs/export.md", "docs/own_data.md", "README.md", "docs/evaluation.md"])
def test_what_the_page_says_runs(page: str, folder: Path, real_data: Path, capsys) -> None:
    names = {"pixels": torch.zeros(4, 150, 150, dtype=torch.uint8)}  # where a snippet says: yours
    for made in ("my_cutouts", "prepared"):  # each page begins where its reader does
        shutil.rmtree(made, ignore_errors=True)
    if page != "README.md":
        lay_out_cutouts(real_data)
    ran = 0
    for kind, block in blocks_of(page):
        if kind == "ini":
            Path("mine.txt").write_text(shortened(block, real_data))
        elif kind == "python":
            exec(block, names)
            ran += 1
        for line in block.splitlines() if kind == "" else ():
            if "main.py" in line and not LEFT_OUT.search(line):
                run_line(line)
                ran += 1
                if "prepare" in line and page == "docs/own_data.md":
                    fill_in_labels()
    assert ran >= 2


def label_by_name(address: str) -> None:
    """Labels as an astronomer would who knows the codes in MiraBest's file names, and ends the program."""
    from tests.labeling.tools import Window

    window = Window(address)
    view = window.ask("start")[1]["view"]
    while view:
        view = window.answer(view, {"1": "FRI", "2": "FRII"}.get(view["name"][0], ""))
    _thread.interrupt_main()


@pytest.mark.slow
@pytest.mark.real_data
def test_the_way_from_cutouts_to_the_catalog_runs(real_data: Path, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(webbrowser, "open", lambda url: threading.Thread(target=label_by_name, args=(url,)).start())
    lay_out_cutouts(real_data)
    for kind, block in blocks_of("docs/from_cutouts_to_catalog.md"):
        if kind == "ini":
            Path("mine.txt").write_text(re.sub(r"^epochs: \d+", "epochs: 1", block, flags=re.MULTILINE))
        for line in block.splitlines() if kind == "" else ():
            if "main.py" in line:
                run_line(line)
    said = capsys.readouterr().out
    assert "22 of 22 answered, in labels.csv" in said and "Cohen's kappa: 1.000" in said
    for made in ("first_look.html", "runs/own/report.html", "catalog.csv", "catalog.html"):
        assert Path(made).is_file(), made
    with open("catalog.csv", newline="") as file:
        assert sum(row["in_training"] == "1" for row in csv.DictReader(file)) >= 10
