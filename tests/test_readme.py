"""The README against the code: commands, options, files, tables."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

import models
from main import build_parser
from radgal.config.keys import SECTIONS
from radgal.data.datasets import DATASETS
from radgal.layers.modelinfo import count_parameters
from radgal.runs.folder import CSV_COLUMNS
from tests.conftest import ROOT
from tests.smallrun import WRITTEN

README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", ROOT / "configs" / "README.md")}
FIRST_RUN = "pip install -r requirements.txt && python main.py --config configs/config_first_lenet.txt"
TEST_LINE = "pip install -r requirements-dev.txt && python -m pytest"


def commands() -> list[str]:
    """The main.py command lines that stand in code, in the order of the README."""
    fence = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
    code = "\n".join(fence.findall(README) + re.findall(r"`([^`\n]+)`", fence.sub("", README)))
    return re.findall(r"main\.py (.+)", code)


def table(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    section = README.split(f"# {heading}\n")[1].split("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
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


@pytest.mark.parametrize("command", [c for c in commands() if "FILE" not in c])
def test_commands_are_understood(command: str) -> None:
    args = build_parser().parse_args(shlex.split(command, comments=True))
    configs = args.config if isinstance(args.config, list) else [args.config]
    for config in filter(None, configs):
        assert (ROOT / config).is_file(), config


def test_enough_commands_were_found() -> None:
    assert len(commands()) >= 5


def test_options_exist() -> None:
    parser = build_parser()
    known = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            known.update(*(sub._option_string_actions for sub in action.choices.values()))
    others = r"```bash\n.*?```|pip install[^\n]*|torchrun[^\n]*?main\.py|python -m [^\n`]*|`--quick`"
    for path, text in TEXTS.items():
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", re.sub(others, "", text, flags=re.DOTALL)))
        assert named and named <= known, f"{path}: {named - known}"


def test_overridden_keys_exist() -> None:
    for text in TEXTS.values():
        named = re.findall(r"--set (\w+)\.(\w+)=", text)
        assert named
        for section, key in named:
            assert key in SECTIONS[section].model_fields


def test_config_keys_named_with_a_value_exist() -> None:
    keys = {key for section in SECTIONS.values() for key in section.model_fields}
    named = {key for text in TEXTS.values() for key in re.findall(r"`([a-z_0-9]+): [^`]+`", text)} - {"key"}
    assert {"pad", "mask", "split", "seed", "frac_val"} <= named
    assert named <= keys


def test_links_lead_to_files() -> None:
    for path, text in TEXTS.items():
        links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
        assert links
        assert [link for link in links if not (path.parent / link).exists()] == []


def test_table_of_networks() -> None:
    rows = table("Networks")
    assert [names_in(row[0]) for row in rows] == [[name] for name in models.MODELS]
    for (name, network), row in zip(models.MODELS.items(), rows, strict=True):
        assert row[1] == ("N" if network.takes_nrot else "none"), name


@pytest.mark.parametrize(
    ("name", "nrot", "label"),
    [
        ("VanillaLeNet", None, ""),
        ("HMTNet", None, ""),
        ("CNSteerableLeNet", 4, "C_4 "),
        ("CNSteerableLeNet", 16, "C_16 "),
        ("DNSteerableLeNet", 4, "D_4 "),
        ("DNRestrictedLeNet", 4, ""),
    ],
)
def test_parameter_counts(name: str, nrot: int | None, label: str) -> None:
    (row,) = (row for row in table("Networks") if names_in(row[0]) == [name])
    trainable, _ = count_parameters(models.build_model(name, n_classes=2, side=150, nrot=nrot))
    assert re.search(rf"(?<!\d){label}{trainable:,}(?![\d,]*\d)", row[3]), trainable


def test_table_of_data_sets() -> None:
    rows = table("Data sets")
    assert [names_in(row[0]) for row in rows] == [[name] for name in DATASETS]
    citations = dict(re.findall(r"^(\d)\. [^:]+: (.+)$", README, re.MULTILINE))
    for dataset, row in zip(DATASETS.values(), rows, strict=True):
        classes = {"ten": 10}.get(row[1]) or len(row[1].split(","))
        assert classes == len(dataset.classes), row
        cited = " ".join(citations[number] for number in row[4].split(", "))
        year_and_journal = re.findall(r"(?:RASTI|ApJ|MNRAS|AJ|Data in Brief) \d+, \d+", dataset.citation)
        assert year_and_journal and all(reference in cited for reference in year_and_journal), row


@pytest.mark.real_data
@pytest.mark.parametrize("name", [name for name in DATASETS if name != "FIRSTGalaxyData"])
def test_counts_of_archives(name: str, real_data, tmp_path) -> None:
    folder = real_data / ("frdeep" if name.startswith("FR") else "mirabest")
    check_counts(name, root=tmp_path, mirror=str(folder))


def test_counts_of_the_package(tmp_path) -> None:
    check_counts("FIRSTGalaxyData", root=tmp_path)


def check_counts(name: str, **where) -> None:
    (row,) = (row for row in table("Data sets") if names_in(row[0]) == [name])
    lengths = [len(DATASETS[name](where["root"], train=train, mirror=where.get("mirror"))) for train in (True, False)]
    assert row[2] == "{}, {}".format(*lengths)


def test_files_of_a_run() -> None:
    """Those named are those that a real run is checked for."""
    named = [name for row in table("What a run writes") for name in names_in(row[0])]
    assert sorted(named) == sorted(WRITTEN.split())
    assert ", ".join(CSV_COLUMNS[:4]) in README and ", ".join(CSV_COLUMNS[4:]) in README


def test_python_in_it_is_python() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        ast.parse(block)


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
    # Pillow comes with torchvision.
    allowed = set(sys.stdlib_module_names) | {import_name.get(p, p) for p in listed} | {"PIL"} | optional
    assert imported - allowed - {"radgal", "models", "utils", "main"} == set()
