"""The table of test sources: what the network says of each, in the file formats that astronomers use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from radgal.data.sourcenames import parse_source_name
from radgal.files.tables import column_name

if TYPE_CHECKING:
    from astropy.table import Table

CATALOG_COLUMNS = {  # from the source's name: unit and description
    "ra_deg": ("deg", "right ascension, J2000, from the name"),
    "dec_deg": ("deg", "declination, J2000, from the name"),
    "redshift": ("", "from the name"),
    "las_arcsec": ("arcsec", "largest angular size, from the name"),
}


def make_table(
    names: Sequence[str],
    labels: np.ndarray,
    classes: Sequence[str],
    probs: np.ndarray,
    mc_probs: np.ndarray,
    entropies: dict[str, np.ndarray],
    rotated_accuracy: np.ndarray,
) -> Table:
    """Returns a row per source, in the order given.

    Position, redshift and size are masked (blank in csv) where the name does not say them.

    Args:
        names: N source names.
        labels: (N,) of 0..K-1.
        classes: K names.
        probs: (N, K) of the upright image, dropout off.
        mc_probs: (N, K), mean over dropout passes of the upright image.
        entropies: as ``probabilities.uncertainties`` gives them, each (N,), nats.
        rotated_accuracy: (N,), fraction of random rotations under which the source is classified rightly.
    """
    from astropy.table import Column, MaskedColumn, Table

    parsed = [parse_source_name(name) for name in names]
    preds, mc_preds = probs.argmax(axis=1), mc_probs.argmax(axis=1)
    table = Table(masked=False)
    table["name"] = np.asarray(names, dtype=str)
    table["class_code"] = np.asarray([row["class_code"] for row in parsed], dtype="U3")
    for key, (unit, description) in CATALOG_COLUMNS.items():
        values = np.asarray([row[key] for row in parsed], dtype=np.float64)
        table[key] = MaskedColumn(values, mask=np.isnan(values), unit=unit or None, description=description)
    table["label"] = labels.astype(np.int64)
    table["label_name"] = np.asarray(classes)[labels]
    table["pred"] = preds.astype(np.int64)
    table["pred_name"] = np.asarray(classes)[preds]
    for prefix, values, what in (
        ("prob", probs, "dropout off"),
        ("mc_prob", mc_probs, "mean over dropout passes"),
    ):
        for k, name in enumerate(classes):
            table[column_name(prefix, name)] = Column(values[:, k], description=f"probability of {name}, {what}")
    for key, values in entropies.items():
        table[key] = Column(values, description=f"{key.replace('_', ' ')} over dropout passes, nats")
    table["correct"] = preds == labels
    table["mc_correct"] = mc_preds == labels
    table["rotated_accuracy"] = Column(rotated_accuracy, description="fraction right over random rotations")
    table.meta["classes"] = ", ".join(classes)
    return table
