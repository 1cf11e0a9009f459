"""The command that packs a run and writes its card: what it says is what the saved files of the folds say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from benchmarks import card as cards
from benchmarks.pretrained import difference, make, with_its_test
from radgal.config.config import Config
from radgal.pretrained import registry
from radgal.runs import checkpoint
from radgal.runs.files import RunFile
from tests.pretrained.tools import CARD
from utils import UserError, pick_device


def test_scores_of_the_folds_are_those_of_all_their_sources(folds: Path, finished_run: Path) -> None:
    config = Config.from_dict(checkpoint.read(finished_run / "best.pt")["config"])
    found = cards.cross_validation(folds, config)
    table = Table.read(finished_run / "sources.ecsv", format="ascii.ecsv")
    assert (found["n_sources"], found["n_folds"], found["n_seeds"]) == (100, 2, 1)
    assert found["error"]["value"] == pytest.approx(1 - np.mean(table["correct"]))
    assert found["rotated_error"]["value"] == pytest.approx(1 - np.mean(table["rotated_accuracy"]))
    assert found["recall"]["FRI"]["value"] == pytest.approx(np.mean(table["correct"][table["label_name"] == "FRI"]))
    assert np.mean(table["predictive_entropy"] > found["unsure_above"]) == pytest.approx(0.05)
    assert found["folder_recipe_differs"] == []
    other = Config.from_dict(config.to_dict() | {"training": config.training.model_dump() | {"epochs": 3}})
    assert cards.cross_validation(folds, other)["folder_recipe_differs"] == ["[training] epochs: 2 there, 3 here"]


def test_the_temperature_is_that_of_sources_not_seen(folds: Path, finished_run: Path) -> None:
    """Twice the logits, nearly twice the temperature (it is drawn to 1), and nearly the same calibrated scores."""
    config = Config.from_dict(checkpoint.read(finished_run / "best.pt")["config"])
    before = cards.cross_validation(folds, config)
    for path in folds.rglob("sources.ecsv"):
        table = Table.read(path, format="ascii.ecsv")
        sure = np.stack([table["prob_FRI"], table["prob_FRII"]]) ** 2
        table["prob_FRI"], table["prob_FRII"] = sure / sure.sum(axis=0)
        table.write(path, format="ascii.ecsv", overwrite=True)
    after = cards.cross_validation(folds, config)
    assert 1.7 < after["temperature"] / before["temperature"] < 2.01
    assert after["nll"]["value"] != pytest.approx(before["nll"]["value"])
    scaled = [one["with_temperature"]["nll"]["value"] for one in (before, after)]
    assert scaled[0] == pytest.approx(scaled[1], rel=0.1)
    assert scaled[1] < after["nll"]["value"]


def test_a_cross_validation_that_is_not_whole_is_refused(folds: Path, finished_run: Path) -> None:
    config = Config.from_dict(checkpoint.read(finished_run / "best.pt")["config"])
    RunFile.METRICS.at(folds / "fold_2").unlink()
    with pytest.raises(UserError, match="no whole cross-validation"):
        cards.cross_validation(folds, config)
    with pytest.raises(UserError, match=r"is no fold of a cross-validation: \[data\] fold is None"):
        cards.cross_validation(finished_run, config)


def test_a_network_that_left_the_test_out_can_be_tested(finished_run: Path) -> None:
    """Said of the training part, or of all but the test: the sources are the same."""
    config = Config.from_dict(checkpoint.read(finished_run / "best.pt")["config"]).to_dict()
    for left_out, train_on in (["FIRSTGalaxyData:test"], "train"), ([], "all"):
        config["data"] |= {"train_on": "all", "leave_out": left_out}
        assert with_its_test(Config.from_dict(config)).data.train_on == train_on


@pytest.mark.slow
@pytest.mark.real_data
def test_a_run_becomes_a_network_that_comes_along(
    finished_run: Path, folds: Path, real_data: Path, tmp_path: Path, monkeypatch
) -> None:
    learned = checkpoint.read(finished_run / "best.pt")["sources"]["names"]
    for path in folds.rglob("sources.ecsv"):  # as if it had learned from them
        table = Table.read(path, format="ascii.ecsv")
        table["name"] = learned[: len(table)]
        table.write(path, format="ascii.ecsv", overwrite=True)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / registry.LIST).touch()
    monkeypatch.setattr(registry, "FOLDER", tmp_path / "made")
    found = make(str(finished_run), "fr-small-notest", str(folds), mirror=str(real_data), datadir=str(tmp_path))
    assert found == json.loads((tmp_path / "made" / "fr-small-notest.json").read_text())
    assert found.keys() == CARD.keys() and found["training"].keys() == CARD["training"].keys()
    assert found["cross_validation"].keys() == CARD["cross_validation"].keys()
    assert registry.checksums() == {"fr-small-notest": found["file"]["sha256"]}
    device = pick_device("cpu")
    trained, packed = (checkpoint.load_run(run, device) for run in (finished_run, registry.file_of("fr-small-notest")))
    assert difference(trained, packed)[0] == found["file"]["largest_difference"] < 1e-3
    saved = checkpoint.read(registry.file_of("fr-small-notest"))
    assert saved["temperature"] == found["cross_validation"]["temperature"] != 1
    assert set(saved["calibration"]) >= {"on", "low", "high", "scores"}  # so that predict --sets can be asked
    sets = found["sets"]
    assert sets["MiraBest v1, official test"]["n_trained_on"] > 80  # of 104: they are in FIRSTGalaxyData
    assert "error" not in sets["MiraBest v1, official test"]
    assert sets["MiraBest, uncertain"].keys() == CARD["sets"]["MiraBest, uncertain"].keys()
    assert sets["FR-DEEP, NVSS"]["n_trained_on"] is None and sets["FR-DEEP, NVSS"]["n_looked_at"] == 600
    assert sets["FIRSTGalaxyData, compact"]["n_looked_at"] > 380
    again = make("fr-small-notest", "fr-small-notest", str(folds), mirror=str(real_data), datadir=str(tmp_path))
    assert again == found  # of what comes along: nothing is lost, the weights stay
    with pytest.raises(UserError, match="--name d4: use fr-"):
        make(str(finished_run), "d4", None)
