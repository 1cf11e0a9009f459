"""``predict --priors`` and ``--sets``: a catalog for a survey of other shares, with counts, and sets of classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from radgal.evaluation.priors import corrected_counts, rescaled
from tests.prediction.tools import go, make_run, numbers, save_images
from utils import UserError

QUICK = ("--mc-samples", 0)
PRIORS = ("--priors", "FRII=0.1", "FRI=0.9")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a temperature, calibration scores, and a test; its class counts are 1 to 3."""
    about = {"on": "ten sources", "low": 1.0, "high": 3.0, "scores": [[0.1 * i for i in range(10)], [0.2, 0.5, 0.6]]}
    folder = make_run(tmp_path / "run", temperature=2.0, calibration=about)
    (folder / "environment.json").write_text(json.dumps({"class_counts": {"train": {"FRI": 10, "FRII": 30}}}))
    confusion = {"upright": {"confusion": [[40, 10], [5, 45]]}, "averaged": {"confusion": [[44, 6], [4, 46]]}}
    (folder / "metrics.json").write_text(json.dumps({"epoch": 1, "classes": ["FRI", "FRII"], **confusion}))
    return folder


def test_probabilities_and_counts_are_those_of_the_survey(run: Path, tmp_path: Path, capsys) -> None:
    images = save_images(tmp_path / "images", 12)
    (images / "broken.npy").write_bytes(b"no array")
    rows = go(run, images, *QUICK, *PRIORS, "--part-rows", 5, out=tmp_path / "c.csv")
    said, record = capsys.readouterr().out, json.loads((tmp_path / "c.csv.json").read_text())
    there = [row for row in rows if row["error"] == ""]
    assert len(there) == 12 and len(rows) == 13
    found = numbers(there, "prob_survey_FRI", "prob_survey_FRII")
    calibrated = numbers(there, "prob_calibrated_FRI", "prob_calibrated_FRII")
    np.testing.assert_allclose(found, rescaled(calibrated, (0.9, 0.1), (0.25, 0.75)), rtol=1e-4)
    assert record["priors"] == {"survey": {"FRI": 0.9, "FRII": 0.1}, "training": {"FRI": 0.25, "FRII": 0.75}}
    assert record["prob_survey_from"] == "prob_calibrated"
    counts = record["expected_counts"]
    for k, name in enumerate(("FRI", "FRII")):
        assert counts["sum_of_probabilities"][name]["value"] == pytest.approx(found[:, k].sum(), rel=1e-4)
    called = [sum(row["pred_name"] == name for row in there) for name in ("FRI", "FRII")]
    assert list(counts["called"].values()) == called
    expected = corrected_counts(called, [[40, 10], [5, 45]])
    assert counts["called_corrected_by_confusion"] == dict(zip(("FRI", "FRII"), expected, strict=True))
    assert f"expected in this survey: {found[:, 0].sum():.1f} FRI [" in said and "corrected by the confusion" in said
    go(run, images, *QUICK, *PRIORS, "--part-rows", 5, "--resume", out=tmp_path / "c.csv")
    assert "is finished already" in capsys.readouterr().out
    for rotations, confusion in ((8, [[44, 6], [4, 46]]), (3, None)):
        out = tmp_path / f"{rotations}.csv"
        go(run, images, *QUICK, *PRIORS, "--rotations", rotations, out=out)
        counts = json.loads(out.with_name(f"{out.name}.json").read_text())["expected_counts"]
        found = counts["called_corrected_by_confusion"]
        assert (found and list(found.values())) == (
            confusion and corrected_counts(list(counts["called"].values()), confusion)
        )
    assert "no test of the run as it is asked here" in capsys.readouterr().out


def test_sets_hold_what_is_not_ruled_out_and_too_few_sources_rule_out_nothing(
    run: Path, tmp_path: Path, capsys
) -> None:
    images = save_images(tmp_path / "images", 12)
    rows = go(run, images, *QUICK, "--sets", 0.5, out=tmp_path / "c.csv")
    assert "stands in every set" not in capsys.readouterr().out
    for row in rows:  # of 10 scores the 6th, 0.5; of 3 the 2nd, 0.5
        kept = [name for name in ("FRI", "FRII") if 1 - float(row[f"prob_{name}"]) <= 0.5]
        assert row["prediction_set"] == ("|".join(kept) or "none")
    record = json.loads((tmp_path / "c.csv.json").read_text())["sets"]
    assert record["coverage"] == 0.5 and record["thresholds"] == pytest.approx({"FRI": 0.5, "FRII": 0.5})
    rows = go(run, images, *QUICK, "--sets", 0.9, out=tmp_path / "d.csv")
    assert "warning: FRII stands in every set: for sets of 0.9 at least 9 calibration" in capsys.readouterr().out
    assert all("FRII" in row["prediction_set"].split("|") for row in rows)


def test_what_cannot_be_had_is_said(run: Path, run_folder: Path, tmp_path: Path) -> None:
    images = save_images(tmp_path / "images", 1)
    for words, message in (
        ((run, "--sets", 1.5), "--sets 1.5: the part that is to be right is above 0 and below 1"),
        ((run, "--sets", 0.9, "--rotations", 8), "leave --ensemble and --rotations out"),
        ((run, "--sets", 0.9, "--ensemble", run), "leave --ensemble and --rotations out"),
        ((run_folder, "--sets", 0.9), "`python main.py calibrate` gives it those of a cross-validation"),
        ((run_folder, *PRIORS), "--priors needs to know how many sources of each class"),
        ((run, "--priors", "FRI=0.9"), "FRII has no share"),
    ):
        with pytest.raises(UserError, match=message):
            go(words[0], images, *QUICK, *words[1:], out=tmp_path / "c.csv")
