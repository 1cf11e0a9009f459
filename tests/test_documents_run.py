"""The commands and snippets of README and docs do, as they stand there, what is said: run in a newcomer's folder.

The folder has the configs with one epoch and small images, and cutouts under the names that the pages use. ``FILLED``
says how a command is made short and what stands in its blanks, ``LEFT_OUT`` what is not run, and why.
"""

from __future__ import annotations

import _thread
import csv
import gzip
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
import torch

import main
from tests.conftest import ROOT
from tests.test_docs import FENCE, TEXTS
from tests.test_tasks import scheduler  # noqa: F401

OF_THEIR_OWN = {"docs/from_cutouts_to_catalog.md", "docs/api.md"}
"""Pages with a test of their own: below, and in test_api.py."""
READ_ONLY = {f"docs/{name}.md" for name in "cluster data_sets demo pretrained science".split()}
"""Pages of which test_docs.py alone looks at the commands: they were not tried here yet."""
LEFT_OUT = {
    r"^[!%]?(pip|git|cd|radgal)\b|pip install -r requirements-\w+.txt$": "installs, or fetches the program",
    r"^# |^#!": "no command",
    r"-m (pytest|pip)|^pre-commit|^ruff": "these tests",
    r"^(#SBATCH|srun|sbatch|dask|for|done|if)\b": "a scheduler's job",
    r"--nnodes": "several machines",
    r"main\.py (repeat|calibrate)|runs/repeat": "trains for hours; tests/repeats and tests/evaluation run it",
    r"-m benchmarks": "measures for minutes, or writes into the program; test_benchmarks.py, tests/pretrained run it",
    r"main\.py (COMMAND|\.\.\.)|main\.py$|--config \.\.\.": "the form of a command",
}
"""Patterns of lines that are not run, each with its reason."""
RUN = re.compile(r"(pip install -r \S+ && )?(python|%run|!python|torchrun --nproc-per-node 2) (-c|-m timeit|main\.py)")
FILLED = (
    (r"-m timeit", "-m timeit -n 1 -r 1"),
    (r"--seeds \d+", "--seeds 1"),
    (r"--folds \d+", "--folds 2"),
    (r"training\.epochs=\d+", "training.epochs=1"),
    (r"(fine-tune fr-.*)", r"\1 --set training.imsize=148"),
    (r"\bRUN\b", "runs/config_first_lenet"),
    (r"\bIMAGES\.\.\.", "my_cutouts"),
    (r"--config FILE", "--config configs/config_fr_lenet.txt"),
    (r"'FILE'", "'my_cutouts/a.fits'"),
)
BEFORE = {
    "docs/benchmarks.md": ["python main.py --config configs/config_mb_lenet.txt --dry-run"],  # brings the data
    "docs/export.md": [f"python main.py export runs/config_first_lenet --format {form}" for form in ("onnx", "torch")],
}
"""What a page supposes that the reader has done, after the words of its text."""


def lines_of(page: str) -> Iterator[tuple[str, str]]:
    """Yields what stands in code, in the order of the page: (kind of block, its text or one line of it)."""
    text = re.sub(r"^ {4,}(python (?:.*\\\n)*.*)$", r"```\n\1\n```", TEXTS[page], flags=re.MULTILINE)
    for match in re.finditer(rf"{FENCE.pattern}|`(python main\.py [^`\n]+)`", text, FENCE.flags):
        kind, block, line = match.groups()
        if line or kind in ("", "bash"):
            yield from (
                ("line", one.strip()) for one in (line or block).replace("\\\n", " ").splitlines() if one.strip()
            )
        elif kind in ("python", "ini"):
            yield kind, block


def is_left_out(line: str) -> bool:
    return any(re.search(pattern, line) for pattern in LEFT_OUT)


PAGES = [page for page in TEXTS if page not in OF_THEIR_OWN]
WITH_CODE = [
    page
    for page in PAGES
    if page not in READ_ONLY and any(kind == "python" or not is_left_out(text) for kind, text in lines_of(page))
]


def test_every_line_is_run_or_left_out_for_a_reason() -> None:
    lines = [(page, text) for page in PAGES for kind, text in lines_of(page) if kind == "line"]
    assert [both for both in lines if not RUN.match(both[1]) and not is_left_out(both[1])] == []
    assert [pattern for pattern in LEFT_OUT if not any(re.search(pattern, line) for _, line in lines)] == []


def shortened(config: str, mirror: Path) -> str:
    """Returns a config with one epoch, images of 28 px, and the archives at hand."""
    config = re.sub(r"^epochs: \d+", "epochs: 1", config, flags=re.MULTILINE)
    config = re.sub(r"^imsize: \d+", "imsize: 28", config, flags=re.MULTILINE)
    return config.replace("[data]\n", f"[data]\nmirror: {mirror.as_posix()!r}\n")


@pytest.fixture(scope="module")
def folder(real_data: Path, tmp_path_factory):
    """The newcomer's folder; the working directory as long as this module runs."""
    place = tmp_path_factory.mktemp("newcomer")
    (place / "configs").mkdir()
    for path in ROOT.glob("configs/**/*.txt"):
        copy = place / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(shortened(path.read_text(encoding="utf-8"), real_data))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield place


@pytest.fixture
def begun(folder: Path, real_data: Path) -> None:
    """Each page begins where its reader does."""
    for path in folder.iterdir():
        if path.name not in ("configs", "data", "trained"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def lay_out_cutouts(real_data: Path) -> None:
    """Puts cutouts where a reader who did not come from the README has some, one under the name that a snippet uses."""
    Path("my_cutouts").mkdir()
    first, *others = sorted((real_data / "fits").glob("*.fits.gz"))
    Path("my_cutouts/a.fits").write_bytes(gzip.decompress(first.read_bytes()))
    for path in others:
        shutil.copy(path, "my_cutouts")


def lay_out_files() -> None:
    """Puts what a page names as the reader's own: a mosaic and its catalog, a table of images, published weights."""
    from astropy.io import fits

    from tests.published import PublishedSteerable

    shutil.copy("my_cutouts/a.fits", "image.fits")
    header = fits.getheader("image.fits")
    Path("positions.csv").write_text(f"id,ra,dec\none,{header['CRVAL1']},{header['CRVAL2']}\n")
    rows = [f"{path},{'ab'[k % 2]},train" for k, path in enumerate(sorted(Path("my_cutouts").iterdir()))]
    Path("mine.csv").write_text("\n".join(["path,label,split", *rows, ""]))
    torch.save(PublishedSteerable("D", 16, 151).state_dict(), "mirabest_d16.pt")


def have_trained(line: str) -> None:
    """Trains the runs that a command makes use of and that are not there, each once for all pages."""
    for name in set(re.findall(r"runs/(config_\w+)", line)):
        if not Path("runs", name).exists():
            kept = Path("trained", name)
            if not kept.exists():
                run_line(f"python main.py --config configs/{name}.txt")
                shutil.copytree(Path("runs", name), kept)
            shutil.copytree(kept, Path("runs", name), dirs_exist_ok=True)


def run_line(line: str):
    """Runs a command as a page has it: of the program within this process, others as they are."""
    for pattern, text in FILLED:
        line = re.sub(pattern, text, line)
    have_trained(line)
    if re.search(r"\bpython -|torchrun", line):
        words = shlex.split(line.replace("main.py", (ROOT / "main.py").as_posix()))
        words[:1] = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "torch.distributed.run"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return None
    try:
        return main.main(shlex.split(line.partition("main.py ")[2], comments=True))
    except SystemExit as left:
        assert "--help" in line and not left.code


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
@pytest.mark.parametrize("page", WITH_CODE)
def test_what_the_page_says_runs(page: str, begun: None, real_data: Path, request, capsys) -> None:
    names = {"pixels": torch.zeros(4, 150, 150, dtype=torch.uint8)}  # where a snippet says: yours
    lines = list(lines_of(page))
    if not any("--example my_cutouts" in text for _, text in lines):
        lay_out_cutouts(real_data)
        lay_out_files()
    if "scheduler.json" in TEXTS[page]:
        shutil.copy(request.getfixturevalue("scheduler")[0], "scheduler.json")
    for line in BEFORE.get(page, ()):
        run_line(line)
    ran = 0
    for kind, text in lines:
        if kind == "ini":
            Path("mine.txt").write_text(shortened(text, real_data))
        elif kind == "python":
            have_trained(text)
            exec(text, names)
            ran += 1
        elif not is_left_out(text):
            names["run"] = run_line(text) or names.get("run")
            ran += 1
            if "main.py prepare" in text and page == "docs/own_data.md":
                fill_in_labels()
    assert ran


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
        for line in block.splitlines() if kind == "" else ():  # the block called bash measures the curve, for minutes
            if "main.py" in line:
                run_line(line)
    said = capsys.readouterr().out
    assert "22 of 22 answered, in labels.csv" in said and "Cohen's kappa: 1.000" in said
    for made in ("first_look.html", "runs/own2/report.html", "catalog.csv", "catalog.html"):
        assert Path(made).is_file(), made
    with open("catalog.csv", newline="") as file:
        assert sum(row["in_training"] == "1" for row in csv.DictReader(file)) >= 10
