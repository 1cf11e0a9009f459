"""In what runs differ, as far as their files say it: keys of the config, data, device and software."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from radgal.config.keys import SECTIONS
from radgal.report.savedrun import SavedRun
from radgal.report.values import clean

WHERE_ONLY = {"output": None, "metrics": None, "data": ("datadir", "mirror", "download"), "model": ("quiet",)}
"""Config keys that say where files lie, or what is printed: section -> keys; None: all."""
IN_ENVIRONMENT = (
    "dataset dataset_version dataset_checksum also sources_left_out trainable_parameters kept_epoch precision "
    "cuda_device processor threads python packages git_commit git_changed_files"
).split()
IN_METRICS = ("dataset", "version", "checksum", "training_seed", "epoch", "trained_on", "members")


def differences(runs: Sequence[SavedRun]) -> list[dict[str, Any]]:
    """Returns the config keys, what of the environment, and of the test, in which the runs differ; a cell for each run.

    A key that a config.txt of an earlier version does not have is at its default.
    """
    keys = dict.fromkeys((section, key) for run in runs for section, values in run.config.items() for key in values)
    rows = []
    for section, key in keys:
        if section in WHERE_ONLY and (WHERE_ONLY[section] is None or key in WHERE_ONLY[section]):
            continue
        rows.append((f"[{section}] {key}", [_configured(run, section, key) for run in runs]))
    for key in IN_ENVIRONMENT:
        values = [run.environment.get(key) for run in runs]
        if key == "packages":
            known = [value if isinstance(value, dict) else {} for value in values]
            rows += [
                (name, [one.get(name) for one in known]) for name in dict.fromkeys(n for one in known for n in one)
            ]
        else:
            rows.append((key.replace("_", " "), values))
    for key in IN_METRICS:
        rows.append((f"tested: {key.replace('_', ' ')}", [run.metrics.get(key) for run in runs]))
    shown = [(name, ["–" if value is None else clean(value) for value in values]) for name, values in rows]
    return [
        {"name": clean(name), "cells": cells, "is_config": name.startswith("[")}
        for name, cells in shown
        if len(set(cells)) > 1
    ]


def _configured(run: SavedRun, section: str, key: str) -> str | None:
    """Returns the value of a key as it is written; None without a config."""
    if not run.config:
        return None
    if key in run.config.get(section, {}):
        return repr(run.config[section][key])
    field = SECTIONS[section].model_fields.get(key) if section in SECTIONS else None
    return None if field is None or field.is_required() else repr(field.default)
