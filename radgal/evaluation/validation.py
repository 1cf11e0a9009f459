"""What the validation sources say of a run, for choosing among recipes: the test set is not touched."""

from __future__ import annotations

import json
from pathlib import Path

from radgal.config.config import Config
from radgal.data.splits import load_training_data
from radgal.evaluation.averaging import ROTATIONS
from radgal.evaluation.evaluate import evaluate_test
from radgal.evaluation.results import check_config, check_data
from radgal.files.tables import read_table, write_table
from radgal.runs import finished
from radgal.runs.checkpoint import TrainedRun, read
from radgal.runs.files import RunFile
from utils import UserError, write_json


def validate_run(run: TrainedRun, folder: Path) -> dict:
    """Scores the validation sources as a test would, and writes validation.json and, source by source, validation.csv.

    All are turned by eight even steps, the same for every recipe, instead of at random. Where validation chose the kept
    epoch, its scores are too good; a fold that chose nothing has no such bias.

    Args:
        run: the kept network.
        folder: where to write.

    Returns:
        The content of validation.json: that of metrics.json, with ``n_validation``.

    Raises:
        UserError: if the run has no validation sources, or the data are not those of the run.
    """
    training = load_training_data(run.config, run.keeps_together)
    check_data(run, training)
    if training.val is None:
        raise UserError(f"{folder} has no validation sources to score; set [training] frac_val or [data] val_fold")
    metrics, table = evaluate_test(run, training.val, None, rotations=ROTATIONS, evenly=True)
    about = {"run": run.config.name, "epoch": run.epoch, "n_validation": metrics.pop("n_test")}
    write_table(table, RunFile.VALIDATION_CSV.at(folder))
    write_json(RunFile.VALIDATION.at(folder), about | metrics)
    return about | metrics


def finished_validation(folder: Path, config: Config):
    """Returns (metrics, per-source table of texts) of a scored run of this very config, None if there is none yet.

    Raises:
        UserError: if the folder holds a finished run of another config: it is neither used nor overwritten.
    """
    if finished.find(folder) is None:
        return None
    try:
        metrics = json.loads(RunFile.VALIDATION.at(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    check_config(folder, config)
    trained_since = metrics["epoch"] != read(RunFile.BEST.at(folder))["epoch"]
    if trained_since or metrics["rotated"]["n_rotations"] != ROTATIONS:
        return None
    return metrics, read_table(RunFile.VALIDATION_CSV.at(folder))
