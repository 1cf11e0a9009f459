"""``python main.py --config FILE``: trains the network of a config and tests its kept epoch once."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import ArgumentParser

from radgal.commands.common import add_overrides
from utils import UserError


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of a training run, which are those of main.py without a command."""
    parser.add_argument(
        "-C", "--config", metavar="FILE", help="INI file that says what to train; see configs/README.md"
    )
    add_overrides(parser)
    add_choices(parser)


def add_choices(parser: ArgumentParser) -> None:
    """Adds what every command that trains lets one choose."""
    parser.add_argument("--dry-run", action="store_true", help="check everything and build the network; do not train")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the config's output folder")
    parser.add_argument("--force", action="store_true", help="with --resume: go on even though the config has changed")
    parser.add_argument("--no-test", action="store_true", help="do not evaluate the test set at the end")


def run(args):
    """Trains the network of a config, keeps its best epoch, and tests that once; returns the ``radgal.Run``."""
    from radgal import api

    if args.config is None:
        raise UserError("nothing to do: give --config FILE (first steps: --config configs/config_first_lenet.txt)")
    return or_how_to_go_on(args, lambda: api.train(args.config, overrides=args.set, **choices(args)))


def choices(args) -> dict:
    """Returns what :func:`add_choices` let one choose, as ``radgal.train`` takes it."""
    return dict(resume=args.resume, force=args.force, test=not args.no_test, dry_run=args.dry_run)


def or_how_to_go_on(args, train):
    """Returns ``train()``; if a signal ends it, says how to go on and leaves with the signal's exit code."""
    from radgal.runs.epochs import Interrupted

    try:
        return train()
    except Interrupted as interrupted:
        if interrupted.is_told:
            print(f"{interrupted}; go on with: {_command(args, interrupted.has_state)}", file=sys.stderr)
        raise SystemExit(interrupted.exit_code) from None


def _command(args, has_state: bool) -> str:
    """Returns the command line that goes on with a run that was stopped."""
    program = sys.argv[0] if sys.argv[0].endswith("main.py") else "main.py"
    team = os.environ.get("LOCAL_WORLD_SIZE") if "TORCHELASTIC_RUN_ID" in os.environ else None
    words = ["torchrun", "--nproc-per-node", team, program] if team else ["python", program]
    words += ["--config", str(args.config)] + (["--set", *args.set] if args.set else [])
    words += [word for word, given in (("--no-test", args.no_test), ("--resume", has_state)) if given]
    return shlex.join(words)
