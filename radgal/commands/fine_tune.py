"""``fine-tune RUN``: trains the network of a config on its images, starting from a trained run."""

from __future__ import annotations

from argparse import ArgumentParser

from radgal.commands import train
from radgal.commands.common import RUN, add_overrides

HELP = "train on other images, starting from the weights of a trained run"
EXAMPLE = "fine-tune runs/config_mb_lenet --config mine.txt --freeze-epochs 5"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument(
        "-C", "--config", metavar="FILE", required=True, help="what to train on; the same [model] as RUN's"
    )
    parser.add_argument(
        "--freeze-epochs", type=int, default=0, metavar="K", help="train the last layer only for K epochs (default: 0)"
    )
    add_overrides(parser)
    train.add_choices(parser)


def run(args):
    """Trains a config from a run's weights, with that run's normalization unless the config gives another."""
    from radgal import api

    options = dict(freeze_epochs=args.freeze_epochs, overrides=args.set, **train.choices(args))
    return train.or_how_to_go_on(args, lambda: api.fine_tune(args.run, args.config, **options))
