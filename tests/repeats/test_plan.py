"""The list of runs of a repeat: which, where, with what settings."""

from __future__ import annotations

from pathlib import Path

from radgal.repeats.plan import keys_set, list_tasks


def test_every_config_has_every_seed_and_fold_in_a_folder_of_its_own():
    tasks = list_tasks(["a/one.txt", "two.txt"], "out", seeds=range(3, 5), n_folds=2, overrides=["training.epochs=1"])
    assert len(tasks) == len({task.folder for task in tasks}) == 2 * 2 * 2
    second = tasks[1]
    assert (second.config, second.seed, second.fold, second.place) == ("a/one.txt", 3, "2/2", "2 of 8")
    assert second.folder == Path("out", "one", "seed_3", "fold_2_of_2") and str(second) == "one, seed 3, fold 2/2"
    assert second.overrides[0] == "training.epochs=1"
    assert {"training.seed=3", "data.fold=2/2", "metrics.outputdir=out/one/seed_3/fold_2_of_2"} <= {*second.overrides}
    alone = list_tasks(["one.txt"], "out", seeds=[0])
    assert [task.folder for task in alone] == [Path("out", "one", "seed_0")] and alone[0].fold is None


def test_keys_that_are_set_for_each_run_are_known():
    for n_folds in (None, 5):
        (task, *_) = list_tasks(["one.txt"], "out", seeds=[0], n_folds=n_folds)
        assert {text.split("=")[0] for text in task.overrides} == keys_set(n_folds)


def test_a_run_is_begun_once_it_has_a_checkpoint(tmp_path):
    (task,) = list_tasks(["one.txt"], tmp_path, seeds=[0])
    assert not task.is_begun()
    task.folder.mkdir(parents=True)
    (task.folder / "unfinished.pt").touch()
    assert task.is_begun() and task.log == task.folder / "log.txt"
