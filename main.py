"""Trains and tests conventional and E(2)-steerable LeNets on radio galaxies: ``python main.py --config FILE``."""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS
from importlib import import_module
from pathlib import Path

from radgal.commands import common, train
from radgal.commands.mistakes import Parser
from radgal.progress import working
from utils import VERSION, UserError, float32_in_full, printable

# Read when torch is loaded: threads that wait for one another spin for a moment only, and then sleep. On a busy machine
# a training step is several times as fast so (docs/benchmarks.md).
os.environ.setdefault("GOMP_SPINCOUNT", "30000")

COMMANDS = (
    "fine-tune",
    "evaluate",
    "calibrate",
    "rotate",
    "equivariance",
    "repeat",
    "report",
    "label",
    "prepare",
    "check-data",
    "predict",
    "models",
    "export",
    "demo",
)
"""Names of modules in radgal/commands (- for _), in the order of ``--help``; without a command, main.py trains."""


def build_parser() -> Parser:
    """Returns the command line: training by default, and the commands that use trained runs."""
    parser = Parser(
        prog="radgal" if Path(sys.argv[0]).stem == "radgal" else "main.py",
        description="Train a conventional or E(2)-steerable LeNet to tell FR I from FR II radio galaxies.",
        epilog="example: python main.py --config configs/config_first_lenet.txt --set training.epochs=5; "
        "`python main.py COMMAND --help` explains a command",
        allow_abbrev=False,
    )
    train.add_arguments(parser)
    parser.add_argument("--version", action="version", version=f"E2CNNRadGal {VERSION}")
    parser.add_argument("--local-rank", "--local_rank", type=int, help=SUPPRESS)  # as torch.distributed.launch gives it
    parser.set_defaults(run_command=train.run, check=common.check_runs)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name in COMMANDS:
        module = import_module(f"radgal.commands.{name.replace('-', '_')}")
        sub = commands.add_parser(
            name,
            help=module.HELP,
            description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
            epilog=f"example: python main.py {module.EXAMPLE}",
            allow_abbrev=False,
        )
        module.add_arguments(sub)
        sub.set_defaults(run_command=module.run, check=getattr(module, "check", common.check_runs))
        sub.main = parser
    parser.commands = commands.choices
    return parser


def main(argv: list[str] | None = None):
    """Runs one command, see ``python main.py --help``; returns the ``radgal.Run`` of a training run, else None."""
    args = build_parser().parse_args(argv)
    for name, value in vars(args).items():
        setattr(args, name, _at_home(value))
    with working(f"{args.command or 'training'} is at work", getattr(args, "quiet", False)):
        args.check(args)
        with float32_in_full():
            return args.run_command(args)


def _at_home(value):
    """Returns an argument, or a list of them, with ~ as the home folder: in --out=~/x a shell leaves it as it is."""
    if isinstance(value, list):
        return [_at_home(one) for one in value]
    return os.path.expanduser(value) if isinstance(value, str) else value


def run_as_program():
    """Returns what ``main`` does; a mistake of the user's, or Ctrl-C, ends the program with one line and a code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's has not, and prints anything
            stream.reconfigure(errors="backslashreplace")  # not every name of a file can be printed as it is
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # who read along has seen enough, as in `| head`
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        sys.exit(141)
    except UserError as error:
        lines = (printable(line) for line in str(error).split("\n"))  # a stranger's name must not steer the terminal
        sys.exit("error: " + "\n".join(lines))
    except KeyboardInterrupt:
        print(
            "interrupted: what is finished is on disk; give the same command again, with --resume where it has that",
            file=sys.stderr,
        )
        sys.exit(130)


def console() -> None:
    """The command ``radgal`` of an installed copy, whose exit code would be what is returned."""
    run_as_program()


if __name__ == "__main__":
    made = run_as_program()
    if made is not None:  # after %run, a notebook has it; a command that makes none leaves the one that is there
        run = made
    del made
