"""The list of runs of a repeat: which, where, with what settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from radgal.repeats.plan import Recipe, keys_set, list_recipes, list_tasks
from utils import UserError

ONE, TWO = Recipe("one", "a/one.txt"), Recipe("two", "two.txt", ("training.lr0=0.1",))


def test_every_recipe_has_every_seed_and_fold_in_a_folder_of_its_own():
    tasks = list_tasks([ONE, TWO], "out", seeds=range(3, 5), n_folds=2, overrides=["training.epochs=1"])
    assert len(tasks) == len({task.folder for task in tasks}) == 2 * 2 * 2
    second = tasks[1]
    assert (second.config, second.seed, second.fold, second.place) == ("a/one.txt", 3, "2/2", "2 of 8")
    assert second.folder == Path("out", "one", "seed_3", "fold_2_of_2") and str(second) == "one, seed 3, fold 2/2"
    assert second.overrides[0] == "training.epochs=1"
    assert {"training.seed=3", "data.fold=2/2", "metrics.outputdir=out/one/seed_3/fold_2_of_2"} <= {*second.overrides}
    assert tasks[-1].overrides[:2] == ("training.epochs=1", "training.lr0=0.1")
    alone = list_tasks([ONE], "out", seeds=[0])
    assert [task.folder for task in alone] == [Path("out", "one", "seed_0")] and alone[0].fold is None


def test_keys_that_are_set_for_each_run_are_known():
    for n_folds, is_tested in ((None, True), (5, True), (5, False)):
        (task, *_) = list_tasks([ONE], "out", seeds=[0], n_folds=n_folds, is_tested=is_tested)
        assert {text.split("=")[0] for text in task.overrides} == keys_set(n_folds, is_tested)


def test_folds_without_a_test_are_of_the_training_sources_and_go_elsewhere():
    tested, validated = (list_tasks([ONE], "out", seeds=[0], n_folds=2, is_tested=way)[0] for way in (True, False))
    assert tested.folder != validated.folder and "data.fold=1/2" in tested.overrides
    assert "data.val_fold=1/2" in validated.overrides and not any("data.fold" in text for text in validated.overrides)


def test_variants_follow_their_config_and_are_called_after_it():
    recipes = list_recipes(["a/one.txt", "two.txt"], [["slow", "training.lr0=1e-5", "training.epochs=9"]])
    assert [recipe.name for recipe in recipes] == ["one", "one_slow", "two", "two_slow"]
    assert recipes[1] == Recipe("one_slow", "a/one.txt", ("training.lr0=1e-5", "training.epochs=9"))


@pytest.mark.parametrize(
    ("configs", "variants", "said"),
    [
        (["a/one.txt", "b/one.txt"], [], "share the folder one;"),
        (["one.txt"], [["x", "training.lr0=1"], ["x", "training.lr0=2"]], "share the folder one_x"),
        (["one.txt", "one_x.txt"], [["x", "training.lr0=1"]], "share the folder one_x"),
        (["one.txt"], [["x"]], "--variant x: nothing is changed"),
        (["one.txt"], [["training.lr0=1"]], "--variant training.lr0=1: begin with a name"),
        (["one.txt"], [["../x", "training.lr0=1"]], "begin with a name"),
    ],
)
def test_recipes_that_cannot_be_told_apart_are_refused(configs, variants, said):
    with pytest.raises(UserError, match=said):
        list_recipes(configs, variants)


def test_a_run_is_begun_once_it_has_a_checkpoint(tmp_path):
    (task,) = list_tasks([ONE], tmp_path, seeds=[0])
    assert not task.is_begun()
    task.folder.mkdir(parents=True)
    (task.folder / "unfinished.pt").touch()
    assert task.is_begun() and task.log == task.folder / "log.txt"
