"""``prepare FITS_FOLDER OUT``: FITS to images by a published recipe, with a table that ImageTable reads.

``prepare TABLE OUT --split 0.2`` divides such a table into sources to train on and sources to test on.
"""

from __future__ import annotations

import shlex
from argparse import ArgumentParser

from radgal.commands.common import add_hdu, check_runs
from utils import UserError

HELP = "turn FITS images into what a published data set holds, with a table; or divide a table (--split)"
EXAMPLE = "prepare my_cutouts prepared --like mirabest_v1"
LIKE = {"mirabest_v1": "MiraBest_full", "mirabest_v2": "MiraBest_full_v2", "frdeep": "FRDEEPF"}


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("place", metavar="FITS_FOLDER", help="folder (with those in it), file or quoted pattern")
    parser.add_argument("out", metavar="OUT", help="folder to make; nothing that is there is overwritten")
    parser.add_argument("--like", choices=LIKE, help="whose recipe and pixel scale to follow")
    parser.add_argument(
        "--format", default="png", choices=("png", "npz", "hdf5"), help="a PNG each, or one array (default: png)"
    )
    parser.add_argument("--side", type=int, default=150, help="pixels along each side (default: 150)")
    parser.add_argument("--rescale", action="store_true", help="resample to the data set's pixel scale")
    add_hdu(parser)
    parser.add_argument(
        "--split",
        type=float,
        metavar="FRACTION",
        help="FITS_FOLDER is a table of labeled images: write it to OUT, a csv, with this fraction of each class as "
        "test rows, each source in one part",
    )
    parser.add_argument("--seed", type=int, default=1, help="of --split (default: 1)")


def check(args) -> None:
    """Raises a UserError unless either images are prepared like those of a data set, or a table is divided."""
    from pathlib import Path

    from radgal.data.dividing import read_undivided
    from radgal.images.finding import find_images

    if args.split is None and args.like is None:
        raise UserError(f"--like is needed, one of {', '.join(LIKE)}; or --split FRACTION, to divide a table of images")
    if args.split is not None and (args.like or Path(args.place).is_dir()):
        raise UserError(
            "--split divides a table of labeled images, such as prepare and label write: "
            "prepare TABLE OUT.csv --split 0.2"
        )
    if args.split is not None:
        read_undivided(args.place, args.out, args.split)
        return
    if not 10 <= args.side <= 4096:
        raise UserError(f"--side {args.side}: 10 to 4096 pixels are possible")
    check_runs(args)
    find_images(args.place)


def run(args) -> None:
    """Prepares a folder of FITS images."""
    from pathlib import Path

    from radgal.data import prepare
    from radgal.data.datasets import DATASETS
    from radgal.figures.contactsheet import save_contact_sheet
    from radgal.images.finding import find_images

    if args.split is not None:
        from radgal.data.dividing import divide

        print(f"{divide(args.place, args.out, args.split, args.seed)}\nwritten to {args.out}")
        return
    like = DATASETS[LIKE[args.like]]
    rows = prepare.prepare(
        find_images(args.place, print),
        args.out,
        like=like,
        image_format=args.format,
        side=args.side,
        rescale=args.rescale,
        hdu=args.hdu,
        draw_sheet=save_contact_sheet,
        quiet=False,
    )
    table = Path(args.out, "table.csv").as_posix()
    images = {"png": "images/", "npz": "images.npz", "hdf5": "images.h5"}[args.format]
    print(prepare.describe(rows))
    print(f"written to {args.out}: {images}, table.csv, contact.png (have a look)")
    if args.rescale and args.format != "png":
        print("the table names the FITS files, which are as they were: to train on resampled images, take --format png")
        return
    labels = [row["label"] for row in rows if not row["error"]]
    how = "" if all(labels) else "fill in the column label, then: "
    print(
        f"to train on them: {how}python main.py --config configs/config_mb_lenet.txt --set data.dataset=ImageTable "
        f"{shlex.quote(f'data.table={table}')} data.datamean=None data.datastd=None data.recipe={like.recipe} "
        f"data.pixel_scale={prepare.common_scale(rows)} training.imsize={args.side} "
        f"training.num_classes={max(2, len(set(filter(None, labels))))} metrics.outputdir=runs/own"
    )
