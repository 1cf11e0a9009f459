"""The direction of imports between the folders: an arrow only points down the list, so every part can be read alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

# What stands higher may import what stands lower, never the reverse. ``models`` is the file beside the package.
ORDER = (
    "commands api trainingrun labeling prediction report repeats demo evaluation runs classifier training models data "
    "figures images layers config pretrained files tasks progress utils"
).split()
FILES = sorted([*(ROOT / "radgal").rglob("[a-z]*.py"), ROOT / "main.py", ROOT / "models.py", ROOT / "utils.py"])


def place_of(module: str) -> str:
    """Returns the entry of ORDER that a dotted module name belongs to."""
    first, _, rest = module.partition(".")
    return rest.partition(".")[0] if first == "radgal" else first


def imported(path: Path) -> set[str]:
    """Returns the places that a file imports from, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "radgal":
            names |= {f"radgal.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {place_of(name) for name in names if name.split(".")[0] in ("radgal", "models", "main", "utils")}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_down_the_list(path: Path) -> None:
    place = place_of(module_of(path))
    if place == "main":
        assert imported(path) <= {"commands", "layers", "progress", "utils"}
        return
    assert place in ORDER, f"say in {Path(__file__).name} where {place} stands"
    assert imported(path) - set(ORDER[ORDER.index(place) :]) == set()
    assert place != "data" or "figures" not in imported(path)  # commands draw what data sets hold


@pytest.mark.parametrize("package", sorted(path.parent for path in (ROOT / "radgal").rglob("__init__.py")), ids=str)
def test_every_folder_says_its_subject(package: Path) -> None:
    assert ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
