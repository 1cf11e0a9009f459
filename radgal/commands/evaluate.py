"""``evaluate RUN``: the test set, once, from the kept epoch; or another data set, or several runs averaged."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser
from pathlib import Path

from radgal.commands.common import add_trained_run, open_run, results_folder

HELP = "test a trained run once: upright, under rotations, and averaged over them"
EXAMPLE = "evaluate runs/config_first_lenet"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add_trained_run(parser)
    parser.add_argument("--rotations", type=int, default=20, help="random rotations to average over (default: 20)")
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="test on another data set, NAME:test for its test part only, or a table of images; "
        "what the run was trained on is left out",
    )
    parser.add_argument(
        "--ensemble", action="extend", nargs="+", default=[], metavar="RUN", help="further runs to average with"
    )

    parser.add_argument(
        "--priors",
        nargs="+",
        metavar="CLASS=SHARE",
        help="shares of the classes in a survey, such as FRI=0.7 FRII=0.3, that purity is corrected for",
    )
    parser.add_argument(
        "--against",
        nargs="+",
        metavar="NAME",
        help="how well the run can tell the sources of these data sets or tables, or 'blank' fields of noise, from its "
        "test sources or those of --dataset",
    )


def runs_of(args, run) -> list:
    """Returns the run, and those that it is averaged with."""
    from radgal import api

    return [run, *(api.open_run(one, device=args.device, datadir=args.datadir) for one in args.ensemble)]


def test_against(args, run, out: Path) -> None:
    """Tells how well a run, or several averaged, can tell odd sources."""
    from radgal.evaluation import against
    from radgal.runs.files import RunFile, written_by

    if args.ensemble and not args.out:
        out = RunFile.ENSEMBLE.at(out)
    out.mkdir(parents=True, exist_ok=True)
    choices = dict(dataset=args.dataset, mc_samples=args.mc_samples, seed=args.seed)
    print(against.describe(against.test_against(runs_of(args, run), out, args.against, **choices)))
    print(f"written to {out}: {written_by('evaluate --against')}")
    print(f"next: python main.py report {shlex.quote(str(out))}")


def test_elsewhere(args, run) -> None:
    """Tests a run, or several averaged, on another data set or on their own, in a folder of its name."""
    from radgal.evaluation import elsewhere
    from radgal.files.tables import file_name
    from radgal.runs.files import RunFile, written_by

    out = results_folder(run)
    if args.ensemble:
        out = RunFile.ENSEMBLE.at(out)
    if args.dataset:
        out = RunFile.OTHER.at(out) / file_name(args.dataset.replace(":", "_"))
    out = Path(args.out) if args.out else out
    out.mkdir(parents=True, exist_ok=True)
    choices = dict(rotations=args.rotations, mc_samples=args.mc_samples, seed=args.seed, priors=priors_of(args, run))
    elsewhere.test_elsewhere(runs_of(args, run), out, dataset=args.dataset, **choices)
    print(f"written to {out}: {written_by('evaluate')}")
    print(f"next: python main.py report {shlex.quote(str(out))}")


def priors_of(args, run) -> list[float] | None:
    """Returns the shares that --priors gives for the classes of a run; None without it."""
    from radgal.evaluation.priors import read_priors

    return None if args.priors is None else read_priors(args.priors, run.classes)


def run(args) -> None:
    """Tests a trained run once, from its best checkpoint."""
    from radgal.evaluation import results
    from radgal.runs.files import written_by

    run, out = open_run(args)
    if args.against:
        test_against(args, run, out)
        return
    if args.dataset or args.ensemble:
        test_elsewhere(args, run)
        return
    choices = dict(rotations=args.rotations, mc_samples=args.mc_samples, seed=args.seed)
    results.test_run(run, out, priors=priors_of(args, run), **choices)
    print(f"written to {out}: {written_by('evaluate')}")
    print(f"next: python main.py report {shlex.quote(str(out))}")
