"""``predict RUN IMAGES...``: new images in, a catalog of classes with uncertainties out."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from radgal.commands.common import RUN, add_device, add_hdu, add_workers, check_runs
from radgal.progress import sayer
from utils import UserError, counted, nearest_path

HELP = "classify new images, or positions in a mosaic, and write a catalog with uncertainties"
EXAMPLE = "predict fr-d4 my_cutouts/ --out catalog.csv"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGES",
        help="right after RUN: files, folders or patterns of FITS, PNG, JPEG, NPY",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="the catalog; its suffix says the format: .csv .ecsv .fits .vot .parquet",
    )
    parser.add_argument(
        "--ensemble", action="append", default=[], metavar="RUN", help="a further run to average with; may be repeated"
    )
    where = parser.add_argument_group("positions in a mosaic, in place of IMAGES")
    where.add_argument("--mosaic", metavar="FITS", help="image with a WCS to cut the sources out of")
    where.add_argument("--catalog", metavar="FILE", help="their positions: csv, ECSV, FITS or VOTable")
    where.add_argument("--ra-column", metavar="NAME", help="right ascension, degrees (default: ra)")
    where.add_argument("--dec-column", metavar="NAME", help="declination, degrees (default: dec)")
    where.add_argument("--id-column", metavar="NAME", help="names of the sources (default: id, or else the row)")
    where.add_argument("--las-column", metavar="NAME", help="largest angular size, arcsec (default: las, if there)")
    what = parser.add_argument_group("what is computed")
    what.add_argument("--mc-samples", type=int, default=100, help="dropout passes per image, 0 for none (default: 100)")
    what.add_argument(
        "--rotations", type=int, default=1, help="average over so many rotations, for D_N also mirrored (default: 1)"
    )
    what.add_argument("--overlap", action="store_true", help="also the overlap index over nine rotations (slow)")
    what.add_argument(
        "--priors",
        nargs="+",
        metavar="CLASS=SHARE",
        help="shares of the classes in the survey: FRI=0.7 FRII=0.3",
    )
    what.add_argument("--sets", type=float, metavar="COVERAGE", help="also conformal sets of classes, such as 0.9")
    what.add_argument("--rescale", action="store_true", help="resample FITS images to the training pixel scale")
    add_hdu(what)
    what.add_argument("--seed", type=int, default=0, help="of the dropout passes (default: 0)")
    how = parser.add_argument_group("how")
    how.add_argument("--resume", action="store_true", help="go on where the same command was interrupted")
    how.add_argument("--batch-size", type=int, default=64, help="images at a time (default: 64)")
    how.add_argument("--threads", type=int, default=2, help="that read images (default: 2)")
    how.add_argument("--part-rows", type=int, default=1000, help="rows saved at a time until the end (default: 1000)")
    how.add_argument("--no-page", action="store_true", help="write no page to look at beside the catalog")
    how.add_argument("--quiet", action="store_true", help="print the last lines only")
    add_workers(how)
    add_device(how)


def run(args) -> None:
    """Classifies images with one run or several, and writes the catalog."""
    from radgal.prediction import job as predictjob
    from radgal.prediction.chunk import open_settings
    from radgal.prediction.summary import describe
    from radgal.prediction.survey import describe_sets

    settings = open_settings(
        [args.run, *args.ensemble],
        rotations=args.rotations,
        mc_samples=args.mc_samples,
        overlap=args.overlap,
        seed=args.seed,
        rescale=args.rescale,
        mosaic=args.mosaic,
        priors=args.priors,
        sets=args.sets,
        hdu=args.hdu,
        batch_size=args.batch_size,
        threads=args.threads,
        device=args.device,
        page=not args.no_page,
    )
    out, sources = Path(args.out), args.positions
    if sources is None:
        sources = predictjob.list_sources(args.images, None, out, say=sayer(args.quiet))
    if args.sets and (warning := describe_sets(settings.classes, settings.limits, args.sets)):
        print(warning)
    job = predictjob.plan(settings, sources, out, args.part_rows)
    sayer(args.quiet)(
        f"{counted(len(job.sources), 'image')}, {counted(len(settings.members), 'network')}, parts in {job.folder}"
    )
    summary = predictjob.run_job(
        job,
        resume=args.resume,
        quiet=args.quiet,
        workers=args.workers,
        scheduler=args.scheduler,
    )
    if summary.rows:
        print(describe(summary, settings.classes))
    look = "" if args.no_page else f", and a page to look at: {job.page}"
    print(f"written: {job.out}, how it was made: {job.record}{look}")


def check(args) -> None:
    """Raises a UserError for arguments that do not go together, and for files that cannot be written or read."""
    from radgal.files.tables import FORMATS
    from radgal.images.finding import find_images
    from radgal.prediction.catalog import check_suffix
    from radgal.prediction.positions import COLUMNS, read_positions

    if args.mosaic and args.images:
        raise UserError("give images, or --mosaic with --catalog, not both")
    if bool(args.mosaic) != bool(args.catalog):
        given, lacks = ("--mosaic", "--catalog") if args.mosaic else ("--catalog", "--mosaic")
        raise UserError(f"{given} needs {lacks}: positions are cut out of a mosaic")
    if not args.mosaic and not args.images:
        raise UserError("nothing to predict: name images right after RUN, or give --mosaic and --catalog")
    named = [name for name in ("ra", "dec", "id", "las") if getattr(args, f"{name}_column")]
    if named and not args.mosaic:
        raise UserError(f"--{named[0]}-column names a column of --catalog, which is not given")
    args.out_kind = (FORMATS, "a catalog")
    check_runs(args)
    check_suffix(Path(args.out))
    for place in args.images:
        find_images(place)
    for what in ("mosaic", "catalog"):
        if (path := getattr(args, what)) and not Path(path).exists():
            raise UserError(f"{path} cannot be read as a {what}: No such file or directory{nearest_path(path)}")
    columns = {name: getattr(args, f"{name}_column") for name in COLUMNS}
    args.positions = read_positions(args.catalog, columns, sayer(args.quiet)) if args.catalog else None
