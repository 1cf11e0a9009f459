"""A name is taken wherever a run is; what lies here under that name goes before it; nothing is written where it is."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import main
import radgal
from main import build_parser
from radgal.commands.common import open_run
from radgal.prediction.chunk import open_settings
from radgal.pretrained import registry
from radgal.runs import checkpoint
from tests.smallrun import CONFIG
from utils import UserError


@pytest.fixture
def cutouts() -> Path:
    Path("cutouts").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 150, 150), dtype=np.uint8)
    for i, image in enumerate(pixels):
        np.save(f"cutouts/{i}.npy", image)
    return Path("cutouts")


def test_the_python_interface_takes_a_name(comes_along: Path, finished_run: Path, cutouts: Path) -> None:
    opened, trained = (radgal.open_run(run, device="cpu") for run in ("fr-small", finished_run))
    assert opened.config.name == "fr-small" and opened.folder == Path("runs", "fr-small")
    catalog, of_run = (one.predict(cutouts, mc_samples=5) for one in (opened, trained))
    for column in ("prob_FRI", "prob_FRII"):
        assert np.abs(np.subtract(catalog[column], of_run[column])).max() < 1e-3
    assert list(catalog["pred_name"]) == list(of_run["pred_name"])
    odds, calibrated = (
        np.log(catalog[f"{kind}_FRI"] / catalog[f"{kind}_FRII"]) for kind in ("prob", "prob_calibrated")
    )
    assert np.allclose(odds, 1.75 * calibrated)  # the temperature of its card


def test_half_the_bytes_and_nobodys_folders(comes_along: Path, finished_run: Path) -> None:
    content, before = (checkpoint.read(path) for path in (comes_along / "fr-small.pt", finished_run / "best.pt"))
    halved = [key for key, value in content["model"].items() if value.dtype == torch.float16]
    assert halved == ["fc1.weight"]  # by far the largest
    assert (comes_along / "fr-small.pt").stat().st_size < (finished_run / "best.pt").stat().st_size / 2
    assert str(finished_run.parent) in str(before["config"])
    assert str(finished_run.parent) not in str({key: value for key, value in content.items() if key != "model"})
    assert "optimizer" not in content and "random" not in content


def test_predict_writes_the_name_beside_the_catalog_and_mixes_it_with_runs(
    comes_along: Path, finished_run: Path, cutouts: Path
) -> None:
    words = ["--ensemble", str(finished_run), "--mc-samples", "0", "--quiet", "--device", "cpu"]
    main.main(["predict", "fr-small", str(cutouts), "--out", "catalog.csv", *words])
    runs = json.loads(Path("catalog.csv.json").read_text())["runs"]
    assert [run["checkpoint"] for run in runs] == ["fr-small", str(finished_run / "best.pt")]
    assert runs[0]["sha256"] == registry.checksums()["fr-small"]


def test_results_go_into_runs_and_not_beside_the_network(comes_along: Path) -> None:
    run, folder = open_run(build_parser().parse_args(["evaluate", "fr-small", "--device", "cpu"]))
    assert run.path == comes_along / "fr-small.pt" and folder == Path("runs", "fr-small")


@pytest.mark.slow
def test_the_other_commands_take_a_name(comes_along: Path, capsys) -> None:
    before = sorted(comes_along.iterdir())
    main.main(["evaluate", "fr-small", "--rotations", "2", "--mc-samples", "2", "--device", "cpu"])
    assert f"next: python main.py report {Path('runs', 'fr-small')}" in capsys.readouterr().out
    main.main(["demo", "fr-small", "--conventional", "--angles", "0", "90", "--out", "demo.png"])
    assert Path("demo.png").is_file()
    words = ["--limit", "2", "--mc-samples", "2", "--compare", "fr-small"]
    main.main(["rotate", "fr-small", *words])
    assert "0 improved, 0 worsened" in capsys.readouterr().out
    main.main(["equivariance", "fr-small", "--step", "90", "--n-images", "2"])
    main.main(["export", "fr-small", "--format", "torch"])
    names = {path.name for path in Path("runs/fr-small").rglob("*")}
    assert {"metrics.json", "rotation_sources.csv", "equivariance.csv", "exported.pt"} <= names
    assert sorted(comes_along.iterdir()) == before


def test_fine_tune_starts_from_a_name(comes_along: Path, capsys) -> None:
    Path("mine.txt").write_text(CONFIG.format(folder="mine"))
    run = radgal.fine_tune(radgal.open_run("fr-small", device="cpu"), "mine.txt", dry_run=True)
    assert run.config.training.start_from == "fr-small"
    assert "starting from fr-small, epoch 2, trained on FIRSTGalaxyData" in capsys.readouterr().out


@pytest.mark.slow
def test_what_it_was_fine_tuned_from_is_recorded(comes_along: Path) -> None:
    Path("mine.txt").write_text(CONFIG.format(folder="mine"))
    main.main(["fine-tune", "fr-small", "--config", "mine.txt", "--no-test", "--set", "training.epochs=1"])
    record = checkpoint.read(Path("mine/last.pt"))["started_from"]
    assert record["run"] == "fr-small" and record["sha256"] == registry.checksums()["fr-small"]


@pytest.mark.parametrize("word", ["fr-smal", "FR-Small", "frsmall"])
def test_a_misspelt_name_is_told_the_nearest(comes_along: Path, word: str) -> None:
    for use in (radgal.open_run, lambda run: open_settings([run]), lambda run: main.main(["evaluate", run])):
        with pytest.raises(UserError, match=f"no run folder or checkpoint {word}, .*nearest: fr-small$"):
            use(word)
    with pytest.raises(UserError, match=f"no network {word} comes along.*nearest: fr-small$"):
        main.main(["models", word])


def test_what_lies_here_goes_before_the_name_and_says_so(comes_along: Path, finished_run: Path, caplog) -> None:
    shutil.copy(finished_run / "last.pt", "fr-small")
    with caplog.at_level(logging.WARNING):
        assert radgal.open_run("fr-small", device="cpu").path == Path("fr-small")
    assert "is taken from here, not the network of that name that comes along" in caplog.text
    Path("fr-small").unlink()
    Path("fr-small").mkdir()
    with pytest.raises(UserError, match="fr-small holds no best.pt"):
        radgal.open_run("fr-small", device="cpu")


@pytest.mark.parametrize("use", [radgal.open_run, lambda name: open_settings([name])], ids=["open_run", "predict"])
def test_a_changed_file_is_refused(comes_along: Path, tmp_path: Path, monkeypatch, use) -> None:
    monkeypatch.setattr(registry, "FOLDER", Path(shutil.copytree(comes_along, tmp_path / "changed")))
    path = registry.FOLDER / "fr-small.pt"
    content = checkpoint.read(path)
    content["model"]["fc3.bias"] += 1
    checkpoint.save(path, content)
    with pytest.raises(UserError, match="fr-small is refused: .* is not the file that came along"):
        use("fr-small")
    path.unlink()
    with pytest.raises(UserError, match="fr-small, .*fr-small.pt, cannot be read"):
        use("fr-small")
