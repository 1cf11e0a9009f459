"""``report RUN [RUN ...]``: the page of a run, or of several side by side; with ``--paper``, what a paper takes."""

from __future__ import annotations

from argparse import ArgumentParser

from utils import UserError

HELP = "make the HTML report of a run, or of several side by side; or figures, tables and words for a paper"
EXAMPLE = "report runs/config_mb_lenet runs/config_mb_dn16lenet --out runs/report.html"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="output folders of training runs, or checkpoints in them"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="where to write (default: report.html in the run's folder; of several, in runs)"
    )
    parser.set_defaults(out_kind=((".html", ".htm"), "a report"))
    parser.add_argument(
        "--paper",
        metavar="FOLDER",
        help="write figures (PDF), tables (LaTeX, machine-readable), methods.txt and its BibTeX there, and no page",
    )


def run(args) -> None:
    """Makes the report, or what a paper takes, from what is saved in the run folders."""
    if args.paper is not None:
        _write_paper(args)
        return
    from radgal.report.page import write_report

    path, problems = write_report(args.runs, args.out)
    for problem in problems:
        print(f"note: {problem}")
    print(f"written to {path} ({path.stat().st_size / 1e6:.1f} MB); next: open it in a browser")


def _write_paper(args) -> None:
    from radgal.report.paper.writing import write_paper

    if args.out is not None:
        raise UserError("--out names a page, --paper a folder for a paper: give one of them")
    path, problems = write_paper(args.runs, args.paper)
    for problem in problems:
        print(f"note: {problem}")
    print(f"written to {path}; next: read {path / 'methods.txt'}")
