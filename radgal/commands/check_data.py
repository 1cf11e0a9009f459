"""``check-data``: sources that are twice in a data set or table, or in several of them."""

from __future__ import annotations

from argparse import ArgumentParser

HELP = "list sources that are more than once in data sets or tables, by position and by pixels"
EXAMPLE = "check-data mine.csv MBFRConfident"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument(
        "data", nargs="*", metavar="DATA", help="data sets, or tables of images (default: all published data sets)"
    )
    parser.add_argument("--datadir", default="data", metavar="FOLDER", help="where the archives are (default: data)")
    parser.add_argument("--mirror", metavar="WHERE", help="folder or address to look for the archives first")


def run(args) -> None:
    """Lists the twins of each data set, and counts what is in several."""
    from radgal.data import twins
    from radgal.progress import progress

    names = progress(args.data or twins.WHOLE, "reading data sets", quiet=False)
    checked = [twins.check(name, args.datadir, args.mirror) for name in names]
    for one in checked:
        print("\n".join(one.describe()))
    if len(checked) > 1:
        tested, learned = (lambda one: one.part("test")), (lambda one: one.part("train"))
        print("\n" + twins.count_table(checked, "sources of", lambda one: one.sources, lambda one: one.sources))
        print("\n" + twins.count_table(checked, "test sources of, among those to train on of", tested, learned))
    twice = sum(len(one.sources.pairs()) for one in checked)
    print(f"twins: positions within {twins.TWIN_ARCSEC:g} arcsec, or the same brightest pixels; {twice} pairs in all")
