"""``label IMAGES --table labels.csv --classes A B``: a local page to label images with, one after another."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from radgal.commands.common import RUN, add_device
from utils import UserError, counted, free_name, printable

HELP = "label images by eye on a local page, with a network's help; or compare two labelers (--agreement)"
EXAMPLE = "label my_cutouts/ --table labels.csv --classes FRI FRII --run fr-d4 --order uncertain"
MOST_CLASSES = 9  # keys 1 to 9


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument(
        "images", nargs="*", metavar="IMAGES", help="files, folders or patterns of FITS, PNG, JPEG, NPY"
    )
    parser.add_argument("--table", metavar="FILE", help="the csv that answers are added to; made if it is not there")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="what an image may be, for the keys 1 to 9")
    parser.add_argument("--run", metavar="RUN", help=f"whose probabilities are shown: {RUN}")
    parser.add_argument(
        "--ensemble", action="append", default=[], metavar="RUN", help="a further run to ask; may be repeated"
    )
    parser.add_argument(
        "--order",
        choices=("random", "uncertain", "different", "disagreement"),
        help="random; what RUN is least sure of; what is least like what is labeled; what the networks disagree on "
        "(default: uncertain with --run, else random)",
    )
    parser.add_argument("--labeler", metavar="NAME", help="who labels (default: the name of the user)")
    parser.add_argument("--seed", type=int, default=0, help="of the random order (default: 0)")
    parser.add_argument("--port", type=int, default=0, help="of the page (default: any that is free)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address of the page")
    parser.add_argument("--agreement", nargs=2, metavar="TABLE", help="say how far two tables agree, and end")
    add_device(parser)


def check(args) -> None:
    """Raises a UserError for arguments that do not go together."""
    from radgal.commands.common import check_runs
    from radgal.files.cells import safe_cell
    from radgal.labeling.answers import check_table
    from radgal.labeling.server import load_bottle

    if args.agreement:
        return
    if not (args.images and args.table and args.classes):
        raise UserError(f"give the images, --table FILE and --classes NAME NAME, such as: {EXAMPLE}")
    classes = [name.strip() for name in args.classes]
    if len(set(classes)) != len(classes) or not 2 <= len(classes) <= MOST_CLASSES or not all(classes):
        raise UserError(f"--classes: two to {MOST_CLASSES} different names are needed, not {', '.join(args.classes)}")
    if odd := [name for name in classes if not name.isprintable() or safe_cell(name) != name]:
        raise UserError(f"--classes: {ascii(odd[0])} cannot be a cell of a csv; choose another name")
    if Path(args.table).suffix.lower() != ".csv":
        raise UserError(f"--table {args.table}: answers are kept in a csv; end its name in .csv")
    if args.ensemble and not args.run:
        raise UserError("--ensemble names further runs beside --run, which is not given")
    if args.order not in (None, "random") and not args.run:
        raise UserError(f"--order {args.order} asks a network: give it by --run, such as --run fr-d4")
    check_runs(args)
    check_table(Path(args.table))
    load_bottle()


def run(args) -> None:
    """Opens the page, and serves it until Ctrl-C."""
    from radgal.labeling import agreement

    if args.agreement:
        print(agreement.describe(agreement.compare(*args.agreement), *args.agreement))
        return
    from getpass import getuser

    from radgal.labeling.answers import opened
    from radgal.labeling.orders import Order
    from radgal.labeling.server import make
    from radgal.labeling.session import Session

    table = Path(args.table)
    paths, opinions = _list_images(args.images), None
    order = args.order or ("uncertain" if args.run else "random")
    with opened(table) as answers:
        if args.run:
            opinions = _ask([args.run, *args.ensemble], paths, args.device)
        session = Session(
            paths,
            answers,
            tuple(name.strip() for name in args.classes),
            printable(args.labeler or getuser()),
            Order(order, len(paths), args.seed, opinions),
            opinions,
        )
        server, address = make(session, args.port)
        done = session.progress()
        print(
            f"{counted(done['all'], 'image')}, {done['done']} answered already; order: {order}; answers go to {table}"
        )
        print(f"open {address} (the address is the key: keep it to yourself); Ctrl-C ends", flush=True)
        _serve(server, address, not args.no_browser)
        print(f"\n{session.progress()['done']} of {done['all']} answered, in {table}")
    split = Path("split.csv")
    split = free_name(split) if split.exists() else split
    print(f"next: python main.py prepare {table} {split} --split 0.2")


def _list_images(places: list[str]) -> list[Path]:
    """Returns the images whose paths a csv can hold; says which are left out."""
    from radgal.images.finding import find_images

    paths = find_images(places, print)
    good = [path for path in paths if str(path).isprintable()]
    if len(good) < len(paths):
        print(f"{counted(len(paths) - len(good), 'image', 'are')} left out: their names hold what no csv can")
    if not good:
        raise UserError("there is no image whose name a csv can hold")
    return good


def _ask(runs: list[str], paths: list[Path], device: str):
    """Returns what the networks say of the images, with a bar."""
    from radgal.labeling.orders import ask
    from radgal.progress import bar

    with bar(len(paths), "asking the network", quiet=False, unit="image") as shown:
        return ask(runs, [str(path) for path in paths], device, shown.update)


def _serve(server, address: str, open_browser: bool) -> None:
    """Serves until Ctrl-C."""
    if open_browser:
        import webbrowser

        webbrowser.open(address)
    from radgal.progress import working

    try:
        with working("", quiet=True):  # nothing is waited for but people
            server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
