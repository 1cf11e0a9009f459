"""``equivariance RUN_OR_CONFIG``: how far networks are from the symmetry they are built for."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser
from pathlib import Path

from radgal.commands.common import add_datadir, add_device, read_config, results_folder
from utils import pick_device, set_seed

HELP = "measure equivariance and invariance errors"
EXAMPLE = "equivariance configs/config_first_dn4lenet.txt"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("runs", nargs="+", metavar="RUN_OR_CONFIG", help="trained runs, or configs (untrained)")
    parser.add_argument(
        "--out", metavar="FOLDER", help="where to write (default: the folder of a single run, else runs/equivariance)"
    )
    parser.add_argument("--step", type=float, default=5.0, help="of the grid of angles, degrees (default: 5)")
    parser.add_argument("--n-images", type=int, default=16, help="images to average over (default: 16)")
    add_device(parser)
    add_datadir(parser)


def run(args) -> None:
    """Measures, side by side, how far networks (trained runs, or configs) are from their symmetry."""
    import models
    from radgal.data.datasets import load_training_data
    from radgal.evaluation import equivariance as measure
    from radgal.evaluation.results import relocated
    from radgal.runs.checkpoint import find, load_run
    from radgal.runs.files import RunFile, written_by

    device = pick_device(args.device)
    networks, data_of, folders = {}, {}, []
    for path in args.runs:
        if path.endswith((".txt", ".ini", ".cfg")):
            cfg = relocated(read_config(path, []), args.datadir)
            set_seed(cfg.training.seed)
            data = load_training_data(cfg)
            network = models.build_from_config(cfg, data.classes, data.mean, data.std).to(device).eval()
        else:
            checkpoint = find(path)
            run = load_run(checkpoint, models.build_from_config, device)
            cfg, network = relocated(run.config, args.datadir), run.model
            data = load_training_data(cfg)
            folders.append(results_folder(checkpoint))
        name = cfg.name if cfg.name not in networks else path
        networks[name], data_of[name] = network, data
    images, of_the_same = measure.choose_images(data_of, args.n_images)
    if not of_the_same:
        print("the data sets have no source in common: each network is measured on images of its own")
    normalization = {name: (data.mean, data.std) for name, data in data_of.items()}
    out = Path(args.out or (folders[0] if len(folders) == len(networks) == 1 else "runs/equivariance"))
    choices = dict(step_deg=args.step, device=device, quiet=False)
    rows = measure.run_equivariance(out, networks, images, normalization, **choices)
    print(measure.describe(rows))
    print(f"written to {out}: {written_by('equivariance')}")
    if out in folders:
        print(f"next: python main.py report {shlex.quote(str(out))}")
    else:
        print(f"next: look at {RunFile.EQUIVARIANCE_PNG.at(out)}")
