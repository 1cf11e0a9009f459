"""``evaluate RUN``: the test set, once, from the kept epoch."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser

from radgal.commands.common import add_trained_run, open_run

HELP = "test a trained run once: upright, under rotations, and averaged over them"
EXAMPLE = "evaluate runs/config_first_lenet"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add_trained_run(parser)
    parser.add_argument("--rotations", type=int, default=20, help="random rotations to average over (default: 20)")


def run(args) -> None:
    """Tests a trained run once, from its best checkpoint."""
    from radgal.evaluation import results
    from radgal.runs.files import written_by

    run, out = open_run(args)
    results.test_run(run, out, rotations=args.rotations, mc_samples=args.mc_samples, seed=args.seed)
    print(f"written to {out}: {written_by('evaluate')}")
    command, what = ("report", run.folder) if out == run.path.parent else ("rotate", args.run)
    print(f"next: python main.py {command} {shlex.quote(str(what))}")
