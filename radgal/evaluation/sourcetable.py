"""The table of test sources: what the network says of each, in the file formats that astronomers use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from radgal.data.sourcenames import parse_source_name
from radgal.files.tables import column_name
from radgal.images.measured import MEASURED

if TYPE_CHECKING:
    from astropy.table import Table

CATALOG_COLUMNS = {  # from the source's name: unit and description
    "ra_deg": ("deg", "right ascension, J2000, from the name"),
    "dec_deg": ("deg", "declination, J2000, from the name"),
    "redshift": ("", "from the name"),
    "las_arcsec": ("arcsec", "largest angular size, from the name"),
}
KINDS = {  # of probabilities, by the prefix of their columns
    "prob": "dropout off",
    "mc_prob": "mean over dropout passes",
    "averaged_prob": "mean over fixed poses",
}


def make_table(
    names: Sequence[str],
    classes: Sequence[str],
    probs: Mapping[str, np.ndarray],
    entropies: dict[str, np.ndarray],
    labels: np.ndarray | None = None,
    rotated_accuracy: np.ndarray | None = None,
    measured: Mapping[str, np.ndarray] | None = None,
) -> Table:
    """Returns a row per source, in the order given.

    Position, redshift and size are masked (blank in csv) where the name does not say them.

    Args:
        names: N source names.
        classes: K names.
        probs: each (N, K), by the keys of ``KINDS``: of the upright image with dropout off, of its mean over dropout
            passes, and of the mean over fixed poses.
        entropies: as ``probabilities.uncertainties`` gives them, each (N,), nats.
        labels: (N,) of 0..K-1; None: not known, and nothing is said of what is right.
        rotated_accuracy: (N,), fraction of random rotations under which the source is classified rightly.
        measured: (N,) each, by the keys of ``images.measured.MEASURED``.
    """
    from astropy.table import Column, MaskedColumn, Table

    parsed = [parse_source_name(name) for name in names]
    preds = {prefix: values.argmax(axis=1) for prefix, values in probs.items()}
    table = Table(masked=False)
    table["name"] = np.asarray(names, dtype=str)
    table["class_code"] = np.asarray([row["class_code"] for row in parsed], dtype="U3")
    for key, (unit, description) in CATALOG_COLUMNS.items():
        values = np.asarray([row[key] for row in parsed], dtype=np.float64)
        table[key] = MaskedColumn(values, mask=np.isnan(values), unit=unit or None, description=description)
    if labels is not None:
        table["label"] = labels.astype(np.int64)
        table["label_name"] = np.asarray(classes)[labels]
    table["pred"] = preds["prob"].astype(np.int64)
    table["pred_name"] = np.asarray(classes)[preds["prob"]]
    for prefix, what in KINDS.items():
        for k, name in enumerate(classes):
            column = Column(probs[prefix][:, k], description=f"probability of {name}, {what}")
            table[column_name(prefix, name)] = column
    for key, values in entropies.items():
        table[key] = Column(values, description=f"{key.replace('_', ' ')} over dropout passes, nats")
    if labels is not None:
        for prefix in KINDS:
            table[prefix.replace("prob", "correct")] = preds[prefix] == labels
    if rotated_accuracy is not None:
        table["rotated_accuracy"] = Column(rotated_accuracy, description="fraction right over random rotations")
    for key, values in (measured or {}).items():
        unit, description = MEASURED[key]
        table[key] = MaskedColumn(values, mask=np.isnan(values), unit=unit or None, description=description)
    table.meta["classes"] = ", ".join(classes)
    return table
