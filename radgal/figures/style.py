"""How every figure looks: its colors, axes and legends, and how it becomes a PNG file, or a PDF file for a paper.

Whoever draws a figure says its size on a screen only. ``titled`` names the run and the data above all that is drawn
inside; ``on_paper`` makes it as wide as a column, without that name, which belongs into the caption. Sizes of letters
are relative ("small"), so that they follow. Lines are told apart by their dashes, too, for who reads in gray.

Figures are made without pyplot, so that those of a notebook stay as they are. Names of classes, sources and runs are
drawn as they are (``parse_math=False``): to matplotlib, what stands between two $ is mathematics, or an error.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils import UserError, atomic_write, reason_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008, Color Universal Design: told apart with any kind of color vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", ":", "-.", (0, (6, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
GRAY = "#777777"
COLUMNS = {"mnras_single": 240 / 72.27, "mnras_double": 504 / 72.27, "aa_single": 88 / 25.4, "aa_double": 180 / 25.4}
"""Width of the columns of journals, inches."""
SINGLE = 5.0  # inches; what is narrower is one column of two
PAGE = 9.2  # inches, the height of a page less a caption
PAPER = {
    "font.size": 8,
    "pdf.fonttype": 42,
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}
_columns: ContextVar[tuple[str, ...]] = ContextVar("columns", default=())
_title: ContextVar[str] = ContextVar("title", default="")


def load_matplotlib() -> None:
    """Imports matplotlib, also where MPLBACKEND names a backend that does not exist: none is needed for files."""
    try:
        import matplotlib  # noqa: F401
    except ValueError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]  # of which half is loaded
        backend = os.environ.pop("MPLBACKEND", None)
        try:
            import matplotlib  # noqa: F401
        finally:
            if backend is not None:
                os.environ["MPLBACKEND"] = backend


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure, inches on a screen, that belongs to no window or notebook.

    On paper it is as wide as the column, and as high as it is to its width, within what reads well.
    """
    load_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if columns := _columns.get():
        width, ratio = COLUMNS[columns[0]], height / width
        height = width * (min(max(ratio, 0.6), 1.3) if width < SINGLE else min(max(ratio, 0.35), 0.62))
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    if _title.get() and not columns:
        lines = textwrap.wrap(_title.get(), max(20, int(14 * width)), max_lines=2, placeholder=" ...")
        figure.suptitle("\n".join(lines), fontsize="small", color=GRAY, parse_math=False)
    return figure


def new_panels(width: float, height: float, rows: int, columns: int, **choices: Any) -> tuple[Figure, list[Axes]]:
    """Returns an empty figure and its panels, row by row; in a narrow column they stand one below the other.

    Args:
        width, height: of all, inches on a screen.
        rows, columns: of the panels on a screen.
        choices: of matplotlib's ``subplots``.
    """
    n, paper = rows * columns, _columns.get()
    if paper and COLUMNS[paper[0]] < SINGLE:
        figure = new_figure(width / columns, height / rows)
        rows, columns = n, 1
        figure.set_figheight(min(0.75 * n * figure.get_figwidth(), PAGE))
    else:
        figure = new_figure(width, height)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **choices).ravel())


@contextmanager
def titled(title: str) -> Iterator[None]:
    """Inside, the figures are headed by what they are of: run and data set."""
    before = _title.set(title)
    try:
        yield
    finally:
        _title.reset(before)


def title_of(metrics: Mapping[str, Any]) -> str:
    """Returns the run and the data set of a test, as its metrics.json calls them."""
    data = " ".join(str(metrics[key]) for key in ("dataset", "version") if metrics.get(key))
    return ", ".join(str(part) for part in (metrics.get("run"), data) if part)


@contextmanager
def on_paper(column: str, *others: str) -> Iterator[None]:
    """Inside, figures are as wide as a column of ``COLUMNS``, and become PDF files whose letters are text (Type 42).

    Each is drawn once. For other columns, of nearly that width but not narrower, it is stretched, and saved in folders
    of their names beside its own.
    """
    load_matplotlib()
    from matplotlib import rc_context

    before = _columns.set((column, *others))
    try:
        with rc_context(PAPER):
            yield
    finally:
        _columns.reset(before)


@contextmanager
def spared(say: Callable[..., None]) -> Iterator[None]:
    """Inside, figures are drawn; one that cannot be is said, since it must not cost the numbers that it shows."""
    try:
        yield
    except UserError:  # a full disk, and what else is no figure's fault
        raise
    except Exception as error:  # whatever fonts, backends and versions of matplotlib make it raise
        say(f"figures could not be drawn: {reason_of(error)}")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a figure, atomically: as PNG, or on paper as PDF of the same stem."""
    take_names_as_they_are(figure)
    columns, path = _columns.get(), Path(path)
    if not columns:
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format="png")
        return
    size = figure.get_size_inches()
    for column in columns:
        place = path.parent
        if column != columns[0]:
            place = place.with_name(column)
            figure.set_layout_engine(None)  # all is where it belongs
            figure.set_size_inches(size * COLUMNS[column] / COLUMNS[columns[0]])
        with atomic_write(place / f"{path.stem}.pdf") as temporary:
            figure.savefig(temporary, format="pdf", metadata={"CreationDate": None})


def take_names_as_they_are(figure: Figure) -> None:
    """Turns mathematics off in all that is written but the numbers at axes; to be called before a drawing."""
    from matplotlib.legend import Legend

    drawn = (*figure.legends, *(child for axes in figure.axes for child in axes.get_children()))
    legends = [child for child in drawn if isinstance(child, Legend)]
    texts = [text for legend in legends for text in (*legend.get_texts(), legend.get_title())]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
    for text in (*texts, *figure.texts):
        text.set_parse_math(False)


def style(axes: Axes, title: str = "", xlabel: str = "", ylabel: str = "") -> Axes:
    """Returns the axes with its labels, a light grid and no box; a title that is too long for the figure is broken."""
    width = max(20, int(13 * axes.get_figure().get_figwidth()))
    title = "\n".join(part for line in title.split("\n") for part in textwrap.wrap(line, width) or [""])
    axes.set_xlabel(xlabel, parse_math=False)
    axes.set_ylabel(ylabel, parse_math=False)
    axes.set_title(title, fontsize="medium", parse_math=False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def color_of(k: int) -> str:
    """Returns the color of the k-th class or run."""
    return COLORS[k % len(COLORS)]


def line_of(k: int) -> Any:
    """Returns how the line of the k-th class or run is dashed."""
    return LINES[k % len(LINES)]


def legend_below(figure: Figure, axes: Axes, title: str) -> None:
    """Puts the legend of ``axes`` under the whole figure, where no curve is."""
    handles, labels = axes.get_legend_handles_labels()
    letters = 11 * figure.get_figwidth()
    columns = max(1, min(3, int(letters / (max(map(len, labels), default=0) + 6))))
    look = {"frameon": False, "fontsize": "small", "title_fontsize": "small"}
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(columns, len(labels) or 1), title=title, **look
    )
