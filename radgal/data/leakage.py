"""Sources that were learned from and are tested on: no result on them counts.

Two entries are the same source if their positions are within 5 arcsec, or if neither has one, if their names are equal.
Positions are those of a table, or those that the names say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from radgal.config.config import Config
from radgal.data import crossmatch
from radgal.data.datasets import kind_of
from radgal.data.labeltable import some
from radgal.data.sourcenames import Source
from radgal.data.splits import Split, load_test_data, load_training_data
from utils import UserError, reason_of


def in_both(tested: Sequence[Source], learned: Sequence[Source]) -> list[int]:
    """Returns the rows of ``tested``, in ascending order, whose source is also in ``learned``."""
    near = {row for _, row in crossmatch.match([place for _, place in learned], [place for _, place in tested])}
    unplaced = {name for name, place in learned if place is None}
    named = {row for row, (name, place) in enumerate(tested) if place is None and name in unplaced}
    return sorted(near | named)


def forbid_overlap(test: Split, other: Split | None, role: str) -> None:
    """Raises a UserError if a test source is also in ``other``, the training or validation set, as ``role`` says.

    Both are parts of one data set, which gives every source one name, so the names tell.
    """
    if other is None:
        return
    shared = in_both([(name, None) for name in test.names], [(name, None) for name in other.names])
    if shared:
        raise UserError(
            f"{len(shared)} sources are in both the {role} and the test set, such as "
            f"{min(test.names[row] for row in shared)}; "
            "a test set must have no part in any choice: use a data set whose parts are disjoint"
        )


def find_overlap(source: Config, config: Config) -> list[str]:
    """Returns a warning, in a list, if test sources of ``config`` are among those that ``source`` was trained on."""
    offline = source.data.model_copy(update={"download": False})
    try:
        learned, tested = _sources(replace(source, data=offline), train=True), _sources(config, train=False)
    except UserError as error:
        return [f"note: whether it was trained on sources of the test set cannot be checked: {reason_of(error)}"]
    rows = in_both(tested, learned)
    if not rows:
        return []
    return [
        f"WARNING: it was trained on {len(rows)} of the {len(tested)} test sources "
        f"({some(tested[row][0] for row in rows)}): results on this test set will be too good"
    ]


def _sources(config: Config, train: bool) -> list[Source]:
    """Returns the sources of a part; those of a table also if its images are no longer there."""
    kind = kind_of(config)
    if train and (config.data.also or config.data.leave_out or config.data.train_on == "all"):
        learned = load_training_data(config).sources
        return list(zip(learned.names, learned.positions, strict=True))
    if config.data.fold is None:
        return kind.sources(config, train)
    places = dict(kind.sources(config, True) + kind.sources(config, False))
    if train:
        data = load_training_data(config)
        names = [*data.train.names, *(data.val.names if data.val else ())]
    else:
        names = load_test_data(config).names
    return [(name, places[name]) for name in names]
