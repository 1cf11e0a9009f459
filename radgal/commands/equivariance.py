"""``equivariance RUN_OR_CONFIG``: how far networks are from the symmetry they are built for."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser
from dataclasses import replace
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


def is_config(path: str) -> bool:
    """Returns whether a path names a config, and not a trained run."""
    return path.endswith((".txt", ".ini", ".cfg"))


def open_network(path: str, device: str, datadir: str | None, download: bool):
    """Returns (classifier, config, training data) of a trained run, or of a config, with fresh weights."""
    import models
    from radgal import api
    from radgal.classifier import Classifier
    from radgal.data.splits import load_training_data
    from radgal.evaluation.results import relocated

    if not is_config(path):
        run = api.open_run(path, device=device, datadir=datadir, download=download)
        return run, run.config, load_training_data(run.config)
    cfg, where = relocated(read_config(path, []), datadir), pick_device(device)
    set_seed(cfg.training.seed)
    data = load_training_data(cfg)
    model = models.build_from_config(cfg, data.classes, data.preparation).to(where)
    network = Classifier(model=model, classes=data.classes, preparation=data.preparation, device=where)
    return network, cfg, data


def run(args) -> None:
    """Measures, side by side, how far networks (trained runs, or configs) are from their symmetry."""
    from radgal.evaluation import equivariance as measure
    from radgal.figures.style import titled
    from radgal.runs.files import RunFile, written_by

    networks, data_of, folders = {}, {}, []
    for path in args.runs:
        network, cfg, data = open_network(path, args.device, args.datadir, args.download)
        if not is_config(path):
            folders.append(results_folder(network))
        name = cfg.name if cfg.name not in networks else path
        networks[name], data_of[name] = replace(network, quiet=False), data
    images, of_the_same = measure.choose_images(data_of, args.n_images)
    if not of_the_same:
        print("the data sets have no source in common: each network is measured on images of its own")
    out = Path(args.out or (folders[0] if len(folders) == len(networks) == 1 else "runs/equivariance"))
    about = ", ".join(dict.fromkeys(f"{data.dataset} {data.version}" for data in data_of.values()))
    with titled(about):
        rows = measure.run_equivariance(out, networks, images, step_deg=args.step)
    print(measure.describe(rows))
    print(f"written to {out}: {written_by('equivariance')}")
    if out in folders:
        print(f"next: python main.py report {shlex.quote(str(out))}")
    else:
        print(f"next: look at {RunFile.EQUIVARIANCE_PNG.at(out)}")
