"""``rotate RUN``: how the predictions of a trained run depend on the orientation of the source."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser
from dataclasses import replace

from radgal.commands.common import add_trained_run, open_run

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
    parser.add_argument("--index", type=int, nargs="+", help="rows of the test set (default: all)")
    parser.add_argument("--source", nargs="+", metavar="NAME", help="sources of the test set by name")
    parser.add_argument("--limit", type=int, help="only the first so many sources")
    parser.add_argument("--compare", metavar="OTHER_RUN", help="a second run, to count improved and worsened sources")


def run(args) -> None:
    """Measures how the predictions of a trained run depend on the orientation of the source."""
    import models
    from radgal import rotation
    from radgal.checkpoint import load_run
    from radgal.testing import choose_sources, load_test, relocated

    run, device, out = open_run(args)
    test = choose_sources(load_test(run)[0], index=args.index, names=args.source, limit=args.limit)
    choices = dict(
        angles_deg=rotation.angle_range(*args.angles),
        reflections=args.reflections,
        mc_samples=args.mc_samples,
        seed=args.seed,
        device=device,
        quiet=run.config.model.quiet,
    )
    found = rotation.run_rotation_test(out, run.model, test, run.mean, run.std, run.classes, **choices)
    print(rotation.describe(found))
    if args.compare:
        other = load_run(args.compare, models.build_from_config, device)
        other = replace(other, config=relocated(other.config, args.datadir))
        theirs = choose_sources(load_test(other)[0], names=found.names)
        against = rotation.sample_rotations(other.model, theirs, other.mean, other.std, other.classes, **choices)
        counts = rotation.write_comparison(out, found, against, (run.config.name, other.config.name))
        for index, count in counts.items():
            numbers = "{n_improved} improved, {n_worsened} worsened, {n_unchanged} within {threshold}".format(**count)
            print(f"{index}, {run.config.name} against {other.config.name}: {numbers}")
    print(f"written to {out}: rotation_sources.csv, rotation_poses.csv, rotation_samples.npz, rotation_figures")
    command = "report" if out == run.folder else "equivariance"
    print(f"next: python main.py {command} {shlex.quote(str(run.folder))}")
