"""The table of a run folder's files: it has all that any command writes there, and an earlier run's are put aside."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import main
from radgal.runs.files import RunFile, written_by
from tests.smallrun import CONFIG, WRITTEN
from utils import UserError


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def config(finished_run: Path, tmp_path_factory) -> Path:
    """A run after every command that writes into its folder, and its config beside it."""
    path = tmp_path_factory.mktemp("files") / "small.txt"
    path.write_text(CONFIG.format(folder=(path.parent / "out").as_posix()))
    quick, out = ["--mc-samples", "2"], str(path.parent / "out")
    shutil.copytree(finished_run, out, ignore=shutil.ignore_patterns("rotation_*"))
    main.main(["evaluate", f"{out}/last.pt", "--rotations", "1", *quick])
    rotate = ["rotate", out, "--limit", "1", *quick, "--angles", "0", "0", "90", "--compare", f"{out}/last.pt"]
    main.main(rotate)
    main.main([*rotate, "--out", out])
    main.main(["export", out, "--format", "torch"])
    Path(out, "mine.txt").write_text("notes of the user")
    return path


def test_the_table_has_all_that_is_written_and_a_new_run_puts_it_aside(config: Path) -> None:
    out = config.parent / "out"
    before = names(out) - {"mine.txt"}
    table = {one.file: one for one in RunFile}
    assert before - table.keys() == set()
    missing = table.keys() - before
    rare = {
        "against.json",
        "against.csv",
        "against.png",
        "other",
        "ensemble",
        "unfinished.pt",
        "unfinished",
        "exported.onnx",
        "log.txt",
        "run.lock",
        "validation.json",
        "validation.csv",
    }
    assert missing <= rare
    assert set(WRITTEN.split()) <= table.keys()
    # Those that this run did not write are put aside as well.
    (out / "exported.onnx").write_bytes(b"onnx")
    (out / "unfinished").mkdir()
    main.main(["--config", str(config), "--set", "training.epochs=1", "model.quiet=True", "--no-test"])
    kept = {name for name in before if table[name].is_put_aside} | {"exported.onnx", "unfinished"}
    assert names(out / "earlier.1") == kept
    assert names(out) - set(WRITTEN.split()) == {"earlier.1", "mine.txt"}
    assert (out / "earlier.1" / "last" / "metrics.json").is_file()


def test_names_are_distinct_and_the_defaults_of_the_config_are_in_the_table(config: Path) -> None:
    from radgal.commands.common import read_config
    from radgal.runs.folder import RunFolder

    files = [one.file for one in RunFile]
    assert len(files) == len(set(files))
    folder = RunFolder(read_config(str(config), []))
    assert (folder.csv.name, folder.weights.name) == (RunFile.HISTORY.file, RunFile.WEIGHTS.file)
    assert all(one.what and one.command for one in RunFile)


def test_an_export_may_not_take_the_place_of_a_file_of_the_run(config: Path, tmp_path: Path) -> None:
    for name in ("best.pt", "model.pt"):
        with pytest.raises(UserError, match="is a file of the run itself"):
            main.main(["export", str(config.parent / "out"), "--format", "torch", "--out", str(tmp_path / name)])
    assert "best.pt" in written_by("train")
