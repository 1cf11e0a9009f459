"""Runs tested on other data sets, without what they learned from, and several of them as one."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import main
from radgal.data.othertest import load_other_test
from radgal.data.samesource import Sources
from radgal.evaluation import elsewhere, evaluate
from radgal.evaluation.ensemble import Ensemble
from radgal.evaluation.probabilities import log_softmax
from radgal.files.tables import read_table
from radgal.runs import checkpoint
from tests.evaluation.test_evaluate import SmallNet, make_split
from tests.networks import classifier_of
from utils import UserError


@pytest.fixture(scope="module")
def run(finished_run: Path) -> checkpoint.TrainedRun:
    return checkpoint.load_run(finished_run, torch.device("cpu"))


def two() -> list:
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        found.append(classifier_of(SmallNet()))
    return found


def test_an_ensemble_is_tested_by_its_mean_probabilities():
    a, b = two()
    test = make_split(30)
    found, table = evaluate.evaluate_test(Ensemble([a, b]), test, None, rotations=2, mc_samples=3)
    mean = (a.probabilities(test.images) + b.probabilities(test.images)) / 2
    np.testing.assert_allclose(table["prob_FRII"], mean[:, 1], atol=1e-12)
    right = mean.argmax(1) == test.labels.numpy()
    assert found["upright"]["accuracy"]["value"] == pytest.approx(right.mean())
    labels = test.labels.numpy()
    assert found["upright"]["nll"]["value"] == pytest.approx(-np.log(mean[np.arange(30), labels]).mean())
    passes = np.concatenate([one.dropout_samples(test.images, 3, seed=0) for one in (a, b)])
    np.testing.assert_allclose(table["mc_prob_FRI"], passes.mean(0)[:, 0])
    alone = [evaluate.evaluate_test(one, test, None, rotations=1, mc_samples=1)[1] for one in (a, b)]
    expected = (alone[0]["averaged_prob_FRI"] + alone[1]["averaged_prob_FRI"]) / 2
    np.testing.assert_allclose(table["averaged_prob_FRI"], expected)


def test_networks_that_do_not_go_together_are_no_ensemble():
    a, b = two()
    with pytest.raises(UserError, match="same classes, not FRI, FRII and a, b"):
        Ensemble([a, dataclasses.replace(b, classes=("a", "b"))])
    other = dataclasses.replace(b.preparation, imsize=22)
    with pytest.raises(UserError, match="tested on the same images"):
        Ensemble([a, dataclasses.replace(b, preparation=other)])


def test_what_was_learned_from_is_left_out(run):
    learned = elsewhere.learned_sources(run)
    other = load_other_test(run.config, "FIRSTGalaxyData", learned)
    assert not set(other.split.names) & set(learned.names)
    assert len(other.left_out) + len(other.split) == 1419 and len(other.left_out) >= len(set(learned.names))
    assert other.split.images.shape[1:] == (1, 26, 26)
    only = load_other_test(run.config, "FIRSTGalaxyData:test", Sources())
    assert len(only.split) == 100 and only.left_out == ()
    with pytest.raises(UserError, match="all of its 100 sources were trained or validated on"):
        load_other_test(run.config, "FIRSTGalaxyData:test", elsewhere.learned_sources(run) + _sources_of(run))
    with pytest.raises(UserError, match="--dataset: 'MBFRUncertan' is no data set; did you mean 'MBFRUncertain'"):
        load_other_test(run.config, "MBFRUncertan", Sources())


def _sources_of(run) -> Sources:
    from radgal.data.datasets import open_dataset

    return Sources.of(open_dataset(run.config, train=False))


def test_labels_are_matched_by_the_names_of_classes(run):
    other = load_other_test(run.config, "FIRSTGalaxyData:test", Sources())
    turned = other.in_classes(("FRII", "hybrid", "FRI"))
    assert torch.equal(turned.labels, torch.where(other.split.labels == 0, 2, 0))
    assert other.in_classes(("FRI", "hybrid")) is None


def test_runs_that_learned_from_the_test_are_no_ensemble(run, finished_run, tmp_path):
    second = Path(shutil.copytree(finished_run, tmp_path / "second"))
    content = checkpoint.read(second / "best.pt")
    names = elsewhere.load_common_test([run]).names
    listed = Sources(names[:2], (None,) * 2, (0,) * 2)
    checkpoint.save(second / "best.pt", content | {"sources": listed.pack()})
    with pytest.raises(UserError, match="learned from 2 of the test sources"):
        elsewhere.load_common_test([run, checkpoint.load_run(second, torch.device("cpu"))])
    checkpoint.save(second / "best.pt", content | {"version": "v9"})
    with pytest.raises(UserError, match="different data"):
        elsewhere.load_common_test([run, checkpoint.load_run(second, torch.device("cpu"))])


def test_commands_write_tests_of_other_data_and_of_ensembles(finished_run, tmp_path, capsys):
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    before = (folder / "metrics.json").read_bytes()
    quick = ["--rotations", "1", "--mc-samples", "2", "--device", "cpu"]
    main.main(["evaluate", str(folder), "--dataset", "FIRSTGalaxyData:test", "--ensemble", str(finished_run), *quick])
    said = capsys.readouterr().out
    out = folder / "ensemble" / "other" / "FIRSTGalaxyData_test"
    # one of them is a training source within 180 arcsec
    assert "1 source is left out of 100 of FIRSTGalaxyData:test" in said and f"report {out}" in said
    found = json.loads((out / "metrics.json").read_text())
    assert found["n_test"] == 99 and len(found["members"]) == 2 and len(found["left_out"]) == 1
    own = read_table(folder / "sources.csv")
    wrong = [row["name"] for row in own if row["correct"] == "False" and row["name"] not in found["left_out"]]
    assert found["upright"]["error"]["value"] == pytest.approx(len(wrong) / 99)  # twice the same network
    assert len(read_table(out / "sources.csv")) == 99 and (out / "gallery.npz").is_file()
    assert (folder / "metrics.json").read_bytes() == before
    main.main(["report", str(out)])
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "and 1 more, tested on FIRSTGalaxyData:test" in page and "unknown network" not in page


@pytest.mark.real_data
@pytest.mark.slow
def test_sources_of_unknown_classes_have_no_scores(finished_run, real_data, tmp_path, capsys):
    opened = checkpoint.load_run(finished_run, torch.device("cpu"))
    data = opened.config.data.model_copy(update={"mirror": str(real_data), "datadir": str(tmp_path)})
    opened = dataclasses.replace(opened, config=dataclasses.replace(opened.config, data=data))
    out = tmp_path / "hybrids"
    out.mkdir()
    found = elsewhere.test_elsewhere([opened], out, dataset="MBHybrid", rotations=1, mc_samples=5, seed=0)
    assert "upright" not in found and sum(found["called"].values()) == found["n_test"] > 20
    assert "which the network does not know: no scores" in capsys.readouterr().out
    table = read_table(out / "sources.csv")
    assert "correct" not in table.colnames and set(table["label_name"]) <= {"Hybrid confident", "Hybrid uncertain"}
    probs = np.array([[float(row["prob_FRI"]), float(row["prob_FRII"])] for row in table])
    np.testing.assert_allclose(probs.sum(1), 1)
    assert log_softmax(np.log(probs)).shape == probs.shape
