"""Many images on one sheet, to look at before they are trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from radgal.figures.style import new_figure, save_figure
from utils import counted


def save_contact_sheet(path: str | Path, rows: list[dict], images: dict[str, np.ndarray], n_all: int) -> None:
    """Draws images side by side with their names and flags; those that could not be read are crossed out.

    Brightness is the square root of the pixel, so that faint lobes are seen. Row 0 is at the top, as in the PNGs: on
    the sky of most FITS files that is upside down.

    Args:
        path: PNG file.
        rows: those to show, with ``id``, ``error``, and ``flags`` or a ``note`` in place of them.
        images: id -> uint8 (side, side).
        n_all: how many there are, for the title.
    """
    n_columns = min(len(rows), 10)
    n_rows = -(-len(rows) // n_columns)
    figure = new_figure(max(4.0, 1.7 * n_columns), 0.5 + 2.0 * n_rows)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).flatten()
    for axis in axes:
        axis.set_axis_off()
    for axis, row in zip(axes, rows, strict=False):
        note = "cannot be read" if row["error"] else row.get("note") or row["flags"].replace(" ", ", ")
        axis.set_title(f"{_shortened(row['id'])}\n{note}", fontsize=6, color="firebrick" if note else "black")
        if row["error"]:
            axis.plot([0, 1, 0.5, 0, 1], [0, 1, 0.5, 1, 0], color="firebrick", linewidth=0.8)
        else:
            axis.imshow(np.sqrt(images[row["id"]] / 255.0), cmap="inferno", vmin=0, vmax=1)
    count = f"{len(rows)} of {n_all} images" if len(rows) < n_all else counted(n_all, "image")
    figure.suptitle(f"{count}, square root of the pixels", fontsize=9)
    save_figure(figure, path)


def _shortened(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:19]}...{name[-4:]}"
