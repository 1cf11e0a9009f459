"""``rotate RUN``: how the predictions of a trained run depend on the orientation of the source."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser

from radgal.commands.common import add_trained_run, open_run
from utils import UserError, counted

HELP = "measure how a run's predictions depend on orientation"
EXAMPLE = "rotate runs/config_first_lenet --limit 10"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add_trained_run(parser)
    parser.add_argument(
        "--angles",
        nargs=3,
        type=float,
        metavar=("START", "STOP", "STEP"),
        default=(0, 160, 20),
        help="degrees (default: 0 160 20, as published)",
    )
    parser.add_argument("--reflections", action="store_true", help="also test the mirrored images")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--index", type=int, nargs="+", help="rows of the test set (default: all)")
    which.add_argument("--source", nargs="+", metavar="NAME", help="sources of the test set by name")
    parser.add_argument("--limit", type=int, help="only so many sources, the first of each class in turn")
    parser.add_argument(
        "--figures", type=int, default=10, metavar="N", help="draw the N sources of largest overlap (default: 10)"
    )
    parser.add_argument("--compare", metavar="OTHER_RUN", help="a second run, to count improved and worsened sources")


def open_other(args, run, test):
    """Returns (run to compare with, its images of the same test sources), before anything is computed.

    Raises:
        UserError: if it has other classes, or no test source of ``test``.
    """
    from radgal import api
    from radgal.evaluation.results import load_test

    other = api.open_run(args.compare, device=str(run.device), datadir=args.datadir, download=args.download)
    if other.classes != run.classes:
        raise UserError(
            f"--compare {args.compare}: its classes are {', '.join(other.classes)}, those of {args.run} are "
            f"{', '.join(run.classes)}; compare runs on the same classes"
        )
    theirs, wanted = load_test(other)[0], set(test.names)
    rows = [i for i, name in enumerate(theirs.names) if name in wanted]
    if not rows:
        raise UserError(
            f"--compare {args.compare}: none of its test sources is among those of {args.run}; compare runs on the "
            "same version of a data set"
        )
    return other, theirs.take(rows)


def run(args) -> None:
    """Measures how the predictions of a trained run depend on the orientation of the source."""
    from radgal.evaluation import rotation
    from radgal.evaluation.results import choose_sources, load_test
    from radgal.figures.style import title_of, titled
    from radgal.runs.files import RunFile, written_by

    run, out = open_run(args)
    everything = load_test(run)[0]
    test = choose_sources(everything, index=args.index, names=args.source, limit=args.limit)
    if len(test) < len(everything) and not args.out:
        out = RunFile.LOOK.at(out)  # what was found out about all sources stays where it is
    other, theirs = open_other(args, run, test) if args.compare else (None, None)
    choices = dict(
        angles_deg=rotation.angle_range(*args.angles),
        reflections=args.reflections,
        mc_samples=args.mc_samples,
        seed=args.seed,
    )
    about = title_of(run.checkpoint | {"run": run.config.name})
    with titled(about):
        found = rotation.run_rotation_test(out, run, test, max_figures=args.figures, **choices)
    print(rotation.describe(found))
    if other:
        names = (run.config.name, other.config.name)
        names = names if names[0] != names[1] else (args.run, args.compare)
        against = rotation.sample_rotations(other, theirs, **choices)
        with titled(about):
            counts = rotation.write_comparison(out, found, against, names)
        for index, count in counts.items():
            numbers = "{n_improved} improved, {n_worsened} worsened, {n_unchanged} within {threshold}".format(**count)
            print(f"{index}, {names[0]} against {names[1]}: {numbers}, of {counted(count['n_sources'], 'source')}")
            if "p" in count:
                print(
                    "  by chance of dropout {n_by_chance:.1f} change; beyond it {n_improved_beyond_noise} improved, "
                    "{n_worsened_beyond_noise} worsened; mean change {mean_change:+.4f} [{mean_change_low:+.4f}, "
                    "{mean_change_high:+.4f}], p = {p:.3g}".format(**count)
                )
    drawn = f"({min(args.figures, len(test))} of {counted(len(test), 'source')})"
    print(f"written to {out}: {written_by('rotate')} {drawn}")
    command, what = ("report", run.folder) if out == run.path.parent else ("equivariance", args.run)
    print(f"next: python main.py {command} {shlex.quote(str(what))}")
