"""The command line of the benchmarks."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

EXAMPLES = """examples:
  python -m benchmarks --quick                       a check that it works; no measurement
  python -m benchmarks --dataset MBFRConfident --mirror FOLDER --update docs/benchmarks.md   all networks, as published
  python -m benchmarks --imsize 148 --pad 0 --downsample 2 ...   at the size of the recipe of configs/
  python -m benchmarks equality ...                  that both paths are the same function, for C1 to C20 and D1 to D20
  python -m benchmarks growth                        cost against N and against the size of the image
  python -m benchmarks time-to-accuracy --mirror FOLDER --models LeNet   until the paper's error, against 600 epochs
  python -m benchmarks --device cuda --dataset MBFRConfident --mirror FOLDER --full-run"""
BATCH_SIZES = {"LeNet": 50, "C4": 50, "C8": 20, "C16": 10, "D4": 20, "D8": 10, "D16": 10}
GPU_BATCH_SIZE = 50
FULL_RUN_CONFIG = "configs/paper/config_paper_mb_dn16lenet.txt"
TIME_TO_ACCURACY = "time-to-accuracy"
OF_THE_PAPER = ("LeNet", "C16", "D16")
EQUALITY = "equality"
ALL_GROUPS = [f"{kind}{n}" for kind in "CD" for n in range(1, 21)]
PATHS = ("--out", "--update", "--mirror", "--datadir")


def parse(argv: list[str]) -> Namespace:
    """Returns the arguments, with the defaults that depend on others filled in."""
    parser = ArgumentParser(
        prog="python -m benchmarks",
        description="Speed and memory against the published pipeline, measured in one run and in turn.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "what",
        nargs="?",
        choices=("all", EQUALITY, "growth", TIME_TO_ACCURACY),
        default="all",
        help="what to measure (default: all)",
    )
    add("--quick", action="store_true", help="few networks, small images, few repeats")
    add(
        "--models",
        nargs="+",
        metavar="NAME",
        help="LeNet, C<N> or D<N> (default: LeNet to D16, the paper's, or all groups)",
    )
    add("--batch-size", nargs="+", type=int, metavar="N", help="default: 50 to 10, by network; with growth 4")
    add("--imsize", type=int, metavar="PX", help="central pixels that are used (default: 150, with --quick 50)")
    add("--pad", type=int, default=1, metavar="PX", help="rows and columns added (default: 1, as published)")
    add("--downsample", type=int, default=1, metavar="N", help="average N x N pixels, as recipes do (default: 1)")
    add("--threads", type=int, metavar="N", help="of both paths (default: torch's choice)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--precision", nargs="+", metavar="NAME", help="of this program (default: fp32, and bf16 on a GPU)")
    add("--compile", action="store_true", help="compile this program's networks with torch.compile")
    add("--repeats", type=int, metavar="N", help="readings of the clock (default: 5, with --quick 3)")
    add("--epoch-images", type=int, metavar="N", help="of an epoch (default: what takes 4 s, at most all)")
    add("--dataset", metavar="NAME", help="default: FIRSTGalaxyData, which pip brings; of time-to-accuracy MiraBest v1")
    add("--datadir", default="data", metavar="FOLDER", help="of the data (default: data)")
    add("--mirror", metavar="FOLDER", help="where the archives lie")
    add("--full-run", action="store_true", help=f"train {FULL_RUN_CONFIG} to its end, in bf16 and in fp32 (GPU)")
    add("--out", default="runs/benchmarks", metavar="FOLDER", help="for JSON and Markdown (default: runs/benchmarks)")
    add("--update", metavar="FILE", help="put the tables, or the figure, into this Markdown page too")
    args = parser.parse_args(argv)
    for key, usual, quick in (("imsize", 150, 50), ("repeats", 5, 3)):
        if getattr(args, key) is None:
            setattr(args, key, quick if args.quick else usual)
    is_timed = args.what == TIME_TO_ACCURACY
    usual = ["LeNet"] if is_timed else ["LeNet", "C4"]
    of_all = {TIME_TO_ACCURACY: list(OF_THE_PAPER), EQUALITY: ALL_GROUPS}.get(args.what, list(BATCH_SIZES))
    args.models = args.models or (usual if args.quick else of_all)
    for name in args.models:
        if is_timed and name not in OF_THE_PAPER:
            parser.error(f"--models {name}: the paper's errors are of {', '.join(OF_THE_PAPER)}")
        if not re.fullmatch(r"LeNet|[CD][1-9]\d?", name):
            parser.error(f"--models {name}: use LeNet, C<N> or D<N>, such as C8 or D16")
    if is_timed and args.dataset not in (None, "MBFRConfident"):
        parser.error(f"--dataset {args.dataset}: the paper's errors are of MBFRConfident")
    args.dataset = args.dataset or ("MBFRConfident" if is_timed else "FIRSTGalaxyData")
    for key in ("imsize", "downsample", "repeats", "threads", "epoch_images", "batch_size"):
        values = getattr(args, key)
        if any(value < 1 for value in (values if isinstance(values, list) else [1 if values is None else values])):
            parser.error(f"--{key.replace('_', '-')}: at least 1")
    return args


def batch_sizes(args: Namespace, name: str, device_type: str) -> list[int]:
    """Returns the batch sizes to measure a network at."""
    if args.batch_size:
        return args.batch_size
    return [GPU_BATCH_SIZE if device_type == "cuda" else min(BATCH_SIZES.get(name, 10), 10 if args.quick else 50)]


def command_text(argv: list[str]) -> str:
    """Returns the command that was given, without the folders of this machine."""
    words, hide = ["python -m benchmarks"], False
    for word in argv:
        if hide:
            hide = False
        elif word in PATHS:
            hide = True
        elif not word.startswith(tuple(f"{path}=" for path in PATHS)):
            words.append(word)
    return " ".join(words)
