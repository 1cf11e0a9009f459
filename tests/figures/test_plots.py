"""Every figure is drawn from odd numbers too, is a PNG, and leaves a notebook's figures alone."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

from radgal.evaluation import evaluate, results
from radgal.figures import plots, poseplots, style
from tests.evaluation.test_evaluate import CLASSES, SmallNet, make_split
from tests.networks import classifier_of

PNG = b"\x89PNG\r\n\x1a\n"
pytestmark = pytest.mark.usefixtures("drawing")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, in order."""
    figures, save = [], style.save_figure
    for module in (plots, poseplots):
        monkeypatch.setattr(module, "save_figure", lambda figure, path: (figures.append(figure), save(figure, path)))
    return figures


def is_png(path: Path) -> bool:
    return path.read_bytes()[:8] == PNG


def history(n: int, validated: bool = True) -> list[dict]:
    return [
        {
            "epoch": i,
            "train_loss": 1 / i,
            "train_accuracy": 1 - 0.4 / i,
            "test_loss": 1.2 / i if validated else None,
            "test_accuracy": 1 - 0.5 / i if validated else None,
        }
        for i in range(1, n + 1)
    ]


def test_training_curves_show_the_history_and_the_kept_epoch(tmp_path, drawn):
    plots.save_training_curves(history(5), 3, tmp_path / "loss.png", tmp_path / "error.png")
    assert is_png(tmp_path / "loss.png") and is_png(tmp_path / "error.png")
    loss, error = (figure.axes[0].get_lines() for figure in drawn)
    np.testing.assert_allclose(loss[1].get_ydata(), [1.2 / i for i in range(1, 6)])
    np.testing.assert_allclose(error[1].get_ydata(), [50 / i for i in range(1, 6)])
    assert loss[2].get_xdata()[0] == 3


@pytest.mark.parametrize("n", [0, 1, 2])
def test_short_histories_without_validation(tmp_path, drawn, n):
    plots.save_training_curves(history(n, validated=False), n, tmp_path / "loss.png", tmp_path / "error.png")
    assert len(drawn) == (2 if n else 0)
    for figure in drawn:
        labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert labels == ["training", f"kept: epoch {n}"]


def test_evaluation_figures(tmp_path, drawn):
    from sklearn.metrics import auc

    torch.manual_seed(0)
    metrics, table = evaluate.evaluate_test(classifier_of(SmallNet()), make_split(), None, rotations=1, mc_samples=2)
    results.save_evaluation_figures(metrics, table, tmp_path)
    for name in ("confusion", "roc", "reliability"):
        assert is_png(tmp_path / f"{name}.png")
    cells = [text.get_text().split("\n")[0] for text in drawn[0].axes[0].texts]
    assert cells == [str(count) for row in metrics["upright"]["confusion"] for count in row]
    roc = drawn[1].axes[0].get_lines()[1]
    assert auc(roc.get_xdata(), roc.get_ydata()) == pytest.approx(metrics["upright"]["roc_auc"]["value"])


def test_evaluation_figures_with_a_class_missing(tmp_path, drawn):
    split = make_split(6)
    test = evaluate.Split(split.images, torch.zeros(6, dtype=torch.int64), split.names)
    classes = ("a", "b", "c")
    metrics, table = evaluate.evaluate_test(classifier_of(SmallNet(3), classes), test, None, rotations=1, mc_samples=2)
    results.save_evaluation_figures(metrics, table, tmp_path)
    assert "not defined" in drawn[1].axes[0].get_title()
    assert [text.get_text() for text in drawn[0].axes[0].texts][3:] == ["-"] * 6


@pytest.mark.parametrize("n_poses", [1, 9, 146])
def test_rotation_figure(tmp_path, drawn, n_poses):
    samples = np.random.default_rng(0).dirichlet([2, 2], size=(n_poses, 7))
    images = np.zeros((n_poses, 6, 6), dtype=np.uint8)
    angles, flips = np.arange(n_poses) * 5.0, np.arange(n_poses) > n_poses // 2
    title = "200_214.154+020.893_0.2474_0046.70, FRII\nmean overlap index 0.152, corrected 0.153"
    shown = poseplots.PoseSamples(title, angles, flips, samples, CLASSES, images)
    poseplots.save_rotation(tmp_path / "r.png", shown)
    assert is_png(tmp_path / "r.png")
    top, bottom = drawn[0].axes
    np.testing.assert_allclose(top.collections[1].get_offsets()[:, 1], samples[..., 1].ravel())
    assert 1 <= len(bottom.images) <= poseplots.MAX_TICKS
    page = drawn[0].bbox
    for text in (top.title, *top.get_legend().get_texts()):
        box = text.get_window_extent()
        assert page.x0 <= box.x0 < box.x1 <= page.x1 and page.y0 <= box.y0 < box.y1 <= page.y1
    for stamp in bottom.images:  # a galaxy keeps its shape, and is seen whole
        box, frame = stamp.get_window_extent(), bottom.get_window_extent()
        assert box.width == pytest.approx(box.height, rel=0.01)
        assert frame.y0 - 1 <= box.y0 and box.y1 <= frame.y1 + 1


def test_learning_curves_of_unequal_and_missing_histories(tmp_path, drawn):
    histories = {"a": [history(4), history(6)], "b": [history(3)], "none": [history(3, validated=False)]}
    plots.save_learning_curves(tmp_path / "c.png", histories)
    assert is_png(tmp_path / "c.png")
    first, second, third = drawn[0].axes[0].get_lines()
    np.testing.assert_allclose(first.get_ydata(), [1.2 / i for i in range(1, 7)])
    assert len(second.get_xdata()) == 3 and len(third.get_xdata()) == 0
    assert len(drawn[0].axes[0].collections) == 1  # a band for the config with two seeds only


def test_legends_of_many_curves_lie_on_none_of_them(tmp_path, drawn):
    angles = np.arange(0, 361, 90.0)
    curve = {"angle_deg": angles, "is_element": angles % 180 == 0}
    curve |= dict.fromkeys(("equivariance_error", "invariance_error"), np.ones(5))
    poseplots.save_equivariance(tmp_path / "e.png", {f"runs/repeat/a_network/seed_{i}": curve for i in range(7)})
    plots.save_learning_curves(tmp_path / "c.png", {f"a_network_with_a_name_{i}": [history(4)] for i in range(7)})
    for figure in drawn:
        legend = figure.legends[0].get_window_extent()
        assert len(figure.legends[0].get_texts()) == 7
        assert figure.bbox.x0 <= legend.x0 and legend.x1 <= figure.bbox.x1 and legend.y0 >= figure.bbox.y0
        assert all(legend.y1 <= axes.get_window_extent().y0 for axes in figure.axes)


def test_epochs_are_whole_numbers(tmp_path, drawn):
    plots.save_training_curves(history(4), 3, tmp_path / "loss.png", tmp_path / "error.png")
    plots.save_learning_curves(tmp_path / "c.png", {"a": [history(4)]})
    assert len(drawn) == 3
    for axes in (axes for figure in drawn for axes in figure.axes):
        assert all(tick == int(tick) for tick in axes.get_xticks())


def test_no_class_has_the_color_of_a_change(tmp_path, drawn):
    overlap, labels = np.array([0.5, 0.1, 0.3]), np.array([0, 1, 1])
    shown = poseplots.Overlaps(overlap, np.array([0.2, 0.4, 0.3]), ("a", "b"), labels, CLASSES, 0.01)
    poseplots.save_comparison(tmp_path / "c.png", shown)
    left, right = drawn[0].axes
    bars = {c.get_label(): (len(c.patches), c.patches[0].get_facecolor()) for c in right.containers}
    assert {name: n for name, (n, _) in bars.items()} == {"improved": 1, "worsened": 1, "neither": 1}
    assert not {color for _, color in bars.values()} & {to_rgba(line.get_color()) for line in left.get_lines()[:2]}


@pytest.mark.parametrize("column", [None, "mnras_single"])
def test_the_legends_of_a_comparison_lie_on_no_bar_and_no_label(tmp_path, drawn, column):
    overlap, labels = np.linspace(0, 0.5, 40), np.arange(40) % 2
    shown = poseplots.Overlaps(overlap, overlap[::-1], ("run", "other"), labels, CLASSES, 0.01)
    with style.on_paper(column) if column else nullcontext():
        poseplots.save_comparison(tmp_path / "c.png", shown)
    drawn[0].draw_without_rendering()  # at its own resolution, which is not that of a PDF
    for axes in drawn[0].axes:
        legend = axes.get_legend().get_window_extent()
        assert legend.y1 <= axes.xaxis.label.get_window_extent().y0 + 1
        assert drawn[0].bbox.x0 <= legend.x0 and legend.x1 <= drawn[0].bbox.x1 and legend.y0 >= -1
        assert axes.get_window_extent().width > 0.28 * drawn[0].bbox.width  # in a narrow column panels are stacked


def test_a_kind_of_change_that_no_source_has_is_not_in_the_legend(tmp_path, drawn):
    overlap, labels = np.array([0.5, 0.1]), np.array([0, 1])
    poseplots.save_comparison(
        tmp_path / "c.png", poseplots.Overlaps(overlap, overlap, ("a", "b"), labels, CLASSES, 0.01)
    )
    right = drawn[0].axes[1]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["neither"]
    assert right.get_title() == "0 improved, 0 worsened, 2 neither"


@pytest.mark.parametrize("classes", [("FRI", "FRII"), ("a rather long name", "b"), tuple("abcdefghij")], ids=len)
def test_the_labels_of_a_confusion_matrix_are_whole(tmp_path, drawn, classes):
    plots.save_confusion(50 * np.eye(len(classes), dtype=int), classes, tmp_path / "c.png")
    figure, axes = drawn[0], drawn[0].axes[0]
    for text in (axes.yaxis.label, axes.xaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()):
        box = text.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1 and 0 <= box.y0 < box.y1 <= figure.bbox.y1


def test_names_of_others_are_drawn_as_they_are(tmp_path, drawn):
    odd = ("a$\\frac$", "b$_")  # mathematics to matplotlib, and not even that
    plots.save_confusion([[3, 1], [0, 2]], odd, tmp_path / "c.png")
    plots.save_roc(tmp_path / "roc.png", "", {odd[1]: (np.array([0.0, 1.0]), np.array([0.0, 1.0]))})
    samples, images = np.full((1, 2, 2), 0.5), np.zeros((1, 4, 4), np.uint8)
    shown = poseplots.PoseSamples("a$^$", np.zeros(1), np.zeros(1, bool), samples, odd, images)
    poseplots.save_rotation(tmp_path / "r.png", shown)
    overlap, labels = np.array([0.1, 0.2]), np.array([0, 1])
    shown = poseplots.Overlaps(overlap, overlap, ("a$^$", "b"), labels, odd, 0.01)
    poseplots.save_comparison(tmp_path / "o.png", shown)
    curve = {"angle_deg": [0.0], "equivariance_error": [0.0], "invariance_error": [0.0], "is_element": [True]}
    poseplots.save_equivariance(tmp_path / "e.png", {"a$^$": curve})
    plots.save_learning_curves(tmp_path / "l.png", {"a$^$": [history(3)]})
    assert len(drawn) == 6 and all(is_png(tmp_path / f"{name}.png") for name in ("c", "roc", "r", "o", "e", "l"))


def test_figures_of_a_notebook_are_left_alone(tmp_path):
    from matplotlib import pyplot

    mine, backend = pyplot.figure(), pyplot.get_backend()
    plots.save_confusion([[3, 1], [0, 2]], "ab", tmp_path / "x.png")
    assert pyplot.get_fignums() == [mine.number] and pyplot.get_backend() == backend
    assert pyplot.gcf() is mine and not mine.axes
    pyplot.close(mine)
