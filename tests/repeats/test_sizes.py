"""Error against the number of training sources."""

from __future__ import annotations

import csv
import json

import pytest

import main
from radgal.repeats.plan import list_recipes
from radgal.repeats.sizes import size_rows, write_train_sizes
from tests.smallrun import rows
from utils import UserError


def test_recipes_are_followed_by_themselves_on_fewer_sources():
    found = list_recipes(["a.txt"], [("fast", "training.lr0=1e-2")], [200, 50, 50])
    assert [one.name for one in found] == ["a", "a_n50", "a_n200", "a_fast", "a_fast_n50", "a_fast_n200"]
    assert found[4].changes == ("training.lr0=1e-2", "data.train_size=50") and found[4].fewer_of == "a_fast"


@pytest.mark.usefixtures("drawing")
def test_rows_put_all_sizes_of_a_recipe_on_one_curve(tmp_path):
    recipes = list_recipes(["a.txt"], [], [50])
    runs = [{"config": name, "n_train": n} for name, n in (("a", 290), ("a", 291), ("a_n50", 50))]
    over = {"upright": {"value": 0.9, "low": 0.8, "high": 0.95}}
    configs = [
        {"config": "a", "n_seeds": 2, "scores": {"accuracy": {"mean": 0.9, "sd": 0.02}}, "accuracy_over": over},
        {"config": "a_n50", "n_seeds": 1, "scores": {"accuracy": {"mean": 0.7, "sd": None}}, "accuracy_over": over},
    ]
    found = size_rows(recipes, runs, {"configs": configs})
    assert [(row["recipe"], row["n_train"], row["sd"]) for row in found] == [("a", 50, None), ("a", 290, 0.02)]
    assert found[1]["error"] == pytest.approx(0.1)
    assert (found[1]["low"], found[1]["high"]) == (pytest.approx(0.05), pytest.approx(0.2))
    write_train_sizes(tmp_path, recipes, runs, {"configs": configs, "part": "validation"})
    assert (tmp_path / "train_sizes.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [row["error"] for row in rows(tmp_path / "train_sizes.csv")][0].startswith("0.3")


def test_sizes_that_cannot_be_are_refused_before_training(config, monkeypatch):
    monkeypatch.setattr("radgal.api.train", lambda *args, **choices: pytest.fail("it was trained"))
    with pytest.raises(UserError, match="train_size = 5000: FIRSTGalaxyData has 1055 sources"):
        main.main(["repeat", "--config", str(config), "--train-sizes", "50", "5000"])
    with pytest.raises(UserError, match="data.train_size: repeat sets it .*--train-sizes"):
        main.main(["repeat", "--config", str(config), "--train-sizes", "50", "--set", "data.train_size=9"])


@pytest.mark.slow
def test_repeat_draws_error_against_training_size_and_lists_doubted_labels(config, tmp_path):
    words = ["repeat", "--config", str(config), "--train-sizes", "60", "--seeds", "1", "--folds", "2"]
    main.main([*words, "--out", str(tmp_path / "rep"), "--set", "training.epochs=1", "model.quiet=True"])
    with (tmp_path / "rep" / "train_sizes.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [int(row["n_train"]) for row in found] == [60, 660] and (tmp_path / "rep" / "train_sizes.png").is_file()
    for name in ("small", "small_n60"):
        doubted = rows(tmp_path / "rep" / name / "label_errors.csv")
        assert all(row["label_name"] != row["rather"] for row in doubted)
        assert [row["rank"] for row in doubted] == [str(k + 1) for k in range(len(doubted))]
        answer = json.loads((tmp_path / "rep" / "validation.json").read_text())["questions"]["doubted_labels"]
        assert answer["recipes"][name]["n_doubted"] == len(doubted) and answer["recipes"][name]["n"] == 1319
    main.main(
        ["report", str(tmp_path / "rep" / "small" / "seed_0" / "val_fold_1_of_2"), "--out", str(tmp_path / "r.html")]
    )
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Learning curves" in page and "Doubted labels" in page and "data:image/png" in page
