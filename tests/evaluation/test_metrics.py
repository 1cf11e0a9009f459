"""The table of scores: the rarer ones against scikit-learn, and a new row is shown wherever scores are."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch

from radgal.evaluation import evaluate, metrics, results
from radgal.evaluation.scorer import Counts
from radgal.repeats import collect, comparison
from radgal.report.page import write_report
from tests.conftest import ROOT
from tests.evaluation.test_evaluate import SmallNet, make_split
from tests.networks import classifier_of
from utils import write_json


def score(labels, preds, n_classes: int) -> dict:
    logits = 2.0 * np.eye(n_classes)[np.asarray(preds)]
    classes = [f"class {k}" for k in range(n_classes)]
    return metrics.score_predictions(logits, np.asarray(labels), classes)


@pytest.mark.parametrize("n_classes", [2, 3, 10, 40])
@pytest.mark.parametrize("skill", [0.0, 0.6, 0.95])
def test_correlation_and_balanced_accuracy_agree_with_scikit_learn(n_classes, skill):
    from sklearn.metrics import balanced_accuracy_score, matthews_corrcoef

    rng = np.random.default_rng(n_classes)
    for _ in range(5):
        labels = np.minimum(rng.geometric(0.3, size=157) - 1, n_classes - 1)  # classes of very different sizes
        preds = np.where(rng.random(157) < skill, labels, rng.integers(n_classes, size=157))
        found = score(labels, preds, n_classes)
        assert found["mcc"]["value"] == pytest.approx(matthews_corrcoef(labels, preds), abs=1e-12)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns of predicted classes that are not in the set
            known = balanced_accuracy_score(labels, preds)
        assert found["balanced_accuracy"]["value"] == pytest.approx(known, abs=1e-12)
        for key in ("mcc", "balanced_accuracy"):
            assert found[key]["low"] <= found[key]["value"] <= found[key]["high"]
            assert found[key]["interval"] == "posterior"


UNDEFINED = {"value": None, "low": None, "high": None, "interval": "posterior"}


@pytest.mark.parametrize(
    ("labels", "preds", "mcc", "balanced"),
    [
        ([0, 1, 0, 1], [0, 0, 0, 0], None, 0.5),  # all are classified as one
        ([1, 1, 1, 1], [0, 1, 0, 1], None, 0.5),  # all are of one class
        ([0, 0, 0], [0, 0, 0], None, 1.0),
        ([0, 0, 0], [2, 2, 2], None, 0.0),
        ([0, 1, 0, 1], [1, 0, 1, 0], -1.0, 0.0),
        ([0, 1, 2, 2], [0, 1, 2, 2], 1.0, 1.0),
        ([0, 0, 2, 2], [0, 1, 2, 2], 6 / np.sqrt(80), 0.75),  # class 1 is predicted, but not in the set
    ],
)
def test_correlation_without_two_classes_is_not_defined(labels, preds, mcc, balanced):
    found = score(labels, preds, 3)
    assert found["balanced_accuracy"]["value"] == pytest.approx(balanced)
    if mcc is None:
        assert found["mcc"] == UNDEFINED
    else:
        assert found["mcc"]["value"] == pytest.approx(mcc, abs=1e-12)
    json.dumps(found, allow_nan=False)


def test_keys_of_scores_are_distinct_and_their_places_are_known():
    keys = [one.key for one in metrics.readings(lambda of: of.in_csv)]
    assert len(keys) == len(set(keys)) and {of.key for of in metrics.SCORES} <= set(keys)
    for place in ("on_console", "side_by_side", "in_table", "in_csv"):
        for one in metrics.readings(lambda of, place=place: getattr(of, place)):
            assert one.condition in metrics.IN_KEYS


def test_every_score_is_explained_in_the_docs():
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8").split("| score |")[1].split("\n\n")[0]
    assert [of.name for of in (*metrics.SCORES, *metrics.CLASS_SCORES) if of.name not in text] == []


def test_a_new_row_is_computed_written_and_shown_wherever_scores_are(tmp_path, monkeypatch):
    """Nothing but the row: Cohen's kappa, which the program does not have."""

    def kappa(of: Counts) -> np.ndarray:
        by_chance = (of.true * of.predicted).sum(axis=1) / of.total**2
        return (of.hits.sum(axis=1) / of.total - by_chance) / (1 - by_chance)

    up = (metrics.UPRIGHT,)
    row = metrics.Score("kappa", "agreement", "Kappa", kappa, decimals=1, on_console=up, side_by_side=up, in_table=up)
    monkeypatch.setattr(metrics, "SCORES", (*metrics.SCORES, row))
    torch.manual_seed(0)
    found, table = evaluate.evaluate_test(classifier_of(SmallNet()), make_split(), None, rotations=1, mc_samples=2)
    value = found["upright"]["kappa"]["value"]
    assert f"agreement {value:.1f}" in " ".join(results.describe(found | {"dataset": "x", "version": "v"}).split())

    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        write_json(folder / "metrics.json", found)
    pages = (write_report([folders[0]])[0], write_report(folders, tmp_path / "both.html")[0])
    for page, heading in zip(pages, ('<th scope="row">Agreement</th>', '<th scope="col">Kappa</th>'), strict=True):
        text = page.read_text(encoding="utf-8")
        assert heading in text and f'<data value="{value!r}">{value:.1f}</data>' in text

    comparison.write_repeat(tmp_path, [collect.collect_run("net", 0, found, table, [])])
    for name, heading in (("repeat.md", "| Kappa |"), ("repeat.tex", "& Kappa &"), ("repeat.csv", "kappa_mean,")):
        assert heading in (tmp_path / name).read_text()


@pytest.mark.parametrize(("value", "high", "chance"), [(0.44, 0.49, False), (0.44, 0.6, True), (0.5, 0.6, None)])
def test_an_area_under_one_half_is_told_with_what_it_may_mean(value, high, chance) -> None:
    said = results.doubt_of_area({"upright": {"roc_auc": {"value": value, "low": 0.3, "high": high}}})
    assert (said is None) == (chance is None)
    if said:
        assert "exchanged" in said and "another survey" in said and ("chance" in said) == chance


def test_results_of_before_a_score_was_there_can_be_read(tmp_path):
    torch.manual_seed(0)
    found, table = evaluate.evaluate_test(
        classifier_of(SmallNet()), make_split(), make_split(8, seed=1, prefix="val"), rotations=1, mc_samples=2
    )
    for part in ("upright", "mc_dropout"):
        for key in ("mcc", "balanced_accuracy"):
            del found[part][key]
    del found["averaged"]
    write_json(tmp_path / "metrics.json", found)
    path, problems = write_report([tmp_path])
    assert problems == []
    text = path.read_text(encoding="utf-8").split('<tr data-score="mcc">')[1].split("</tr>")[0]
    assert text.count('<span class="none">–</span>') == 3  # upright, dropout, temperature
    assert "over poses" not in path.read_text(encoding="utf-8")
    said = results.describe(found | {"dataset": "x", "version": "v"})
    assert "MCC" not in said and "over poses" not in said and "not defined" in said
    summary = comparison.write_repeat(tmp_path, [collect.collect_run("net", 0, found, table, [])])
    for key in ("mcc", "averaged_error"):
        assert summary["configs"][0]["scores"][key] == {"mean": None, "sd": None}
    assert summary["configs"][0]["scores"]["roc_auc"]["mean"] == found["upright"]["roc_auc"]["value"]
