"""Means over seeds, paired differences and their tests, folds, and the tables in three formats."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
import torch

from radgal.data import draws
from radgal.evaluation.metrics import score_predictions
from radgal.repeats import collect, comparison, tables
from tests.networks import classifier_of
from utils import UserError

N = 60
LABELS = np.arange(N) % 2


def make_run(config: str, seed: int, frac_wrong: float, *, fold: int | None = None, names=None, rng=None) -> dict:
    rng = rng or np.random.default_rng(seed + 1000 * len(config))
    wrong = rng.random(N) < frac_wrong
    preds = np.where(wrong, 1 - LABELS, LABELS)
    accuracy = float((preds == LABELS).mean())
    probs = np.where(preds[:, None] == [0, 1], 0.8, 0.2).tolist()
    scores = {one.key: 0.5 for one in collect.in_csv()} | {"accuracy": accuracy, "error": 1 - accuracy, "nll": None}
    history = [{"epoch": i, "test_loss": 1 / i, "test_accuracy": 1 - 0.5 / i, "seconds": 2.0} for i in (1, 2, 3)]
    return {
        "config": config,
        "seed": seed,
        "fold": fold,
        "names": list(names or [f"s{i}" for i in range(N)]),
        "labels": LABELS.tolist(),
        **dict.fromkeys(("upright", "mc_dropout", "averaged"), probs),
        "rotated_accuracy": (preds == LABELS).astype(float).tolist(),
        "classes": ["FRI", "FRII"],
        "tested": {"rotations": 20, "mc_samples": 100, "seed": 0},
        "scores": scores,
        "missed": {"FRI": 1.5, "FRII": 2.5},
        "history": history,
        "parameters": 1234567,
        "multiply_adds": 5_000_000,
        "seconds_per_epoch": 2.0,
    }


def make_runs(n_seeds: int = 3) -> list[dict]:
    return [make_run("good_net", s, 0.05) for s in range(n_seeds)] + [make_run("poor", s, 0.3) for s in range(n_seeds)]


def test_mean_and_spread_over_seeds():
    runs = make_runs()
    summary = comparison.summarize(runs)
    values = [run["scores"]["accuracy"] for run in runs[:3]]
    found = summary["configs"][0]["scores"]["accuracy"]
    assert found["mean"] == pytest.approx(np.mean(values)) and found["sd"] == pytest.approx(np.std(values, ddof=1))
    assert summary["configs"][0]["seeds"] == [0, 1, 2]
    assert summary["configs"][0]["scores"]["nll"] == {"mean": None, "sd": None}
    p = 1 - found["mean"]
    assert summary["configs"][0]["binomial_error"] == pytest.approx(math.sqrt(p * (1 - p) / N))
    json.dumps(summary, allow_nan=False)


def test_difference_is_found_where_there_is_one_and_not_where_there_is_none():
    summary = comparison.summarize(make_runs())
    pair = summary["pairs"][0]
    assert (pair["a"], pair["b"], pair["n_seeds"]) == ("good_net", "poor", 3)
    a, b = (config["scores"]["accuracy"]["mean"] for config in summary["configs"])
    upright = pair["upright"]
    assert upright["difference"] == pytest.approx(b - a)
    assert upright["low"] < upright["difference"] < upright["high"] < 0
    assert upright["p"] < 0.01 and upright["over"] == "seeds and sources"
    same = [run | {"config": "copy"} for run in make_runs()[:3]]
    null = comparison.summarize(make_runs()[:3] + same)["pairs"][0]["upright"]
    assert null["difference"] == 0 and null["low"] < 0 < null["high"] and null["p"] > 0.9


def test_sources_are_paired_by_name_not_by_row():
    runs = make_runs(1)
    order = np.random.default_rng(0).permutation(N)
    columns = ("names", *collect.BY_SOURCE)
    shuffled = runs[1] | {key: [runs[1][key][i] for i in order] for key in columns}
    assert comparison.summarize([runs[0], shuffled]) == comparison.summarize(runs)


def test_one_seed_has_no_spread_and_says_so(tmp_path):
    summary = comparison.write_repeat(tmp_path, make_runs(1))
    assert summary["configs"][0]["scores"]["accuracy"]["sd"] is None
    text = (tmp_path / "repeat.md").read_text()
    assert "good_net and poor" in text.split("From one seed each")[1]
    assert "is from one seed" in text and "±" not in text.split("A value without")[0]
    row = next(csv.DictReader((tmp_path / "repeat.csv").open()))
    assert row["accuracy_sd"] == "" and float(row["accuracy_mean"]) > 0.5
    for path in tmp_path.glob("repeat*"):
        assert "nan" not in path.read_text().lower()
    comparison.write_repeat(tmp_path, make_runs(1)[:1])
    assert not (tmp_path / "repeat_pairs.csv").exists()


@pytest.mark.usefixtures("drawing")
def test_tables_carry_the_same_numbers(tmp_path):
    summary = comparison.write_repeat(tmp_path, make_runs())
    accuracy = summary["configs"][0]["scores"]["accuracy"]
    number = f"{100 * accuracy['mean']:.2f}"
    markdown, latex = (tmp_path / "repeat.md").read_text(), (tmp_path / "repeat.tex").read_text()
    over = summary["configs"][0]["accuracy_over"]["upright"]
    interval = f"[{100 * over['low']:.2f}, {100 * over['high']:.2f}]"
    assert over["low"] < accuracy["mean"] < over["high"] and over["value"] == pytest.approx(accuracy["mean"])
    assert f"| good_net | 3 | {number} ± {100 * accuracy['sd']:.2f} {interval} |" in markdown
    assert rf"good\_net & 3 & {number} $\pm$" in latex
    assert "From one seed" not in markdown and "over 20 random rotations" in markdown
    assert "1,234,567" in markdown and "5.0" in markdown and "1.50 ± 0.00 / 2.50 ± 0.00" in markdown
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines[:4]}) == 1
    rows = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len({line.count("&") for line in rows[:3]}) == 1
    row = next(csv.DictReader((tmp_path / "repeat.csv").open()))
    assert float(row["accuracy_mean"]) == accuracy["mean"]
    pair = next(csv.DictReader((tmp_path / "repeat_pairs.csv").open()))
    assert float(pair["upright_p"]) == summary["pairs"][0]["upright"]["p"]
    assert json.loads((tmp_path / "repeat.json").read_text()) == summary
    assert (tmp_path / "learning_curves.png").stat().st_size > 1000


def test_one_binomial_error_is_no_range():
    summary = comparison.summarize(make_runs())
    low, high = sorted(100 * config["binomial_error"] for config in summary["configs"])
    assert f"is {low:.2f} to {high:.2f} %," in " ".join(tables.notes(summary))
    summary["configs"] = summary["configs"][:1]
    error = 100 * summary["configs"][0]["binomial_error"]
    assert f"is {error:.2f} %," in " ".join(tables.notes(summary))


def test_latex_special_characters():
    assert tables.escape_latex("a_b & 5 % #1") == r"a\_b \& 5 \% \#1"


def test_folds_test_every_source_once_in_proportion():
    labels = np.array([0] * 30 + [1] * 20)
    tensor = torch.from_numpy(labels)
    folds = draws.fold_indices(tensor, 5, seed=1)
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(50))
    for train, test in folds:
        assert set(train) | set(test) == set(range(50)) and not set(train) & set(test)
        assert np.bincount(labels[test]).tolist() == [6, 4]
    assert draws.fold_indices(tensor, 5, seed=1) == folds != draws.fold_indices(tensor, 5, seed=2)
    for bad in (1, 21):
        with pytest.raises(UserError, match="there can be 2 to 20"):
            draws.fold_indices(tensor, bad)


def test_folds_are_put_together(tmp_path):
    def fold(config, k, wrong):
        return make_run(config, 0, wrong, fold=k, names=[f"f{k}s{i}" for i in range(N)])

    runs = [fold("a", k, 0.1) for k in range(3)] + [fold("bb", k, 0.2) for k in (2, 0, 1)]
    summary = comparison.write_repeat(tmp_path, runs)
    assert summary["n_sources"] == 3 * N and summary["n_folds"] == 3
    first = summary["configs"][0]
    assert first["n_seeds"] == 1
    pooled = {key: np.concatenate([run[key] for run in runs[:3]]) for key in ("upright", "labels")}
    whole = score_predictions(np.log(pooled["upright"]), pooled["labels"], ("FRI", "FRII"))
    for key in ("accuracy", "roc_auc", "nll"):
        assert first["scores"][key]["mean"] == pytest.approx(whole[key]["value"])
    assert first["missed"]["FRI"]["mean"] == 4.5
    assert "3-fold" in (tmp_path / "repeat.md").read_text()
    with pytest.raises(UserError, match="more than once"):
        collect.merge_folds([runs[0], runs[0] | {"fold": 1}])


def test_recipes_compared_by_validation_stand_beside_the_first(tmp_path):
    runs = [make_run(name, s, wrong) for name, wrong in (("base", 0.1), ("ema", 0.1), ("poor", 0.3)) for s in (0, 1)]
    runs[2:4] = [run | {"chose_epoch": True} for run in runs[2:4]]
    summary = comparison.write_repeat(tmp_path, runs, part="validation")
    assert [(pair["a"], pair["b"]) for pair in summary["pairs"]] == [("base", "ema"), ("base", "poor")]
    text = (tmp_path / "validation.md").read_text()
    assert (
        "60 validation sources, test untouched; rotated: over 20 rotations in even" in text
        and "test sources" not in text
    )
    assert "scores are too good: ema." in text
    assert (tmp_path / "validation_pairs.csv").is_file() and not list(tmp_path.glob("repeat*"))


def test_seeds_may_validate_on_sources_of_their_own_but_recipes_on_the_same():
    def named(run):  # two thirds of the sources are those of the next seed, too
        return run | {"names": [f"s{i + 20 * run['seed']}" for i in range(N)]}

    runs = [named(run) for run in make_runs()]
    with pytest.raises(UserError, match="was tested on other sources"):
        comparison.summarize(runs)
    summary = comparison.summarize(runs, part="validation")
    same = comparison.summarize(make_runs())
    upright, expected = (one["pairs"][0]["upright"] for one in (summary, same))
    assert upright["difference"] == pytest.approx(expected["difference"])
    assert upright["low"] < upright["difference"] < upright["high"] < 0
    assert (summary["n_sources"], summary["n_different"]) == (N, N + 40)
    runs[-1]["names"][0] = "another"
    with pytest.raises(UserError, match="poor, seed 2, was validated on other sources than good_net, seed 2"):
        comparison.summarize(runs, part="validation")


def test_runs_that_cannot_share_a_table_are_refused():
    runs = make_runs(1)
    with pytest.raises(UserError, match="no finished run"):
        comparison.summarize([])
    with pytest.raises(UserError, match="more than once"):
        comparison.summarize([runs[0], runs[0]])
    with pytest.raises(UserError, match="on other sources"):
        comparison.summarize([runs[0], make_run("poor", 0, 0.1, names=[f"t{i}" for i in range(N)])])
    with pytest.raises(UserError, match="poor, seed 0, was tested with .*run evaluate on one of them again"):
        comparison.summarize([runs[0], runs[1] | {"tested": runs[1]["tested"] | {"rotations": 2}}])
    with pytest.raises(UserError, match="labels differ"):
        comparison.summarize([runs[0], runs[1] | {"labels": (1 - LABELS).tolist()}])


def test_a_run_is_collected_from_its_evaluation(tmp_path):
    from astropy.table import Table

    from radgal.evaluation import evaluate
    from radgal.files import tables
    from tests.evaluation.test_evaluate import SmallNet, make_split

    torch.manual_seed(0)
    metrics, table = evaluate.evaluate_test(classifier_of(SmallNet()), make_split(30), None, rotations=4)
    tables.write_table(table, tmp_path / "sources.csv")
    history = [{"epoch": 1, "seconds": 3.0}, {"epoch": 2, "seconds": 5.0}, {"epoch": 3, "seconds": 4.0}]
    saved = json.loads(json.dumps(metrics))
    run = collect.collect_run("net", 3, saved, Table.read(tmp_path / "sources.csv"), history, parameters=10)
    summary = comparison.summarize([run])
    assert summary["configs"][0]["seconds_per_epoch"] == 4.0
    hits = np.argmax(run["upright"], axis=1) == np.array(run["labels"])
    assert hits.mean() == pytest.approx(summary["configs"][0]["scores"]["accuracy"]["mean"])
    assert np.mean(run["rotated_accuracy"]) == pytest.approx(run["scores"]["rotated_accuracy"])
    assert summary["pairs"] == []
    older = {key: value for key, value in summary["configs"][0]["accuracy_over"].items() if key != "averaged"}
    table.remove_columns([name for name in table.colnames if name.startswith("averaged")])
    del saved["averaged"]
    run = collect.collect_run("net", 3, saved, table, history, parameters=10)
    assert comparison.summarize([run])["configs"][0]["accuracy_over"] == older != {}
