"""The README against the code: its two lines, its tables, the requirements. All pages are tested in test_docs.py."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

import models
from main import COMMANDS
from radgal.data.datasets import PUBLISHED
from radgal.layers.modelinfo import count_parameters
from radgal.runs.files import RunFile
from radgal.training.loop import CSV_COLUMNS
from tests.conftest import ROOT
from tests.smallrun import WRITTEN

README = (ROOT / "README.md").read_text(encoding="utf-8")
FIRST_RUN = "pip install -r requirements.txt && python main.py --config configs/config_first_lenet.txt"
TEST_LINE = "pip install -r requirements-dev.txt && python -m pytest"


def table(heading: str, n: int = 0) -> list[list[str]]:
    """The cells of the n-th table under a heading, without its head."""
    section = README.split(f"# {heading}\n")[1].split("\n#")[0]
    lines = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[n].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_two_lines_stand_there_and_ci_runs_them() -> None:
    blocks = re.findall(r"```\n(.*?)\n```", README, re.DOTALL)
    assert FIRST_RUN in blocks and TEST_LINE in blocks
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for line in (FIRST_RUN, TEST_LINE):
        for command in line.split(" && "):
            assert re.search(rf"^\s*(PYTHONPATH=\S+ )?{re.escape(command)}", ci, re.MULTILINE), command


def test_table_of_commands() -> None:
    assert {name for row in table("Commands") for name in names_in(row[0])} == set(COMMANDS)


def test_table_of_networks() -> None:
    rows = table("Networks")
    assert [names_in(row[0]) for row in rows] == [[name] for name in models.MODELS]
    for (name, network), row in zip(models.MODELS.items(), rows, strict=True):
        assert row[1] == ("N" if network.takes_nrot else "none"), name


@pytest.mark.parametrize("name", models.MODELS)
def test_parameter_counts(name: str) -> None:
    """Of those networks that have a group, a count without one holds for every N."""
    (row,) = (row for row in table("Networks") if names_in(row[0]) == [name])
    counts = re.findall(r"(?:[CD]_(\d+) )?(\d[\d,]*\d)", row[3])
    assert counts
    for n, count in counts:
        nrot = int(n or 4) if models.MODELS[name].takes_nrot else None
        trainable, _ = count_parameters(models.build_model(name, n_classes=2, side=150, nrot=nrot))
        assert count == f"{trainable:,}", nrot


def test_table_of_data_sets() -> None:
    rows = {name: row for row in table("Data sets") for name in names_in(row[0])}
    assert rows.keys() == PUBLISHED.keys()
    citations = dict(re.findall(r"^(\d)\. [^:]+: (.+)$", README, re.MULTILINE))
    for name, dataset in PUBLISHED.items():
        row = rows[name]
        classes = {"ten": 10}.get(row[1]) or len(row[1].split(","))
        assert classes == len(dataset.classes), row
        cited = " ".join(citations[number] for number in row[4].split(", "))
        year_and_journal = re.findall(r"(?<=\d{4}, )[A-Z][A-Za-z& ]+ \d+, \d+", dataset.citation)
        assert year_and_journal and all(reference in cited for reference in year_and_journal), row


@pytest.mark.real_data
@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "FIRSTGalaxyData"])
def test_counts_of_archives(name: str, real_data, unpacked) -> None:
    check_counts(name, root=unpacked, mirror=str(real_data))


def test_counts_of_the_package(unpacked) -> None:
    check_counts("FIRSTGalaxyData", root=unpacked)


def check_counts(name: str, **where) -> None:
    (row,) = (row for row in table("Data sets") if name in names_in(row[0]))
    lengths = [len(PUBLISHED[name](where["root"], train=train, mirror=where.get("mirror"))) for train in (True, False)]
    assert row[2] == "{}, {}".format(*lengths)


def files_of(*commands: str) -> set[str]:
    return {one.file for one in RunFile if one.command in commands}


def test_files_of_a_run() -> None:
    """Those named are those of the table in the program, and those that a real run is checked for are among them."""
    named = [name for row in table("What a run writes") for name in names_in(row[0])]
    of_other_checkpoints = {RunFile.OF_LAST.file, RunFile.OF_UNFINISHED.file}
    assert len(named) == len(set(named))
    assert set(named) - {"earlier.1", "earlier.2"} == files_of("train", "evaluate", "report") - of_other_checkpoints
    assert set(WRITTEN.split()) <= set(named)
    assert ", ".join(CSV_COLUMNS[:4]) in README and ", ".join(CSV_COLUMNS[4:]) in README


OF_OTHERS = ("rotate", "rotate --limit", "rotate --compare", "equivariance", "export", "repeat --no-test")
OF_OTHERS += ("evaluate --dataset", "evaluate --ensemble")


def test_files_of_the_other_commands() -> None:
    rows = {names_in(row[0])[0]: set(names_in(row[1])) for row in table("What a run writes", n=1)}
    assert {command.split()[0] for command in rows} <= set(COMMANDS)
    assert rows.pop("repeat --workers") == files_of("repeat")
    assert rows == {command: files_of(command) for command in OF_OTHERS}


def test_requirements_are_what_is_imported() -> None:
    """Direct dependencies only, all of them: what a run imports is listed, what is listed is imported.

    What only some commands need is in a requirements-NAME.txt of its own.
    """
    listed = set(re.findall(r"^([\w-]+)[>=]=", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE))
    import_name = {"scikit-learn": "sklearn"}
    files = [*ROOT.glob("*.py"), *(ROOT / "radgal").rglob("*.py")]
    imported = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    imported.add("firstgalaxydata")  # read as a file; none of its code runs
    imported.add("torchvision")  # gives the transforms that data sets take; the benchmarks import it
    for package in sorted(listed):
        assert import_name.get(package, package) in imported, f"{package} is listed, but not imported"
        try:
            version(package)
        except PackageNotFoundError:
            pytest.fail(f"{package} is listed, but not installed")
    optional = {
        package.replace("-", "_")
        for path in ROOT.glob("requirements-*.txt")
        for package in re.findall(r"^([\w-]+)[>=]=", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    # Pillow comes with matplotlib.
    allowed = set(sys.stdlib_module_names) | {import_name.get(p, p) for p in listed} | {"PIL"} | optional
    assert imported - allowed - {"radgal", "models", "utils", "main"} == set()
