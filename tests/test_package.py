"""What ``pip install`` makes of this folder: the command radgal, and nothing but this program's names."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version

import pytest

import main
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """A wheel, built from a copy of the folder so that nothing is left in it."""
    try:
        new_enough = int(version("setuptools").split(".")[0]) >= 77
    except PackageNotFoundError:
        new_enough = False
    if not new_enough:
        pytest.skip("pip install 'setuptools>=77' to build without a network")
    folder, copy = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("copy")
    for name in ("radgal", "configs", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for pattern in ("*.py", "*.toml", "*.txt", "README.md", "LICENSE"):
        for path in ROOT.glob(pattern):
            shutil.copy(path, copy)
    words = "-m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir".split()
    subprocess.run([sys.executable, *words, str(folder), "."], cwd=copy, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_only_this_programs_names_are_taken(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"main.py", "models.py", "utils.py", "radgal"}


def test_everything_of_the_package_is_in_it(wheel: zipfile.ZipFile) -> None:
    here = {path for path in (ROOT / "radgal").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path.relative_to(ROOT).as_posix() for path in here} == {
        name for name in wheel.namelist() if name.startswith("radgal/")
    }
    assert any(path.suffix == ".html" for path in here)


def test_what_is_needed_is_read_from_the_requirements_files(wheel: zipfile.ZipFile) -> None:
    metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))).decode()
    needed = set(re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata, re.MULTILINE))
    listed = re.findall(r"^[\w-]+", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert needed == set(listed)
    assert set(re.findall(r"^Provides-Extra: (\w+)$", metadata, re.MULTILINE)) == {"export", "label", "scale", "video"}


def test_the_command_radgal_is_main(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
    assert "radgal = main:console" in wheel.read(name).decode()


def as_command(monkeypatch, *words: str) -> object:
    """Runs radgal as pip's script does, which ends with ``sys.exit(console())``."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/radgal", *words])
    return main.console()


def test_a_mistake_ends_the_command_in_one_line(monkeypatch) -> None:
    with pytest.raises(SystemExit, match="^error: there is no config file nowhere.txt"):
        as_command(monkeypatch, "--config", "nowhere.txt")


def test_a_run_ends_the_command_with_code_0(monkeypatch) -> None:
    monkeypatch.setattr(main, "main", lambda: "what a training run returns")
    assert as_command(monkeypatch, "--config", "mine.txt") is None


def test_the_help_calls_the_command_by_its_name(monkeypatch, capsys) -> None:
    with pytest.raises(SystemExit) as left:
        as_command(monkeypatch, "--help")
    assert left.value.code == 0 and capsys.readouterr().out.startswith("usage: radgal ")


def test_ctrl_c_ends_the_program_with_its_code(monkeypatch, capsys) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "main", interrupted)
    with pytest.raises(SystemExit) as left:
        main.console()
    assert left.value.code == 130 and "interrupted" in capsys.readouterr().err


def test_ruff_is_of_one_version() -> None:
    listed = re.findall(r"^ruff==(\S+)", (ROOT / "requirements-dev.txt").read_text(encoding="utf-8"), re.MULTILINE)
    hooked = re.findall(r"ruff==([\d.]+)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert len(listed) == 1 and len(hooked) == 2 and set(hooked) == set(listed)
