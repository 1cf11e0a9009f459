"""Labels that a cross-validation doubts: sources that networks which never saw them call something else.

Legend: N sources, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radgal.data.further import all_parts
from radgal.figures.contactsheet import save_contact_sheet
from radgal.figures.style import spared
from radgal.files.tables import write_table
from radgal.repeats.collect import merge_folds

SHEET = "label_errors.png"
N_SHOWN = 40  # on the sheet


def write_doubted(folder: Path, runs: Sequence[dict], config: Any) -> dict[str, Any]:
    """Writes label_errors.csv, the doubted labels of a cross-validation by rank, and label_errors.png, their images.

    Args:
        folder: where to write.
        runs: of one config, as :func:`radgal.repeats.collect.collect_run` makes them, all folds of any seeds.
        config: of one of them: where the images are.

    Returns:
        How many labels (``n``) how many seeds judged (``n_seeds``) and doubt (``n_doubted``), and the ``most`` doubted
        ones, a row of label_errors.csv each.
    """
    from astropy.table import Table

    merged = merge_folds(runs)
    names, labels, probs = out_of_fold(merged)
    rows, rather = doubted(probs, labels)
    classes = np.array(runs[0]["classes"])
    table = Table(
        {
            "rank": np.arange(1, len(rows) + 1),
            "name": np.array([names[row] for row in rows], dtype=str),
            "label_name": classes[labels[rows]],
            "rather": classes[rather],
            "prob_label": probs[rows, labels[rows]],
            "prob_rather": probs[rows, rather],
        }
    )
    write_table(table, folder / "label_errors.csv")
    sheet = folder / SHEET
    sheet.unlink(missing_ok=True)  # of other doubts, earlier
    if len(rows):
        with spared(print):
            _draw(sheet, table[:N_SHOWN], config, len(names))
    most = [dict(zip(table.colnames, (one.item() for one in row), strict=True)) for row in table[:N_SHOWN]]
    return {"n": len(names), "n_seeds": len(merged), "n_doubted": len(rows), "most": most}


def _draw(path: Path, table: Any, config: Any, n_all: int) -> None:
    shown = [
        {
            "id": row["name"],
            "note": f"{row['label_name']}, rather {row['rather']} ({row['prob_rather']:.2f})",
            "error": "",
        }
        for row in table
    ]
    wanted = {row["id"] for row in shown}
    images = {
        name: image.numpy()
        for part in all_parts(config)
        for name, image in zip(part.names, part.data, strict=True)
        if name in wanted
    }
    save_contact_sheet(path, shown, images, n_all)


def doubted(probs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows whose label is doubted, the most doubted first, and the class that each should rather have.

    Confident learning, Northcutt et al. 2021, J. Artif. Intell. Res. 70, 1373: a label is doubted if the most probable
    of the classes that reach their threshold is another. The threshold of a class is the mean probability that the
    sources so labeled have for it, so that a class of which networks are never sure is not held against that. The
    rank is by the probability of the label, the smallest first.

    Args:
        probs: (N, K), of networks that were not trained on the source.
        labels: (N,) of 0..K-1.
    """
    n, n_classes = probs.shape
    threshold = np.array([probs[labels == k, k].mean() if (labels == k).any() else np.inf for k in range(n_classes)])
    sure = np.where(probs >= threshold, probs, -np.inf)
    called = sure.argmax(axis=1)
    rows = np.flatnonzero((sure.max(axis=1) > -np.inf) & (called != labels))
    rows = rows[np.argsort(probs[rows, labels[rows]], kind="stable")]
    return rows, called[rows]


def out_of_fold(runs: Sequence[Mapping[str, Any]]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Returns names, labels (N,) and probabilities (N, K), the mean over seeds, of the sources that all runs held out.

    Args:
        runs: of one config, as :func:`radgal.repeats.collect.merge_folds` gives them: one per seed.
    """
    places = [{name: i for i, name in enumerate(run["names"])} for run in runs]
    names = [name for name in runs[0]["names"] if all(name in place for place in places)]
    probs = np.mean(
        [
            np.asarray(run["upright"], dtype=float)[[place[name] for name in names]]
            for run, place in zip(runs, places, strict=True)
        ],
        axis=0,
    )
    return names, np.array([runs[0]["labels"][places[0][name]] for name in names]), probs
