"""``models [NAME]``: the networks that come along, and the card of one; real cutouts to try them on."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser

HELP = "list the trained networks that come along, show the card of one, or write cutouts to try them on"
EXAMPLE = "models; python main.py models fr-d4; python main.py models --example my_cutouts"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="show its card (default: list all)")
    parser.add_argument("--example", metavar="FOLDER", help="write a few real cutouts there, and nothing else")


def run(args) -> None:
    """Lists the networks that come along, shows the card of one, or writes cutouts."""
    from radgal.pretrained import cards, registry
    from utils import UserError

    if args.example is not None:
        if args.name is not None:
            raise UserError("give a NAME, to see its card, or --example FOLDER, to write cutouts, not both")
        write_cutouts(args.example)
        return
    if args.name is not None:
        print(cards.markdown(args.name), end="")
        return
    print(cards.table_text(registry.names()))
    print("next: python main.py models NAME shows the card of one")


def write_cutouts(folder: str) -> None:
    """Writes cutouts to try a network on, and says how."""
    from radgal.data.examples import write_examples
    from radgal.pretrained import registry
    from utils import counted

    rows = write_examples(folder)
    for file, label in rows:
        print(f"  {file}  {label}")
    print(f"written to {folder}: {counted(len(rows), 'cutout')} of FIRST, and whose they are in TERMS.txt")
    name = "fr-d4" if "fr-d4" in registry.names() else "RUN"
    print(f"next: python main.py predict {name} {shlex.quote(folder)} --out catalog.csv")
