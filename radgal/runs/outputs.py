"""Where a run writes, checked before it trains: no output on another, on another run's, or on what it reads."""

from __future__ import annotations

import shlex
from pathlib import Path

from radgal.config.config import Config
from radgal.runs.files import RunFile
from utils import UserError

OF_A_RUN = {one.file.lower() for one in RunFile}
SHOW_A_RUN = (RunFile.BEST, RunFile.LAST, RunFile.UNFINISHED, RunFile.CONFIG, RunFile.LOCK)


def check_outputs(config: Config) -> None:
    """Raises a UserError if a path of the config cannot be written to without loss; nothing is written or moved."""
    _check_not_moved(config)
    keyed = {"csvfile": (config.csv_path, RunFile.HISTORY), "modfile": (config.model_path, RunFile.WEIGHTS)}
    for key, (path, default) in keyed.items():
        if problem := _find_problem(config, path, default):
            raise UserError(f"[output] {key} = {str(path)!r}: {problem}; choose another name")
    if config.csv_path.resolve() == config.model_path.resolve():
        raise UserError(f"[output] csvfile and modfile are both {config.csv_path}: give each a name of its own")
    curves = config.output.tensorboard
    if curves is not None and Path(curves).is_file():
        raise UserError(f"[output] tensorboard = {curves!r} is a file; give the name of a folder")


def _find_problem(config: Config, path: Path, default: RunFile) -> str | None:
    """Returns what is wrong with a csv or weights file, which the table has as ``default``; None if nothing is."""
    where, folder = path.resolve(), config.output_dir.resolve()
    if where.is_dir() or where == folder or where in folder.parents:
        return "this is a folder, not a file"
    if where.parent == folder:
        if where.name.lower() in OF_A_RUN - {default.file}:
            return f"the run keeps something else in its {where.name}"
    elif folder in where.parents:
        top = where.relative_to(folder).parts[0].lower()
        if top in OF_A_RUN or top.startswith("earlier."):
            return f"the run's folder {top} is not for it"
    elif where.name.lower() in OF_A_RUN and any(one.at(where.parent).exists() for one in SHOW_A_RUN):
        return "this is a file of another run"
    read = {"the config": config.source, "[data] table": config.data.table, "start_from": config.training.start_from}
    for what, other in read.items():
        if other is not None and Path(other).resolve() == where:
            return f"this is {what}"
    return None


def _check_not_moved(config: Config) -> None:
    """Raises a UserError if the config is the one that a run left in its folder, and the folder is not where it was."""
    if config.source is None or config.source.name != RunFile.CONFIG.file or "metrics.outputdir" in config.overridden:
        return
    folder = config.source.parent
    if any(one.at(folder).exists() for one in SHOW_A_RUN[:3]) and folder.resolve() != config.output_dir.resolve():
        raise UserError(
            f"{config.source} is of the run in {folder}, but says [metrics] outputdir = {str(config.output_dir)!r}: "
            f"the run was moved, or copied. To write to where it is now, add --set {_override(folder)}; to write to "
            f"the other folder, --set {_override(config.output_dir)}"
        )


def _override(folder: Path) -> str:
    return shlex.quote(f"metrics.outputdir={folder.as_posix()}")
