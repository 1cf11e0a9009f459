"""``calibrate``: what the folds of a recipe say is written into a run, and used by all that comes after."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

import main
from radgal.evaluation.calibration import temperature_of
from radgal.runs import checkpoint, finished
from utils import UserError


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the run, as if it had no validation sources and had learned from the first 60 of the folds."""
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    content = checkpoint.read(folder / "best.pt")
    names = Table.read(folder / "sources.ecsv", format="ascii.ecsv")["name"]
    sources = content["sources"] | {"names": [str(name) for name in names[:60]]}
    for key in ("positions", "prints"):
        if key in sources:
            sources[key] = sources[key][:60]
    for key in ("temperature", "calibration"):
        content.pop(key)
    checkpoint.save(folder / "best.pt", content | {"sources": sources})
    finished.mark(folder, 2, content["epoch"], True)
    return folder


def test_a_run_is_calibrated_on_what_it_learned_from_as_the_folds_judge_it(run: Path, folds: Path, capsys) -> None:
    main.main(["calibrate", str(run), "--folds", str(folds)])
    content, said = checkpoint.read(run / "best.pt"), capsys.readouterr().out
    table = Table.read(run / "sources.ecsv", format="ascii.ecsv")[:60]
    probs, labels = np.stack([table["prob_FRI"], table["prob_FRII"]], axis=1), np.asarray(table["label"])
    expected = temperature_of(np.log(probs), labels)
    assert content["temperature"] == pytest.approx(expected["temperature"], rel=1e-4)
    assert content["calibration"]["low"] == pytest.approx(expected["low"], rel=1e-4)
    assert content["calibration"]["on"] == "60 sources, each by a network of 2 folds that had not seen it"
    for k in (0, 1):
        np.testing.assert_allclose(content["calibration"]["scores"][k], np.sort(1 - probs[labels == k, k]))
    assert f"temperature {content['temperature']:.3f} [" in said and "60 sources, each by" in said
    assert "warning" not in said and finished.find(run) is not None
    main.main(["evaluate", str(run), "--rotations", "1", "--mc-samples", "2", "--priors", "FRI=0.8", "FRII=0.2"])
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["run_temperature"] == content["temperature"]
    assert metrics["questions"]["conformal_sets"]["n_calibration"] == {
        name: int((labels == k).sum()) for k, name in enumerate(("FRI", "FRII"))
    }
    assert metrics["questions"]["completeness_purity"]["survey"] == {"FRI": 0.8, "FRII": 0.2}
    counts = json.loads((run / "environment.json").read_text())["class_counts"]["train"]
    assert metrics["priors"]["training"]["FRI"] == pytest.approx(counts["FRI"] / sum(counts.values()))


def test_another_recipe_is_said_and_other_classes_and_images_are_refused(run: Path, folds: Path, capsys) -> None:
    content = checkpoint.read(run / "best.pt")

    def changed(section: str, key: str, value, **more) -> None:
        config = content["config"] | {section: content["config"][section] | {key: value}}
        checkpoint.save(run / "best.pt", content | {"config": config} | more)

    changed("training", "epochs", 9)
    main.main(["calibrate", str(run), "--folds", str(folds)])
    said = capsys.readouterr().out
    assert "warning: the recipe of the folds is another one: [training] epochs: 2 there, 9 here" in said
    changed("training", "epochs", 2, classes=["FRII", "FRI"])
    with pytest.raises(UserError, match="tells FRII, FRI apart, and the folds FRI, FRII"):
        main.main(["calibrate", str(run), "--folds", str(folds)])
    assert "calibration" not in checkpoint.read(run / "best.pt")
    changed("data", "pad", 3)
    with pytest.raises(UserError, match="are prepared as Preparation.*pad=3.*and those of the folds as .*pad=0"):
        main.main(["calibrate", str(run), "--folds", str(folds)])
    with pytest.raises(UserError, match="comes along, and its file stays as it is"):
        main.main(["calibrate", "fr-lenet", "--folds", str(folds)])


def test_of_several_seeds_the_first_is_taken(run: Path, folds: Path) -> None:
    for path in sorted(folds.iterdir()):
        other = Path(shutil.copytree(path, folds / f"again_{path.name}"))
        content = checkpoint.read(other / "best.pt")
        training = content["config"]["training"] | {"seed": content["config"]["training"]["seed"] + 1}
        checkpoint.save(other / "best.pt", content | {"config": content["config"] | {"training": training}})
    main.main(["calibrate", str(run), "--folds", str(folds)])
    found = checkpoint.read(run / "best.pt")["calibration"]
    assert found["on"] == "60 sources, each by a network of 2 folds of seed 42 that had not seen it"
    assert sum(map(len, found["scores"])) == 60


@pytest.mark.parametrize(
    "found",
    [3, {"on": "x"}, {"on": "x", "low": 1.0, "high": 2.0, "scores": [[0.1]]}]
    + [{"on": "a\nb", "low": 1.0, "high": 2.0, "scores": [[], []]}]
    + [{"on": "x", "low": 1.0, "high": float("nan"), "scores": [[], []]}]
    + [{"on": "x", "low": 1.0, "high": 2.0, "scores": [["0.1"], []]}],
)
def test_a_calibration_that_this_program_did_not_write_is_refused(finished_run: Path, tmp_path: Path, found) -> None:
    content = checkpoint.read(finished_run / "best.pt")
    assert content["calibration"]["on"].endswith("validation sources, which chose the kept epoch")
    assert json.loads((finished_run / "metrics.json").read_text())["temperature"]["chose_epoch"]
    checkpoint.save(tmp_path / "best.pt", content | {"calibration": found})
    with pytest.raises(UserError, match="its calibration is no list of scores for each class"):
        checkpoint.read(tmp_path / "best.pt")


@pytest.mark.slow
def test_the_folds_of_a_trained_recipe_calibrate_its_run(
    finished_run: Path, config: Path, tmp_path: Path, capsys
) -> None:
    """Networks of two folds are trained; what they say of what the run learned from is its temperature."""
    out, folder = tmp_path / "rep", Path(shutil.copytree(finished_run, tmp_path / "run"))
    words = ["repeat", "--config", str(config), "--folds", "2", "--seeds", "1", "--first-seed", "42"]
    main.main([*words, "--out", str(out), "--set", "model.quiet=True"])
    capsys.readouterr()
    main.main(["calibrate", str(folder), "--folds", str(out)])
    said, content = capsys.readouterr().out, checkpoint.read(folder / "best.pt")
    learned = set(content["sources"]["names"])
    tables = [Table.read(path, format="ascii.ecsv") for path in sorted(out.glob("*/*/*/sources.ecsv"))]
    rows = [row for table in tables for row in table if str(row["name"]) in learned]
    assert len(tables) == 2 and len(rows) == len(learned) > 900 and "warning" not in said
    probs = np.array([[row["prob_FRI"], row["prob_FRII"]] for row in rows])
    expected = temperature_of(np.log(probs), np.array([row["label"] for row in rows]))
    assert content["temperature"] == pytest.approx(expected["temperature"], rel=1e-3)
    assert 0.2 < content["calibration"]["low"] < content["temperature"] < content["calibration"]["high"] < 5
    main.main(["evaluate", str(folder), "--rotations", "1", "--mc-samples", "1"])
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["run_temperature"] == content["temperature"] and sum(
        metrics["questions"]["conformal_sets"]["n_calibration"].values()
    ) == len(rows)
