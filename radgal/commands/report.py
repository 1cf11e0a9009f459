"""``report RUN [RUN ...]``: the page of a run, or of several side by side."""

from __future__ import annotations

from argparse import ArgumentParser

HELP = "make the HTML report of a run, or of several side by side"
EXAMPLE = "report runs/config_mb_lenet runs/config_mb_dn16lenet --out runs/report.html"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="output folders of training runs, or checkpoints in them"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="where to write (default: report.html in the run's folder; of several, in runs)"
    )


def run(args) -> None:
    """Makes the report from what is saved in the run folders."""
    from radgal.report.page import write_report

    path, problems = write_report(args.runs, args.out)
    for problem in problems:
        print(f"note: {problem}")
    print(f"written to {path} ({path.stat().st_size / 1e6:.1f} MB); next: open it in a browser")
