"""How every figure looks: its colors, axes and legends, and how it becomes a PNG file.

Figures are made without pyplot, so that those of a notebook stay as they are. Names of classes, sources and runs are
drawn as they are (``parse_math=False``): to matplotlib, what stands between two $ is mathematics, or an error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from utils import UserError, atomic_write, reason_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008, Color Universal Design: told apart with any kind of color vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GRAY = "#777777"


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
    """Returns an empty figure, inches, that belongs to no window or notebook."""
    load_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


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
    """Writes a figure as PNG, atomically."""
    take_names_as_they_are(figure)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")


def take_names_as_they_are(figure: Figure) -> None:
    """Turns mathematics off in all that is written but the numbers at axes; to be called before a drawing."""
    from matplotlib.legend import Legend

    texts = [text for legend in figure.findobj(Legend) for text in (*legend.get_texts(), legend.get_title())]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
    for text in (*texts, *figure.texts):
        text.set_parse_math(False)


def style(axes: Axes, title: str = "", xlabel: str = "", ylabel: str = "") -> Axes:
    """Returns the axes with its labels, a light grid and no box."""
    axes.set_xlabel(xlabel, parse_math=False)
    axes.set_ylabel(ylabel, parse_math=False)
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def color_of(k: int) -> str:
    """Returns the color of the k-th class or run."""
    return COLORS[k % len(COLORS)]


def legend_below(figure: Figure, axes: Axes, title: str) -> None:
    """Puts the legend of ``axes`` under the whole figure, where no curve is."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 1 if max(map(len, labels), default=0) > 40 else 3
    look = {"frameon": False, "fontsize": 8, "title_fontsize": 8}
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(columns, len(labels) or 1), title=title, **look
    )
