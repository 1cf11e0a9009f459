"""Where the runs of a ``repeat`` lie in its folder, and which of its files says what they found together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from radgal.runs.files import forbid_leaving
from utils import UserError

PARTS = {"test": "repeat", "validation": "validation"}
"""What runs were compared by -> the stem of the files that say so."""


def folder_of(out: str | Path, recipe: str, seed: int, fold: str | None, is_tested: bool) -> Path:
    """Returns the folder of a run, such as OUT/config_mb_lenet/seed_0/fold_1_of_5."""
    kind = "fold" if is_tested else "val_fold"
    return Path(out, recipe, f"seed_{seed}", f"{kind}_{fold.replace('/', '_of_')}" if fold else "")


@dataclass(frozen=True)
class Place:
    """Where a run lies in a repeat: the JSON of the repeat, and the name of the recipe that the run is of."""

    file: Path
    recipe: str


def place_of(folder: Path) -> Place | None:
    """Returns where in a repeat a run's folder lies; None if by its name it is in none.

    Where runs without folds were first compared by validation and then tested, the test counts.
    """
    folder = folder.resolve()
    fold = re.fullmatch(r"(val_)?fold_\d+_of_\d+", folder.name)
    seed = folder.parent if fold else folder
    if not re.fullmatch(r"seed_\d+", seed.name) or len(seed.parents) < 3:
        return None
    out = seed.parent.parent
    parts = (["validation"] if fold[1] else ["test"]) if fold else ["test", "validation"]
    files = [out / f"{PARTS[part]}.json" for part in parts]
    file = next((one for one in files if one.is_file()), files[0])
    try:
        forbid_leaving(file, out)
    except UserError:
        return None
    return Place(file, seed.parent.name)
