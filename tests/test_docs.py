"""README, CONTRIBUTING and the pages of docs against the code: commands, options, keys, links, paths, Python."""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
from contextlib import redirect_stdout, suppress
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest

import models
import radgal
from benchmarks import options as benchmarks
from main import build_parser
from radgal.config.config import load_config
from radgal.config.keys import SECTIONS
from radgal.data.datasets import class_counts
from tests.conftest import ROOT
from tests.test_layout import ORDER

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "configs" / "README.md", *ROOT.glob("docs/*.md")]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(PAGES)}
SOURCES = [
    *ROOT.glob("*.py"),
    *ROOT.glob("radgal/**/*.py"),
    *ROOT.glob("benchmarks/*.py"),
    *ROOT.glob("configs/**/*.txt"),
]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def code_of(text: str) -> str:
    """Returns what stands in code: in blocks, and between backticks."""
    blocks = [block for _, block in FENCE.findall(text)]
    return "\n".join(blocks + re.findall(r"`([^`\n]+)`", FENCE.sub("", text)))


def blocks_of(text: str, language: str) -> list[str]:
    return [block for kind, block in FENCE.findall(text) if kind == language]


def commands_of(text: str, program: str) -> list[str]:
    """Returns the arguments that follow a program's name in code; COMMAND and ... stand for any command."""
    found = re.findall(rf"{program}((?: .*)?)$", code_of(text), re.MULTILINE)
    return [words.strip() for words in found if not words.startswith((" COMMAND", " ..."))]


def all_commands(program: str) -> list:
    return [
        pytest.param(words, id=f"{name}-{i}-{words[:40]}")
        for name, text in TEXTS.items()
        for i, words in enumerate(commands_of(text, program))
    ]


@pytest.mark.parametrize("words", all_commands(r"\bmain\.py"))
def test_the_program_understands_the_commands(words: str) -> None:
    try:
        args = build_parser().parse_args(shlex.split(words, comments=True))
    except SystemExit as left:
        assert left.code == 0 and "--help" in words
        return
    configs = args.config if isinstance(args.config, list) else [args.config]
    assert [path for path in configs if path and path.startswith("configs/") and not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("words", all_commands(r"python -m benchmarks(?![.\w])"))
def test_the_benchmarks_understand_theirs(words: str) -> None:
    benchmarks.parse(shlex.split(words, comments=True))


def test_enough_commands_were_found() -> None:
    assert len(all_commands(r"\bmain\.py")) > 30
    assert {name for name, text in TEXTS.items() if commands_of(text, r"\bmain\.py")} >= {
        "README.md",
        "docs/cluster.md",
        "docs/predict.md",
        "docs/own_data.md",
    }


def known_options() -> set[str]:
    """Returns the options of main.py, of its commands, and of the benchmarks."""
    parser = build_parser()
    known = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            known.update(*(sub._option_string_actions for sub in action.choices.values()))
    with redirect_stdout(StringIO()) as help_text, suppress(SystemExit):
        benchmarks.parse(["--help"])
    return known | set(re.findall(r"--[a-z-]+", help_text.getvalue()))


@pytest.mark.parametrize("page", TEXTS)
def test_options_exist(page: str) -> None:
    others = (
        r"```bash\n.*?```|(pip|git|pre-commit|ruff) [^\n`]*|torchrun[^\n]*?main\.py|python -m (?!benchmarks )[^\n`]*"
    )
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", re.sub(others, "", TEXTS[page], flags=re.DOTALL)))
    assert named - known_options() == set()


@pytest.mark.parametrize("page", TEXTS)
def test_keys_exist(page: str) -> None:
    for section, key in re.findall(r"--set (\w+)\.(\w+)=", TEXTS[page]):
        assert key in SECTIONS[section].model_fields
    keys = {key for section in SECTIONS.values() for key in section.model_fields}
    named = set(re.findall(r"`([a-z_0-9]+): [^`]+`", FENCE.sub("", TEXTS[page]))) - {"key"}
    assert named - keys == set()


def test_keys_were_found() -> None:
    named = {key for text in TEXTS.values() for key in re.findall(r"`([a-z_0-9]+): [^`]+`", text)}
    assert {"pad", "mask", "split", "seed", "frac_val"} <= named


def anchors_of(path: Path) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]) if "://" not in link]
    for link in links:
        file, _, anchor = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize("page", TEXTS)
def test_paths_in_the_text_exist(page: str) -> None:
    named = re.findall(r"(?<![\w./-])((?:radgal|tests|docs|configs|benchmarks|notebooks|\.ci)/[\w./-]*)", TEXTS[page])
    assert [path for path in named if not (ROOT / path.rstrip(".")).exists()] == []


def test_pages_that_the_code_names_exist() -> None:
    named = {
        (path.name, page)
        for path in SOURCES
        for page in re.findall(r"\b(?:docs|configs)/\w+\.md\b", path.read_text(encoding="utf-8"))
    }
    assert len(named) >= 4
    assert [both for both in named if not (ROOT / both[1]).is_file()] == []


def test_the_readme_leads_to_every_page() -> None:
    assert [page for page in TEXTS if page != "README.md" and f"]({page})" not in TEXTS["README.md"]] == []


def python_blocks() -> list:
    return [
        pytest.param(block, id=f"{name}-{i}")
        for name, text in TEXTS.items()
        for i, block in enumerate(blocks_of(text, "python"))
    ]


@pytest.mark.parametrize("block", python_blocks())
def test_python_can_be_read_and_finds_what_it_imports(block: str) -> None:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("radgal", "models", "main", "utils"):
            module = import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_names_of_the_package_are_offered_by_it() -> None:
    nodes = [node for param in python_blocks() for node in ast.walk(ast.parse(param.values[0]))]
    named = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "radgal"
    }
    assert {"train", "open_run"} <= named
    assert named <= set(radgal.__all__)


def test_configs_in_the_text_are_configs(tmp_path: Path) -> None:
    blocks = [block for text in TEXTS.values() for block in blocks_of(text, "ini")]
    assert blocks
    for block in blocks:
        path = tmp_path / "mine.txt"
        path.write_text(block, encoding="utf-8")
        load_config(path, models=models.needs_nrot(), datasets=class_counts())


def test_catalog_is_spelled_one_way() -> None:
    british = "catalog" + "ue"
    files = [*PAGES, *SOURCES, *ROOT.glob("tests/**/*.py"), *ROOT.glob("notebooks/*.ipynb")]
    assert [path for path in files if british in path.read_text(encoding="utf-8").lower()] == []


def test_the_table_of_folders_is_the_order_of_imports_with_the_first_lines_of_the_docstrings() -> None:
    """``RADGAL_WRITE_DOCS=1`` makes the table anew."""
    path, rows = ROOT / "CONTRIBUTING.md", "".join(f"| `{place}` | {first_line(place)} |\n" for place in ORDER)
    head = r"(?<=\| place \| its subject \|\n\|---\|---\|\n)"
    before, found, after = re.split(rf"{head}((?:\|.*\n)+)", path.read_text(encoding="utf-8"))
    if os.environ.get("RADGAL_WRITE_DOCS"):
        path.write_text(before + rows + after, encoding="utf-8")
        found = rows
    assert found == rows, f"RADGAL_WRITE_DOCS=1 python -m pytest {__file__} makes it anew"


def first_line(place: str) -> str:
    """Returns what a folder of radgal, a module of it or one at the root says that it is."""
    known = (ROOT / "radgal" / place / "__init__.py", ROOT / "radgal" / f"{place}.py", ROOT / f"{place}.py")
    path = next(path for path in known if path.is_file())
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]
