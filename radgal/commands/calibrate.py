"""``calibrate RUN --folds FOLDER``: a temperature for a run without validation sources, from a cross-validation."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from radgal.commands.common import RUN, add_device

HELP = "give a run calibrated probabilities and conformal sets, from a cross-validation of its recipe"
EXAMPLE = "calibrate runs/config_mb_lenet --folds runs/repeat"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument(
        "--folds", metavar="FOLDER", required=True, help="of `repeat --folds` with the config of RUN and nothing else"
    )
    add_device(parser)


def run(args) -> None:
    """Stores the temperature of the sources that no network of a fold had seen, and says where recipes differ."""
    from radgal import api
    from radgal.evaluation import crossvalidation
    from radgal.evaluation.conformal import fewest
    from radgal.evaluation.elsewhere import learned_sources
    from radgal.pretrained.registry import name_of
    from radgal.runs import finished
    from utils import UserError

    run, folder = api.open_run(args.run, device=args.device), Path(args.folds)
    if name_of(run.path):
        raise UserError(f"{args.run} comes along, and its file stays as it is; see `models {args.run}`")
    folds = crossvalidation.read_folds(folder)
    for difference in folds.differences(run.config):
        print(f"warning: the recipe of the folds is another one: {difference}")
    ended = finished.find(run.path.parent)
    run = crossvalidation.calibrate(run, folds, learned_sources(run).names)
    if run.path.name == "best.pt":
        finished.mark_again(run.path.parent, ended)
    found = run.calibration
    print(f"temperature {run.temperature:.3f} [{found['low']:.3f}, {found['high']:.3f}], from {found['on']}")
    for name, scores in zip(run.classes, found["scores"], strict=True):
        few = f", too few for sets of 0.9 without it: {fewest(0.9)} are needed" if len(scores) < fewest(0.9) else ""
        print(f"  {len(scores)} of {name}{few}")
    print(f"written to {run.path}; next: python main.py evaluate {args.run}")
