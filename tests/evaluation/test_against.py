"""A run's test sources against odd ones: what was learned from is in neither, and every file says the same."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import main
from radgal.evaluation import against, novelty
from radgal.images.blank import blank_fields
from radgal.images.preparation import Preparation
from radgal.runs import checkpoint
from utils import UserError


def test_blank_fields_are_told_from_test_sources(finished_run, tmp_path, capsys):
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    main.main(["evaluate", str(folder), "--against", "blank", "--mc-samples", "2", "--device", "cpu"])
    said = capsys.readouterr().out
    with (folder / "against.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["odd"] for row in rows] == ["False"] * 100 + ["True"] * 100
    found = json.loads((folder / "against.json").read_text())["questions"]["odd_sources"]
    assert found["usual"] == {"name": "FIRSTGalaxyData test", "n": 100} and set(found["sets"]) == {"blank"}
    scores = found["sets"]["blank"]["scores"]
    assert set(scores) == set(novelty.ODDNESS) and (folder / "against.png").is_file()
    for key, one in scores.items():
        area = roc_auc_score([row["odd"] == "True" for row in rows], [float(row[key]) for row in rows])
        assert one["roc_auc"]["value"] == pytest.approx(area, abs=1e-9) and f"{area:.3f} [" in said
    main.main(["report", str(folder)])
    assert "Sources unlike those of the training" in (folder / "report.html").read_text(encoding="utf-8")


def test_no_source_of_a_set_is_a_usual_one_or_was_learned_from(finished_run):
    run = checkpoint.load_run(finished_run, torch.device("cpu"))
    with pytest.raises(
        UserError, match="--against FIRSTGalaxyData:test: all of its 100 sources .* or are among"
    ):  # they are the usual ones
        against.test_against([run], None, ["FIRSTGalaxyData:test"], mc_samples=1)
    with pytest.raises(UserError, match="--against: 'FIRSTGalaxyDat' is no data set"):
        against.test_against([run], None, ["FIRSTGalaxyDat"], mc_samples=1)
    found = against.test_against([run], None, ["blank"], dataset="FIRSTGalaxyData:test", mc_samples=1)
    # one of the 100 is a training source within 180 arcsec
    assert found["questions"]["odd_sources"]["usual"] == {"name": "FIRSTGalaxyData:test", "n": 99}


@pytest.mark.slow
def test_of_several_runs_the_scores_are_of_the_ensemble(finished_run, tmp_path):
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    other = Path(shutil.copytree(finished_run, tmp_path / "other"))
    content = checkpoint.read(other / "best.pt")
    weights = {name: 1.5 * values for name, values in content["model"].items()}
    checkpoint.save(other / "best.pt", content | {"model": weights})
    words = ["evaluate", str(folder), "--against", "blank", "--mc-samples", "1", "--device", "cpu"]
    main.main([*words, "--ensemble", str(other)])
    alone = [checkpoint.load_run(one, torch.device("cpu")) for one in (folder, other)]
    found = json.loads((folder / "ensemble" / "against.json").read_text())
    assert len(found["members"]) == 2 and set(found["questions"]["odd_sources"]["sets"]["blank"]["scores"]) == {
        "entropy",
        "probability",
        "energy",
        "distance",
    }
    with (folder / "ensemble" / "against.csv").open(newline="") as stream:
        energies = [float(row["energy"]) for row in csv.DictReader(stream)][100:]
    fields = blank_fields(alone[0].preparation, 100, 0)
    expected = np.mean([-np.logaddexp(*one.logits(fields).T) for one in alone], axis=0)
    np.testing.assert_allclose(energies, expected, rtol=1e-4)
    main.main(["report", str(folder / "ensemble")])
    assert "Sources unlike those" in (folder / "ensemble" / "report.html").read_text(encoding="utf-8")


def test_blank_fields_are_noise_as_the_recipe_leaves_it():
    fields = blank_fields(Preparation(mean=0.003, std=0.035, imsize=140, pad=2), 3, seed=1)
    assert fields.shape == (3, 1, 142, 142) and fields.dtype == torch.uint8
    pixels = fields.flatten(1).numpy()
    assert (np.mean(pixels > 0, axis=1) < 0.01).all() and (pixels.max(axis=1) > 150).all()
    assert torch.equal(fields, blank_fields(Preparation(mean=0.003, std=0.035, imsize=140, pad=2), 3, seed=1))
