"""Run folders from strangers with links, pipes and devices in them: nothing outside is read, written or deleted."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radgal.classifier import Classifier
from radgal.commands.common import results_folder
from radgal.config.config import Config
from radgal.evaluation import rotation
from radgal.report.page import write_report
from radgal.report.savedrun import read_run
from radgal.runs import checkpoint
from radgal.runs.files import RunFile
from radgal.runs.folder import RunFolder
from tests.fuzz.tools import MANY, QUICK, derandomized, memory_limit, time_limit
from utils import UserError, write_json

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="making links takes rights there")
SECRET = "a secret of one's own"
CONFIG = {"model": {"base": "VanillaLeNet"}, "data": {"dataset": "FIRSTGalaxyData"}}
KINDS = ("file", "folder", "device", "pipe", "circle", "nowhere", "parent")


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder of one's own, in which a file and an image lie."""
    folder = tmp_path / "private"
    (folder / "inner").mkdir(parents=True)
    (folder / "secret.csv").write_text(f"epoch,train_loss\n1,0.5\n{SECRET},2\n")
    (folder / "picture.png").write_bytes(b"a picture")
    (folder / "inner" / "picture.png").write_bytes(b"another")
    return folder


@pytest.fixture
def folder(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a run's saved files that are read soon."""
    left_out = shutil.ignore_patterns("*.png", "gallery.npz", "sources.*", "rotation_samples.npz", "report.html")
    return Path(shutil.copytree(finished_run, tmp_path / "run", ignore=left_out))


def plant(path: Path, kind: str, private: Path) -> None:
    """Puts in place of ``path`` what leads elsewhere."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
        return
    to = {
        "file": private / "secret.csv",
        "folder": private,
        "device": Path("/dev/zero"),
        "circle": path,
        "nowhere": private / "new",
        "parent": Path("..", "..", "private", "secret.csv"),
    }
    path.symlink_to(to[kind])


def state_of(place: Path) -> list[tuple]:
    return sorted((str(path), path.is_dir() or path.read_bytes()) for path in place.rglob("*"))


def train_anew(folder: Path) -> None:
    with ExitStack() as held:
        run = RunFolder(Config.from_dict(CONFIG | {"metrics": {"outputdir": str(folder)}}))
        run.take(held, lambda *_: None)
        run.keep_earlier()
        run.start_csv()


def measure_rotations(folder: Path) -> None:
    rotation.run_rotation_test(folder, Classifier(model=None, classes=(), preparation=None, device=None), None)


def find_results_folder(folder: Path) -> None:
    path = folder / "last.pt"
    checkpoint.read(path)
    results_folder(SimpleNamespace(path=path, folder=folder))


def page(folder: Path) -> None:
    assert SECRET not in write_report([folder])[0].read_text()


def report(folder: Path) -> None:
    """What a report reads and where it writes, without the drawing of the page, which takes most of the time."""
    assert SECRET not in repr(read_run(folder))
    RunFile.REPORT.at(folder)


USES = {
    "report": report,
    "rotate": measure_rotations,
    "evaluate last.pt": find_results_folder,
    "predict": lambda folder: checkpoint.read(checkpoint.find(folder)),
    "evaluate": lambda folder: write_json(RunFile.METRICS.at(folder), {}),
    "log": lambda folder: RunFile.LOG.at(folder).open("a").close(),
    "train": train_anew,
}


@pytest.fixture
def no_network(monkeypatch) -> None:
    """Lets the rotation test find what it found, without a network."""
    found = rotation.RotationTest(
        names=("a",),
        labels=np.zeros(1, int),
        classes=("FRI", "FRII"),
        angles_deg=np.zeros(1),
        flips=np.zeros(1, bool),
        probs=np.full((1, 1, 2, 2), 0.5),
        pairs=np.array([[0, 1]]),
        overlap=np.ones((1, 1)),
        overlap_reflected=np.ones((1, 1)),
    )
    monkeypatch.setattr(rotation, "sample_rotations", lambda *_, **__: found)
    monkeypatch.setattr(rotation, "draw_source", lambda folder, *_: write_json(Path(folder) / "a.png", {}))


@pytest.mark.parametrize("n_cases", [QUICK, pytest.param(MANY, marks=pytest.mark.slow)])
def test_nothing_is_followed_out_of_a_run_folder(
    n_cases: int, folder: Path, private: Path, no_network: None, tmp_path: Path
) -> None:
    whole, before, refused = Path(shutil.copytree(folder, tmp_path / "whole")), state_of(private), 0
    places = [(file.file,) for file in RunFile] + [("rotation_figures", "a.png"), ("last", "metrics.json")]
    places += [(".results.part",), ("earlier.part",), (".results.part", "new")]

    @derandomized(n_cases)
    @given(st.sampled_from(places), st.sampled_from(KINDS), st.sampled_from(sorted(USES)))
    def check(place: tuple, kind: str, use: str) -> None:
        nonlocal refused
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
        plant(folder.joinpath(*place), kind, private)
        with time_limit():
            try:
                USES[use](folder)
            except UserError as error:
                refused += 1
                assert str(error).strip()
        assert state_of(private) == before

    with memory_limit():
        check()
    assert 0 < refused < n_cases


@pytest.mark.parametrize(
    "name, kind, use",
    [
        ("rotation_figures", "folder", "rotate"),
        ("rotation_figures", "parent", "rotate"),
        (".results.part", "folder", "rotate"),
        ("earlier.part", "folder", "train"),
        ("last", "folder", "evaluate last.pt"),
        ("log.txt", "file", "log"),
        ("log.txt", "pipe", "log"),
        ("metrics.json", "nowhere", "evaluate"),
        ("best.pt", "device", "predict"),
        ("best.pt", "pipe", "predict"),
        ("run.lock", "pipe", "train"),
        ("history.csv", "circle", "train"),
        ("report.html", "file", "page"),
        ("report.html", "nowhere", "page"),
        ("report.html", "pipe", "page"),
    ],
)
def test_what_leads_out_is_refused(
    name: str, kind: str, use: str, folder: Path, private: Path, no_network: None
) -> None:
    before = state_of(private)
    plant(folder / name, kind, private)
    with time_limit(), pytest.raises(UserError, match=f"{name} (leads out of|is neither)|cannot write"):
        (USES | {"page": page})[use](folder)
    assert state_of(private) == before


@pytest.mark.parametrize("name", ["history.csv", "metrics.json", "environment.json", "gallery.npz"])
def test_a_page_shows_nothing_that_is_elsewhere(name: str, folder: Path, private: Path) -> None:
    plant(folder / name, "file", private)
    page(folder)


def test_links_that_stay_inside_are_followed(folder: Path) -> None:
    (folder / "metrics.json").rename(folder / "old.json")
    (folder / "metrics.json").symlink_to("old.json")
    (folder.parent / "link").symlink_to(folder)
    page, problems = write_report([folder.parent / "link"])
    assert "metrics.json" not in " ".join(problems) and "Test accuracy" in page.read_text()


def test_a_report_reads_no_file_that_the_config_names(folder: Path, private: Path) -> None:
    (folder / "history.csv").unlink()
    with (folder / "config.txt").open("a") as stream:
        stream.write(f"\n[output]\ncsvfile: '{private / 'secret.csv'}'\n")
    text = (folder / "config.txt").read_text()
    first = text.index("[output]")
    (folder / "config.txt").write_text(text[:first] + text[text.index("[output]", first + 1) :])
    assert read_run(folder).option("output", "csvfile") == str(private / "secret.csv")
    rows = read_run(folder).history
    assert [row["epoch"] for row in rows] == ["1", "2"] and SECRET not in str(rows)  # those of last.pt
