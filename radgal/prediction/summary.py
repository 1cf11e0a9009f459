"""What is worth saying of a catalog: how many rows of which class, flags, errors, the first odd pixel scale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from radgal.prediction.catalog import Part


@dataclass
class Summary:
    """What is worth saying of a catalog, counted part by part."""

    rows: int = 0
    classes: Counter = field(default_factory=Counter)
    flags: Counter = field(default_factory=Counter)
    errors: int = 0
    example: str = ""
    scale: float | None = None  # the first pixel scale that is not the training images'

    def add(self, part: Part) -> None:
        """Counts one part."""
        self.rows += len(part["id"])
        self.classes.update(part["pred_name"][part["pred_name"] != ""].tolist())
        flags = [row.split(";") if row else [] for row in part["flags"].tolist()]
        self.flags.update(flag for row in flags for flag in row)
        failed = np.flatnonzero(part["error"] != "")
        self.errors += len(failed)
        if len(failed) and not self.example:
            self.example = f"{part['id'][failed[0]]}: {part['error'][failed[0]]}"
        for i, row in enumerate(flags):
            if "pixel_scale" in row and self.scale is None:
                self.scale = float(part["pixel_scale_arcsec"][i])


def describe(summary: Summary, classes: Sequence[str]) -> str:
    """Returns what came out as a few lines of text, in the order of ``classes``."""
    counts = ", ".join(f"{summary.classes[name]} {name}" for name in classes)
    lines = [f"{summary.rows} rows: {counts}"]
    if summary.errors:
        lines.append(f"{summary.errors} without a prediction, see column error; the first: {summary.example}")
    if summary.flags:
        lines.append("flags: " + ", ".join(f"{flag} {n}" for flag, n in sorted(summary.flags.items())))
    return "\n".join(lines)
