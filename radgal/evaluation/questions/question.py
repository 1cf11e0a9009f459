"""What a question about a test consists of, and what it is answered from.

Legend: N sources, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from radgal.evaluation.probabilities import log_of_mean, log_softmax
from radgal.figures.panels import Panel
from radgal.files.tables import column_name

if TYPE_CHECKING:
    from astropy.table import Table


@dataclass(frozen=True, eq=False)
class Asked:
    """A test that is asked: its table of sources (``evaluation.sourcetable``), and what metrics.json has of it."""

    table: Table
    metrics: Mapping[str, Any]

    @property
    def classes(self) -> list[str]:
        """K names."""
        return list(self.metrics["classes"])

    @property
    def has_labels(self) -> bool:
        """Whether the true classes are among those of the network."""
        return "label" in self.table.colnames

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) of 0..K-1."""
        return np.asarray(self.table["label"], dtype=np.int64)

    @cached_property
    def probs(self) -> np.ndarray:
        """(N, K), of the upright images with dropout off."""
        return self.of_classes("prob")

    @property
    def temperature(self) -> float | None:
        """What the run divides its logits by in catalogs; None if it has no temperature, as an ensemble has none."""
        return self.metrics.get("run_temperature")

    @cached_property
    def calibrated(self) -> np.ndarray:
        """(N, K), ``probs`` with the run's temperature, if it has one."""
        return np.exp(log_softmax(log_of_mean(self.probs) / (self.temperature or 1.0)))

    def of_classes(self, prefix: str) -> np.ndarray:
        """Returns the probabilities (N, K) of a kind, see ``sourcetable.KINDS``."""
        columns = [self.table[column_name(prefix, name)] for name in self.classes]
        return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)


@dataclass(frozen=True)
class Question:
    """A question: how it is answered, and how the answer is shown on the console, as a table and as a figure.

    Of the functions only ``ask`` sees the test; all others take its answer, as metrics.json has it.
    """

    key: str  # in metrics.json, of its files, and of its section in the report
    title: str
    means: str  # what the answer means, a plain sentence
    fails: str  # and where it misleads
    ask: Callable[[Asked], dict | None]  # JSON-able; None: this test cannot be asked
    says: Callable[[dict], str]  # the answer in a sentence
    rows: Callable[[dict], Sequence[Mapping[str, Any]]]  # a small table: numbers, texts or None, by column
    panels: Callable[[dict], Sequence[Panel]]
    needs_labels: bool = True
