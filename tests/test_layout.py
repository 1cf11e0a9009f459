"""The direction of imports: config -> data -> model -> train -> evaluate -> report stays true."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Each module may import those to its left, and utils; never main. ``models`` stands beside the package.
ORDER = (
    "ini options draft config download safeload batches mirabest frdeep firstgalaxy fits images positions labels "
    "imagetable data augment e2cnn_compat basis stock sky layers harmonic pooling pooledconv steerable modelinfo "
    "precision stopping parallel train checkpoint finetune runlock storedstate runfolder resume live experiment "
    "metrics sources gallery plots poseplots passes evaluate testing overlap rotation equivariance tables repeat "
    "runfiles charts views resultviews report schedule catalog mosaic inputs predict predictjob export prepare fields "
    "demo demofigure"
).split()
MODELS_MAY_IMPORT = {
    "utils",
    "radgal.steerable",
    "radgal.stock",
    "radgal.basis",
    "radgal.layers",
    "radgal.sky",
    "radgal.modelinfo",
}


COMMANDS_MAY_IMPORT = {"utils", "models", *(f"radgal.{name}" for name in ORDER)}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"radgal.{a.name}" for a in node.names} if node.module == "radgal" else {node.module}
    return {name for name in names if name.split(".")[0] in ("radgal", "models", "main", "utils")}


@pytest.mark.parametrize("path", sorted((ROOT / "radgal").glob("[a-z]*.py")), ids=lambda p: p.stem)
def test_modules_import_only_earlier_ones(path: Path) -> None:
    assert path.stem in ORDER, f"say in {Path(__file__).name} where {path.stem} stands"
    allowed = {"utils"} | {f"radgal.{name}" for name in ORDER[: ORDER.index(path.stem)]}
    assert imported(path) - allowed == set()


def test_utils_and_models_import_what_they_may() -> None:
    assert imported(ROOT / "utils.py") == set()
    assert imported(ROOT / "models.py") - MODELS_MAY_IMPORT == set()


@pytest.mark.parametrize("path", sorted((ROOT / "radgal" / "commands").glob("[a-z]*.py")), ids=lambda p: p.stem)
def test_commands_use_the_package_and_never_main(path: Path) -> None:
    others = {name for name in imported(path) if not name.startswith("radgal.commands")}
    assert others - COMMANDS_MAY_IMPORT == set()


def test_main_knows_the_commands_only() -> None:
    allowed = {"utils", "radgal.e2cnn_compat"}
    assert {name for name in imported(ROOT / "main.py") if not name.startswith("radgal.commands")} <= allowed
