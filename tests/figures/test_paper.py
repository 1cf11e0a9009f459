"""Figures for a paper: PDF as wide as a column, letters that are text, lines told apart in gray; and their heads."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from radgal.figures import plots
from radgal.figures.style import COLORS, COLUMNS, LINES, color_of, line_of, on_paper, title_of, titled
from tests.figures.test_plots import PNG, drawn, history  # noqa: F401 - drawn is a fixture

pytestmark = pytest.mark.usefixtures("drawing")
CURVES = {"a_run$": (np.array([0.0, 0.2, 1.0]), np.array([0.0, 0.9, 1.0])), "b": (np.array([0.0, 1.0]), np.ones(2))}


def unpacked(pdf: bytes) -> bytes:
    """Returns a PDF with its packed streams behind it."""
    packed = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    return pdf + b"".join(zlib.decompressobj().decompress(one) for one in packed if one[:1] == b"\x78")


@pytest.mark.parametrize("column", ["mnras_single", "aa_double"])
def test_a_figure_on_paper_is_a_pdf_as_wide_as_the_column_with_letters_as_text(tmp_path: Path, column: str) -> None:
    from matplotlib import rcParams

    before = dict(rcParams)
    with on_paper(column):
        plots.save_roc(tmp_path / "roc.png", "ROC area 0.9", CURVES)
    assert [path.name for path in tmp_path.iterdir()] == ["roc.pdf"] and dict(rcParams) == before
    content = unpacked((tmp_path / "roc.pdf").read_bytes())
    box = [float(number) for number in re.search(rb"/MediaBox \[([^\]]*)\]", content)[1].split()]
    assert box[2] / 72 == pytest.approx(COLUMNS[column], abs=0.01)
    assert b"/FontFile2" in content and b"/Type3" not in content and b"/Subtype /Image" not in content
    plots.save_roc(tmp_path / "roc.png", "", CURVES)
    assert (tmp_path / "roc.png").read_bytes()[:8] == PNG


def test_what_is_drawn_once_for_two_journals_is_as_wide_as_the_column_of_each(tmp_path: Path) -> None:
    columns = ("mnras_single", "aa_single")
    for column in columns:
        (tmp_path / column).mkdir()
    with on_paper(*columns):
        plots.save_roc(tmp_path / columns[0] / "roc.png", "ROC area 0.9", CURVES)
    for column in columns:
        content = unpacked((tmp_path / column / "roc.pdf").read_bytes())
        box = [float(number) for number in re.search(rb"/MediaBox \[([^\]]*)\]", content)[1].split()]
        assert box[2] / 72 == pytest.approx(COLUMNS[column], abs=0.01) and b"/FontFile2" in content


def test_the_widths_are_those_of_the_journals() -> None:
    points = {name: width * 72.27 for name, width in COLUMNS.items()}
    assert points["mnras_single"] == pytest.approx(240) and points["mnras_double"] == pytest.approx(504)
    assert COLUMNS["aa_single"] * 25.4 == pytest.approx(88) and COLUMNS["aa_double"] * 25.4 == pytest.approx(180)


def test_figures_are_headed_by_run_and_data_set_but_not_on_paper(tmp_path: Path, drawn) -> None:  # noqa: F811
    metrics = {"run": "a$run", "dataset": "MBFRConfident", "version": "v1"}
    with titled(title_of(metrics)):
        plots.save_roc(tmp_path / "a.png", "", CURVES)
        with on_paper("aa_single"):
            plots.save_roc(tmp_path / "b.png", "", CURVES)
    plots.save_roc(tmp_path / "c.png", "", CURVES)
    assert [figure.get_suptitle() for figure in drawn] == ["a$run, MBFRConfident v1", "", ""]
    assert title_of({"upright": {}}) == ""


def test_a_long_title_is_broken_and_not_cut(tmp_path: Path, drawn) -> None:  # noqa: F811
    title = "expected calibration error 0.104 (of a calibrated network 0.087, rarely above 0.128)"
    plots.save_roc(tmp_path / "a.png", title, CURVES)
    with on_paper("mnras_single"):
        plots.save_roc(tmp_path / "b.png", title, CURVES)
    for figure in drawn:
        box = figure.axes[0].title.get_window_extent()
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1


def test_lines_are_told_apart_without_colors(tmp_path: Path, drawn) -> None:  # noqa: F811
    assert len({str(line_of(k)) for k in range(7)}) == len(LINES) == len(COLORS) == len({color_of(k) for k in range(7)})
    plots.save_training_curves(history(4), 3, tmp_path / "loss.png", tmp_path / "error.png")
    styles = [line.get_linestyle() for line in drawn[0].axes[0].get_lines()]
    assert len(set(styles)) == 3
