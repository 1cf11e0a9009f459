"""The charts of the report: their ticks, their lines, their marks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from radgal.report.charts import Axis, make_chart, make_series, thin, ticks
from radgal.report.runviews import epoch_charts, summary
from radgal.report.savedrun import read_run


def test_epochs_are_whole_numbers(run: Path) -> None:
    for chart in epoch_charts({"": read_run(run)}, 2):
        assert [label for _, label in chart["x_ticks"]] == ["1", "2"]


def test_the_kept_epoch_is_written_above_the_curves() -> None:
    series = [make_series("s", [1, 2, 3], [5.0, 3.0, 5.0])]
    chart = make_chart("t", "a", series, Axis("x"), Axis("y"), mark=(2, "kept"))
    _, top, _, height = map(float, chart["view"].split())
    assert -top > 5 + 0.12 * height


@pytest.mark.parametrize(
    "low, high, log", [(0, 1, False), (1, 600, False), (-3.2, -3.1, False), (-4, 1, True), (-0.3, 0.2, True)]
)
def test_ticks_are_few_round_and_inside(low: float, high: float, log: bool) -> None:
    found = ticks(low, high, log)
    assert 3 <= len(found) <= 8
    for place, label in found:
        assert low - 1e-9 <= place <= high + 1e-9
        assert math.isclose(float(label), 10**place if log else place, rel_tol=1e-2, abs_tol=1e-12) and len(label) < 8


def test_long_lines_are_thinned_but_keep_their_extremes() -> None:
    values = np.random.default_rng(0).normal(size=20_000).tolist()
    kept = thin(list(enumerate(values)))
    assert len(kept) <= 1200 and kept == sorted(kept)
    assert {min(values), max(values)} <= {y for _, y in kept}
    chart = make_chart("t", "a", [make_series("s", [1, 2, 3], [1.0, None, math.nan])], Axis("x"), Axis("y", log=True))
    assert chart["series"][0]["points"] == [(1, 1.0)]
    assert make_chart("t", "a", [make_series("s", [1], [None])], Axis("x"), Axis("y")) is None


@pytest.mark.parametrize("keep, early, chosen", [("last", True, False), (None, True, True), (None, False, False)])
def test_validation_is_called_optimistic_where_it_chose_the_epoch(run: Path, keep, early, chosen) -> None:
    saved = read_run(run)
    saved.config["training"]["keep"], saved.config["model"]["early_stopping"] = keep, early
    note = next(card["note"] for card in summary(saved)["cards"] if card["label"] == "Validation error")
    assert ("optimistic" in note) == chosen
