"""What is worth saying of a catalog: how many rows of which class, with which flags, and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from radgal.prediction.catalog import Part
from utils import counted


@dataclass
class Summary:
    """What is worth saying of a catalog, counted part by part."""

    rows: int = 0
    classes: Counter = field(default_factory=Counter)
    flags: Counter = field(default_factory=Counter)
    errors: int = 0
    learned: int = 0
    example: str = ""
    first: dict[str, int] = field(default_factory=dict)  # flag -> the first row that has it

    def add(self, part: Part) -> None:
        """Counts one part."""
        self.classes.update(part["pred_name"][part["pred_name"] != ""].tolist())
        flags = [row.split(";") if row else [] for row in part["flags"].tolist()]
        self.flags.update(flag for row in flags for flag in row)
        failed = np.flatnonzero(part["error"] != "")
        self.errors += len(failed)
        self.learned += int(np.nansum(part.get("in_training", np.zeros(0))))
        if len(failed) and not self.example:
            self.example = f"{part['id'][failed[0]]}: {part['error'][failed[0]]}"
        for i, row in enumerate(flags):
            for flag in row:
                self.first.setdefault(flag, self.rows + i)
        self.rows += len(flags)


def describe(summary: Summary, classes: Sequence[str]) -> str:
    """Returns what came out as a few lines of text, in the order of ``classes``."""
    counts = ", ".join(f"{summary.classes[name]} {name}" for name in classes)
    lines = [f"{counted(summary.rows, 'row')}: {counts}"]
    if summary.errors:
        lines.append(f"{summary.errors} without a prediction, see column error; the first: {summary.example}")
    if summary.learned:
        lines.append(f"{summary.learned} were trained on, see column in_training: what is said of them proves nothing")
    if summary.flags:
        lines.append("flags: " + ", ".join(f"{flag} {n}" for flag, n in sorted(summary.flags.items())))
    return "\n".join(lines)


def describe_calibration(temperatures: Sequence[float] | None) -> str:
    """Returns whether a catalog has calibrated probabilities, and how they are made; None: of no temperatures."""
    if temperatures is None:
        return "Probabilities are as the network gives them, not calibrated: it has no temperature, see calibrate."
    several = len(temperatures) > 1
    values = ", ".join(f"{one:.3f}" for one in temperatures)
    return (
        f"Probabilities here are calibrated, of the logits over the temperature{'s' if several else ''} {values} "
        "(prob_calibrated in the catalog); those as the network gives them (prob) are with the large image."
    )
