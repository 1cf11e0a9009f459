"""What a catalog says for its survey: probabilities under other shares of the classes, sets of classes, and counts.

Legend: N sources, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from radgal.evaluation.averaging import ROTATIONS
from radgal.evaluation.conformal import fewest, sets_of, thresholds
from radgal.evaluation.priors import corrected_counts, rescaled, shares_of, summed_counts, training_shares
from radgal.files.tables import column_name
from radgal.prediction.catalog import Column, Part
from radgal.pretrained import registry
from radgal.runs.checkpoint import TrainedRun
from radgal.runs.files import RunFile
from utils import UserError

SET, PROB = "prediction_set", "prob_survey"
EMPTY, BETWEEN = "none", "|"  # in the column of sets


def open_survey(runs: Sequence[TrainedRun], choices: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings that ``priors`` and ``sets`` among the choices stand for; neither: none.

    Raises:
        UserError: if they cannot be had of these runs.
    """
    priors, coverage, found = choices.get("priors"), choices.get("sets"), {}
    if priors is not None:
        found["priors"] = tuple(shares_of(priors, runs[0].classes))
        found["shares"] = tuple(np.mean([training_shares(run) for run in runs], axis=0).tolist())
    if coverage is not None:
        found["limits"] = tuple(_limits(runs, coverage, choices.get("rotations", 1)))
    return found


def _limits(runs: Sequence[TrainedRun], coverage: float, rotations: int) -> list[float | None]:
    if not 0 < coverage < 1:
        raise UserError(f"--sets {coverage}: the part that is to be right is above 0 and below 1, such as 0.9")
    if len(runs) > 1 or rotations > 1:
        raise UserError("--sets is calibrated for one run and the image as it is: leave --ensemble and --rotations out")
    (run,) = runs
    if run.calibration is None:
        raise UserError(
            f"--sets: {run.path} knows of no sources to calibrate sets on; `python main.py calibrate` gives it "
            "those of a cross-validation (a run of this version that has validation sources has them by itself)"
        )
    return thresholds(run.calibration["scores"], coverage)


def describe_sets(classes: Sequence[str], limits: Sequence[float | None], coverage: float) -> str | None:
    """Returns which classes are in every set for lack of calibration sources; None if none is."""
    always = [name for name, limit in zip(classes, limits, strict=True) if limit is None]
    if not always:
        return None
    return (
        f"warning: {', '.join(always)} stands in every set: for sets of {coverage:g} at least {fewest(coverage)} "
        "calibration sources of a class are needed"
    )


def columns(classes: Sequence[str], priors: Sequence[float] | None, coverage: float | None) -> list[Column]:
    """Returns the columns that these settings add to a catalog."""
    found = []
    if priors is not None:
        mix = ", ".join(f"{share:g} {name}" for name, share in zip(classes, priors, strict=True))
        found += [
            Column(column_name(PROB, name), "number", None, f"probability of {name} in a survey of {mix}")
            for name in classes
        ]
    if coverage is not None:
        what = f"classes not ruled out, parted by {BETWEEN}: a part of {coverage:g} of each class has its own there"
        found.append(Column(SET, "text", None, what))
    return found


def fill(
    classes: Sequence[str],
    probs: np.ndarray,
    calibrated: np.ndarray,
    priors: tuple[Sequence[float], Sequence[float]] | None,
    limits: Sequence[float | None] | None,
) -> dict[str, np.ndarray]:
    """Returns those columns.

    Args:
        classes: K names.
        probs: (N, K), dropout off.
        calibrated: the same with the temperature, where there is one.
        priors: K shares of the survey, and of the training sources.
        limits: as :func:`radgal.evaluation.conformal.thresholds` gives them.
    """
    found = {}
    if priors is not None:
        corrected = rescaled(calibrated, *priors)
        found |= {column_name(PROB, name): corrected[:, k] for k, name in enumerate(classes)}
    if limits is not None:
        names = np.array(classes)
        found[SET] = np.array([BETWEEN.join(names[row]) or EMPTY for row in sets_of(probs, limits)])
    return found


def confusion_of(run: TrainedRun, rotations: int) -> list[list[int]] | None:
    """Returns how the run's own test confused the classes, asked as the catalog is; None if there is no such test."""
    if registry.name_of(run.path) or rotations not in (1, ROTATIONS):
        return None
    try:
        metrics = json.loads(RunFile.METRICS.at(run.path.parent).read_text(encoding="utf-8"))
        of_this = metrics["epoch"] == run.epoch and tuple(metrics["classes"]) == tuple(run.classes)
        return metrics["upright" if rotations == 1 else "averaged"]["confusion"] if of_this else None
    except (OSError, ValueError, LookupError, TypeError, UserError):
        return None


def expected_counts(parts: Iterable[Part], classes: Sequence[str], confusion: list[list[int]] | None) -> dict:
    """Returns how many sources of each class a catalog is expected to hold, for the record beside it.

    Args:
        parts: of the catalog.
        classes: K names.
        confusion: as :func:`confusion_of` gives it.
    """
    probs, called = [], np.zeros(len(classes))
    for part in parts:
        rows = part["pred_name"] != ""
        probs.append(np.stack([part[column_name(PROB, name)][rows] for name in classes], axis=1))
        called += [np.count_nonzero(part["pred_name"] == name) for name in classes]
    corrected = None if confusion is None else corrected_counts(called, confusion)
    return {
        "sum_of_probabilities": dict(zip(classes, summed_counts(np.concatenate(probs)), strict=True)),
        "called": dict(zip(classes, called.astype(int).tolist(), strict=True)),
        "called_corrected_by_confusion": corrected and dict(zip(classes, corrected, strict=True)),
    }


def describe_counts(counts: dict) -> str:
    """Returns the expected counts in a sentence or two."""

    def text(entries: dict) -> str:
        ends = ((name, *(one[key] for key in ("value", "low", "high"))) for name, one in entries.items())
        return ", ".join(f"{value:.1f} {name} [{low:.1f}, {high:.1f}]" for name, value, low, high in ends)

    corrected = counts["called_corrected_by_confusion"]
    second = (
        "there is no test of the run as it is asked here, so those called are not corrected by its confusion"
        if corrected is None
        else f"as called, corrected by the confusion of the test: {text(corrected)}"
    )
    return f"expected in this survey: {text(counts['sum_of_probabilities'])} (sum of probabilities); {second}"
