"""Sources that were learned from and are tested on: no result on them counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radgal.data.labeltable import some
from radgal.data.samesource import TWIN_ARCSEC, Sources
from radgal.data.splits import Split
from utils import UserError, counted


def forbid_overlap(test: Split, other: Split | None, role: str) -> None:
    """Raises a UserError if a test source is also in ``other``, the training or validation set, as ``role`` says.

    Both are parts of one data set, which gives every source one name, so the names tell.
    """
    if other is None:
        return
    shared = set(test.names).intersection(other.names)
    if shared:
        raise UserError(
            f"{counted(len(shared), 'source', 'are')} in both the {role} and the test set, such as {min(shared)}; "
            "a test set must have no part in any choice: use a data set whose parts are disjoint"
        )


def trained_on(tested: Sources, learned: Sources) -> dict[str, Any]:
    """Returns how many of so many tested sources were learned from, and their names: for the files of a run."""
    rows = tested.rows_in(learned, TWIN_ARCSEC)
    return {"count": len(rows), "of": len(tested), "names": [tested.names[row] for row in rows]}


def describe_leak(leak: Mapping[str, Any]) -> str | None:
    """Returns a warning if :func:`trained_on` found something."""
    if not leak["count"]:
        return None
    return (
        f"WARNING: the network was trained on {leak['count']} of the {counted(leak['of'], 'test source')} "
        f"({some(leak['names'])}): results on this test set will be too good"
    )
