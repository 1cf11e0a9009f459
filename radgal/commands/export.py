"""``export RUN``: a trained network as a plain convolutional one, in a file that needs none of this program."""

from __future__ import annotations

from argparse import ArgumentParser

from radgal.commands.common import RUN, add_datadir, check_runs

HELP = "write a trained network as TorchScript or ONNX, checked on real images"
EXAMPLE = "export runs/config_first_lenet --format onnx"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--format", choices=("torch", "onnx"), required=True, help="TorchScript, or ONNX (opset 17)")
    parser.add_argument("--out", metavar="FILE", help="where to write (default: exported.pt or .onnx in the run)")
    add_datadir(parser)


SUFFIXES = {"torch": (".pt", ".pth", ".ts"), "onnx": (".onnx",)}


def check(args) -> None:
    """Raises a UserError for a file that cannot be written, and for a run that is nowhere."""
    args.out_kind = (SUFFIXES[args.format], f"a network as --format {args.format}")
    check_runs(args)


def run(args) -> None:
    """Exports a trained run from its best checkpoint."""
    from pathlib import Path

    from radgal import api
    from radgal.prediction import export
    from radgal.runs.files import RunFile, written_by
    from utils import UserError

    trained = api.open_run(args.run, device="cpu", datadir=args.datadir, download=args.download)
    file = {"torch": RunFile.EXPORTED_TORCH, "onnx": RunFile.EXPORTED_ONNX}[args.format]
    path = Path(args.out) if args.out else file.at(trained.folder)
    if path.name in written_by("train").split(", "):
        raise UserError(f"{path.name} is a file of the run itself; give --out another name")
    done = export.export(trained, path, args.format)
    types = "float32" if args.format == "onnx" else "uint8 or float"
    print(f"input: {types} {done['input']}; output: {done['output']}")
    print(
        f"largest difference from the run on {done['n_images']} real images ({done['checked_on']}): "
        f"{done['difference']:.1e} (allowed: {export.TOLERANCE:.0e})"
    )
    print(f"written to {path} ({path.stat().st_size / 1e6:.1f} MB); docs/export.md shows how to use it")
