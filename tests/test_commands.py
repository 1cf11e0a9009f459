"""The commands for runs that are trained: evaluate, rotate, equivariance."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import main
from tests.smallrun import rows, train
from utils import UserError


@pytest.fixture
def out(finished_run: Path, tmp_path: Path) -> Path:
    """A run that was trained, and not looked at in any other way; it may be changed."""
    left_out = shutil.ignore_patterns("rotation_*", "equivariance*", "sources.*")
    return Path(shutil.copytree(finished_run, tmp_path / "out", ignore=left_out))


def test_the_commands_for_trained_runs(out: Path, config: Path, tmp_path: Path, capsys) -> None:
    main.main(["evaluate", str(out), "--rotations", "2", "--mc-samples", "3"])
    table = rows(out / "sources.csv")
    assert len(table) == 100 and {row["label_name"] for row in table} == {"FRI", "FRII"}
    main.main(["rotate", str(out), "--limit", "2", "--mc-samples", "3", "--compare", str(out)])
    look = rows(out / "rotation_look" / "rotation_sources.csv")
    assert [row["label_name"] for row in look] == ["FRI", "FRII"]  # though the test set has all FRI first
    assert "0 improved, 0 worsened, 2 within 0.01" in capsys.readouterr().out
    main.main(["equivariance", str(out), str(config), "--step", "90", "--n-images", "2", "--out", str(tmp_path / "eq")])
    assert (tmp_path / "eq" / "equivariance.png").is_file()


def test_what_was_trained_on_is_no_test(out: Path, monkeypatch) -> None:
    from radgal.data import splits
    from radgal.evaluation import results

    monkeypatch.setattr(results, "load_test_data", lambda cfg, *_: splits.load_training_data(cfg).train)
    with pytest.raises(UserError, match="both the training and the test set"):
        main.main(["evaluate", str(out)])


def test_evaluate_says_each_result_with_its_interval(out: Path, capsys) -> None:
    main.main(["evaluate", str(out), "--rotations", "3", "--mc-samples", "3"])
    said = capsys.readouterr().out
    metrics = json.loads((out / "metrics.json").read_text())
    for score, factor, decimals, unit in (
        (metrics["upright"]["accuracy"], 100, 2, " %"),
        (metrics["upright"]["roc_auc"], 1, 3, ""),
        (metrics["temperature"]["scaled"]["nll"], 1, 3, " nats"),
    ):
        value, low, high = (f"{factor * score[key]:.{decimals}f}" for key in ("value", "low", "high"))
        assert f" {value}{unit} [{low}, {high}]" in said
    ece = metrics["upright"]["ece"]  # has no interval, but what a calibrated network would show
    assert f" {ece['value']:.3f} (of a calibrated network {ece['calibrated']:.3f}, " in said
    assert f"spread by {100 * metrics['rotated']['accuracy']['sd']:.2f} %" in said


def test_a_checkpoint_of_other_classes_is_refused(out: Path) -> None:
    content = torch.load(out / "best.pt", weights_only=True)
    torch.save(content | {"classes": ["FRII", "FRI"]}, out / "best.pt")
    for command_ in ("evaluate", "rotate"):
        with pytest.raises(UserError, match="tells FRII, FRI apart, but FIRSTGalaxyData has the classes FRI, FRII"):
            main.main([command_, str(out)])


def test_wrong_choices_are_refused_before_anything_is_computed(out: Path) -> None:
    for words, message in (
        (["--index", "100"], "rows 0 to 99"),
        (["--source", "nowhere"], "no test source"),
        (["--compare", "nowhere"], "no run folder or checkpoint nowhere"),
        (["--figures", "-1"], "--figures -1"),
        (["--seed", "-1"], "--seed -1"),
        (["--device", "gpu"], "device: 'gpu'"),
    ):
        with pytest.raises(UserError, match=message):
            main.main(["rotate", str(out), *words])
    assert not list(out.glob("rotation_*"))


def test_results_of_another_epoch_are_not_put_in_the_place_of_the_kept_ones(out: Path) -> None:
    kept = (out / "metrics.json").read_text()
    main.main(["evaluate", str(out / "last.pt"), "--rotations", "2", "--mc-samples", "3"])
    assert (out / "metrics.json").read_text() == kept
    assert (out / "last" / "metrics.json").is_file()
    main.main(["equivariance", str(out / "last.pt"), "--step", "90", "--n-images", "2"])
    assert (out / "last" / "equivariance.csv").is_file()


@pytest.mark.slow
@pytest.mark.real_data
def test_only_runs_that_were_tested_alike_are_compared(tmp_path: Path, config: Path, real_data: Path, capsys) -> None:
    common = ["training.epochs=1", f"data.mirror={real_data}", f"data.datadir={tmp_path / 'data'}"]
    for name, more in (
        ("v1", ["data.dataset=MBFRConfident"]),
        ("v2", ["data.dataset=MBFRConfident_v2"]),
        ("ten", ["data.dataset=MiraBest_full", "training.num_classes=10"]),
    ):
        train(config, "--no-test", "--set", *common, *more, f"metrics.outputdir={tmp_path / name}")
    words = ["rotate", str(tmp_path / "v1"), "--mc-samples", "2", "--angles", "0", "90", "90", "--compare"]
    main.main([*words, str(tmp_path / "v2")])
    said = capsys.readouterr().out
    assert f"{tmp_path / 'v1'} against {tmp_path / 'v2'}" in said and "of 18 sources" in said
    with pytest.raises(UserError, match="--compare .*ten: its classes are 100, .*those of .*v1 are FRI, FRII"):
        main.main([*words, str(tmp_path / "ten")])
    with pytest.raises(UserError, match="none of its test sources is among those of"):
        main.main([*words, str(tmp_path / "v2"), "--index", "1"])
