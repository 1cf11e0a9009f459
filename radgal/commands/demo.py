"""``demo``: an animation of what a network's feature space does while its input turns."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

from radgal.commands import common
from radgal.progress import progress
from utils import UserError, nearest, nearest_path

HELP = "animate how feature maps turn with the image, and stand still once turned back"
EXAMPLE = (
    "demo --both --out demo.gif; python main.py demo --conventional --image galaxy.png --out strip.png; "
    "python main.py demo runs/config_first_dn4lenet --source 202.155_63.488_1_MiraBest --out run.gif"
)

SOURCE = "159.868_5.604_1_MiraBest"  # FIRSTGalaxyData: an FR II with two lobes, a core and a jet
CROP = 82  # px of 1.8 arcsec: what is shown of a source without a trained run
STRIP_DEG = (0, 30, 90, 180)
SEED = 3
MAX_NAME = 24  # characters of a run's name that have room in the figure


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="what to show (default: an untrained network; two with --both)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--source", metavar="NAME", help=f"of the run's data set, else of FIRSTGalaxyData (default: {SOURCE})"
    )
    what.add_argument("--image", metavar="FILE", help="an image of your own: FITS, PNG, JPEG or NPY")
    common.add_hdu(parser)
    parser.add_argument("--group", metavar="G", help="of the untrained network: C8, D4, ... (default: D16)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--conventional", action="store_true", help="a conventional network, whose maps change")
    which.add_argument("--both", action="store_true", help="both side by side, with the curve of their changes")
    parser.add_argument("--out", metavar="FILE", default="demo.gif", help=".gif, .png, .mp4 or .webm")
    turning = parser.add_mutually_exclusive_group()
    turning.add_argument("--frames", type=int, default=72, help="of the animation (default: 72)")
    turning.add_argument("--step", type=float, help="degrees from one frame to the next, instead of --frames")
    parser.add_argument("--angles", type=float, nargs="+", help="shown in a .png, degrees (default: 0 30 90 180)")
    parser.add_argument("--size", type=int, default=840, help="width of the picture, pixels (default: 840)")
    parser.add_argument("--duration", type=float, default=7.2, help="of the animation, seconds (default: 7.2)")
    parser.add_argument("--cmap", default="magma", help="color map, any of matplotlib's (default: magma)")
    parser.add_argument("--seed", type=int, help=f"of the untrained networks' weights (default: {SEED})")


def run(args) -> None:
    """Computes the fields at every angle, draws them, and prints what the figure says in numbers."""
    from radgal.demo import fieldnetworks, turning
    from radgal.demo import frames as demofigure

    shown_deg, out = args.angles or STRIP_DEG, Path(args.out)
    angles = frame_angles(args, shown_deg)
    group, seed = fieldnetworks.parse_group(args.group or "D16"), SEED if args.seed is None else args.seed
    runs = open_runs(args)
    pixels, name = choose_image(args, runs)
    if runs:
        networks = [fieldnetworks.trained_network(run, label(run)) for run in runs]
        image = turning.prepare_image(pixels, runs[0].preparation.kept_side, name=name)
    else:
        image = turning.prepare_image(pixels, turning.UNTRAINED_SIDE, CROP, name=name)
        networks = [] if args.conventional else [fieldnetworks.steerable_network(group, seed)]
        networks += [fieldnetworks.plain_network(group, seed)] if args.conventional or args.both else []
    bar = partial(progress, quiet=False)
    demos = [turning.run_demo(network, image, angles, partial(bar, what=network.label)) for network in networks]
    frames = demofigure.make_frames(demos, width_px=args.size, cmap=args.cmap)
    demofigure.write_demo(
        frames, out, duration_s=args.duration, shown_deg=shown_deg, progress=partial(bar, what="drawing")
    )
    print(f"{name}: relative change of the stabilized view")
    for result in demos:
        print(f"  {result.label}: {demofigure.exact_text(result)}, {demofigure.percent(result.change.max())} at most")
    print(f"written to {out} ({size_text(out)}); {next_step(args)}")


def size_text(path: Path) -> str:
    """Returns the size of a file, and for a GIF that loads slowly in a web page what makes it smaller."""
    from radgal.demo.frames import MAX_GIF_BYTES

    n_bytes = path.stat().st_size
    large = path.suffix.lower() == ".gif" and n_bytes > MAX_GIF_BYTES
    return f"{n_bytes / 1e6:.2f} MB" + (", less with a smaller --size or fewer --frames" if large else "")


def check(args) -> None:
    """Does nothing if the options go together; before torch is loaded, which takes seconds.

    Raises:
        UserError: if they do not, or a number is out of its range, or the file cannot be written.
    """
    from radgal.figures.style import load_matplotlib

    load_matplotlib()
    from matplotlib import colormaps

    from radgal.demo.formats import SUFFIXES, check_encoder

    args.out_kind = (SUFFIXES, "the demo")
    common.check_runs(args)
    check_encoder(Path(args.out))
    if args.image and not Path(args.image).exists():
        raise UserError(f"{args.image} cannot be read: No such file or directory{nearest_path(args.image)}")
    if args.cmap not in colormaps:
        like = nearest(args.cmap, colormaps)
        raise UserError(
            f"--cmap {args.cmap}: matplotlib has no such color map" + (f"; nearest: {like}" if like else "")
        )
    for option, value, low, high in (
        ("--frames", args.frames, 2, 720),
        ("--step", 5 if args.step is None else args.step, 0.5, 180),
        ("--size", args.size, 240, 2400),
        ("--duration", args.duration, 0.1, 600),
        ("--seed", args.seed or 0, 0, 2**32 - 1),
        *(("--angles", angle, -360, 360) for angle in args.angles or ()),
    ):
        if not low <= value <= high:
            raise UserError(f"{option} {value:g} is not from {low:g} to {high:g}")
    if args.angles and not is_strip(args):
        raise UserError(f"--angles is for a .png, but --out is {args.out}; an animation has --frames or --step")
    if args.hdu is not None and args.image is None:
        raise UserError("--hdu is of the file given by --image, which is not given")
    for option, what in (("group", "group"), ("seed", "weights")):
        if args.runs and getattr(args, option) is not None:
            raise UserError(f"--{option} is for the untrained networks; a RUN has its own {what}")
    if len(args.runs) not in ((0, 2) if args.both else (0, 1)):
        wanted = "two RUNs, a steerable and a conventional one, or none" if args.both else "one RUN or none"
        raise UserError(f"{len(args.runs)} RUNs were given, but {'--both' if args.both else 'the demo'} takes {wanted}")


def is_strip(args) -> bool:
    """Returns whether a .png is asked for, which shows a few angles one below the other."""
    return Path(args.out).suffix.lower() == ".png"


def frame_angles(args, shown_deg) -> list[float]:
    """Returns the angles of the frames, degrees from 0 to below 360; for a .png without a curve only those shown."""
    shown = {angle % 360 for angle in shown_deg} if is_strip(args) else set()
    if shown and not args.both:
        return sorted(shown)
    step = args.step or 360 / args.frames
    angles = shown | {round(i * step, 9) for i in range(int(360 / step + 1e-9))}
    return sorted(angle for angle in angles if angle < 360)


def open_runs(args) -> list:
    """Returns the trained runs to show, the steerable one first.

    Raises:
        UserError: if a run is of the other kind than was asked for, or two do not go together.
    """
    from radgal import api

    runs = [api.open_run(path, device="cpu") for path in args.runs]
    runs.sort(key=lambda run: run.model.symmetry[0] == "e")
    kinds = [run.model.symmetry[0] != "e" for run in runs]
    if args.both and runs and (kinds != [True, False] or len({run.preparation.kept_side for run in runs}) > 1):
        raise UserError("--both needs a steerable and a conventional RUN that take images of the same size")
    if runs and not args.both and kinds[0] == args.conventional:
        name = runs[0].config.model.base
        raise UserError(
            f"{args.runs[0]} is a {name}: "
            + ("leave --conventional out" if args.conventional else "it is not steerable; add --conventional")
        )
    return runs


def label(run) -> str:
    """Returns what the figure calls a run; of a long name the beginning."""
    kind, n = run.model.symmetry
    name = run.config.name
    name = name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
    return f"{name} ({'conventional' if kind == 'e' else f'{kind}{n}-steerable'})"


def choose_image(args, runs: list):
    """Returns the image to turn, uint8 (H, W), and its name.

    Raises:
        UserError: if there is no such source or file.
    """
    from radgal.data.datasets import open_dataset, preprocessing
    from radgal.data.firstgalaxy import FIRSTGalaxyData

    if args.image:
        from radgal.images.reading import read_image

        how = preprocessing(runs[0].config) if runs else {"recipe": FIRSTGalaxyData.recipe}
        return read_image(args.image, hdu=args.hdu, **how).pixels, Path(args.image).name
    wanted, known, name = SOURCE if args.source is None else args.source, [], FIRSTGalaxyData.__name__
    for train in (True, False):
        if runs and args.source is not None:
            name = runs[0].config.data.dataset
            images = open_dataset(runs[0].config, train)
        else:
            images = FIRSTGalaxyData("data", train=train)
        if wanted in images.names:
            return images.data[images.names.index(wanted)].numpy(), wanted
        known += images.names
        if not images.has_test:
            break
    like = nearest(wanted, known)
    raise UserError(f"--source {wanted}: {name} has no such source" + (f"; nearest: {like}" if like else ""))


def next_step(args) -> str:
    """Returns what to try next, as a command."""
    if args.runs:
        return f"see how its predictions turn: python main.py rotate {shlex.quote(args.runs[0])}"
    if args.both:
        return "show a trained network: python main.py demo fr-d4 --out fr-d4.gif"
    return "next to each other: python main.py demo --both --out both.gif"
