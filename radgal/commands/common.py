"""What several commands share: their arguments, the reading of configs, the opening of trained runs."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from utils import UserError


def add_overrides(parser: ArgumentParser) -> None:
    """Adds ``--set``."""
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override keys of the config, such as training.epochs=5",
    )


def add_device(parser: ArgumentParser) -> None:
    """Adds ``--device``."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")


def add_workers(parser: ArgumentParser) -> None:
    """Adds ``--workers`` and ``--scheduler``, see :func:`radgal.tasks.run_tasks`."""
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes to share the work among (default: this one)"
    )
    parser.add_argument(
        "--scheduler",
        metavar="WHERE",
        help="'local' for one worker per core, or a dask scheduler: tcp://host:port, or its scheduler file",
    )


def add_hdu(parser: ArgumentParser) -> None:
    """Adds ``--hdu``, for commands that read FITS images."""
    parser.add_argument("--hdu", metavar="HDU", help="number or EXTNAME of the image in FITS files that hold several")


RUN = "output folder of a training run, a checkpoint in it, or a network that comes along (see models)"


def add_trained_run(parser: ArgumentParser) -> None:
    """Adds RUN and what every command that tests a trained run takes; see :func:`open_run`."""
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="where to write (default: the run's folder; for a checkpoint other than best.pt, a folder of its name)",
    )
    add_device(parser)
    parser.add_argument("--seed", type=int, default=0, help="of rotations and dropout passes (default: 0)")
    parser.add_argument("--mc-samples", type=int, default=100, help="dropout passes per image (default: 100)")
    add_datadir(parser)


def add_datadir(parser: ArgumentParser) -> None:
    """Adds ``--datadir`` and ``--download``."""
    parser.add_argument("--datadir", metavar="FOLDER", help="where the data set lies now, if it has moved")
    parser.add_argument("--download", action="store_true", help="fetch the run's data set if it is not there")


def check_runs(args) -> None:
    """Raises a UserError if a run or config that is named is nowhere, or the folder ``--out`` cannot be written.

    Whatever can be known is said before torch is loaded, which takes seconds. A command whose ``--out`` is a file sets
    ``args.out_kind``: (suffixes, what it is).
    """
    from radgal.config.ini import read_ini
    from radgal.data.labeltable import read_labels
    from radgal.files.outputs import check_new_file, check_new_folder
    from radgal.files.tables import format_of
    from radgal.pretrained.registry import names, no_such_run

    for run in _named(args, "run", "compare", "ensemble", "runs"):
        if not Path(run).exists() and run not in names():
            raise no_such_run(run)
    for table in _named(args, "dataset", "against", "data"):
        if format_of(table) and Path(table).is_file():
            read_labels(table)
    for config in _named(args, "config"):
        read_ini(config)
        _check_table(config, getattr(args, "set", ()))
    if out := getattr(args, "out", None):
        if kind := getattr(args, "out_kind", None):
            check_new_file(out, *kind)
        else:
            check_new_folder(out)


def _named(args, *names: str) -> list[str]:
    """Returns what arguments of these names say, each a text or several."""
    values = [getattr(args, name, None) or [] for name in names]
    return [one for value in values for one in ([value] if isinstance(value, str) else value)]


def _check_table(config: str, overrides: Sequence[str]) -> None:
    """Raises a UserError if a config trains on a table of images that is none."""
    from radgal.config.config import load_config
    from radgal.data.labeltable import read_labels

    try:
        data = load_config(config, overrides).data
    except UserError:  # all mistakes of a config are told together, once the names of networks are known
        return
    if data.dataset == "ImageTable" and data.table:
        read_labels(data.table)


def read_config(path: str | None, overrides: Sequence[str]):
    """Returns the checked config; see :func:`radgal.api.read_config`."""
    from radgal import api

    if path is None:
        raise UserError("nothing to do: give --config FILE (first steps: --config configs/config_first_lenet.txt)")
    return api.read_config(path, overrides)


def results_folder(run) -> Path:
    """Returns where the results of a trained run go: for best.pt, the kept epoch, the run's folder itself.

    Those of another checkpoint go into a folder of its name, so that they are never taken for the result of the run;
    those of a network that comes along, into a folder of its name in runs/.
    """
    from radgal.pretrained.registry import name_of
    from radgal.runs.files import forbid_leaving

    if run.path.name == "best.pt" or name_of(run.path):
        return run.folder
    forbid_leaving(run.path.with_suffix(""), run.folder)
    return run.path.with_suffix("")


def open_run(args):
    """Returns (trained run, folder to write to) for the RUN of a command."""
    from radgal import api

    if not 0 <= args.seed < 2**32:
        raise UserError(f"--seed {args.seed}: must be at least 0 and below {2**32}")
    run = api.open_run(args.run, device=args.device, datadir=args.datadir, download=args.download)
    return run, Path(args.out) if args.out else results_folder(run)
