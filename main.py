"""Trains and tests conventional and E(2)-steerable LeNets on radio galaxies: ``python main.py --config FILE``.

What needs torch is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils import UserError, build_parser, environment, pick_device, sayer, set_seed, write_json


@dataclass
class Run:
    """What ``main`` returns for a training run: after ``%run main.py ...`` a notebook has it as ``run``."""

    config: Any
    model: Any
    history: list[dict]
    metrics: dict | None
    folder: Path


def train(args) -> Run:
    """Trains the network of a config, keeps its best epoch, and tests that once."""
    import models
    from radgal import data, experiment, testing
    from radgal.checkpoint import load_run
    from radgal.config import describe
    from radgal.runfolder import RunFolder

    cfg = read_config(args.config, args.set)
    say = sayer(cfg.model.quiet)
    say(describe(cfg))
    folder, device = RunFolder(cfg), pick_device(cfg.training.device)
    set_seed(cfg.training.seed)

    images = data.load_training_data(cfg)
    say(data.describe(images))
    model = models.build_from_config(cfg, images.classes, images.mean, images.std)
    say(models.summary_text(model))
    if warning := models.equivariance_warning(model):
        say(warning)
    if args.dry_run:
        say(f"nothing is wrong with {args.config}; a run on {device} would write to {folder.path}")
        return Run(cfg, model, [], None, folder.path)

    say(f"training on {device}, writing to {folder.path}")
    images = images.to(device)
    progress = experiment.run_epochs(model.to(device), images, cfg, folder, resume=args.resume, say=say)
    kept = load_run(folder.best, models.build_from_config, device)
    folder.write_config(cfg)
    write_json(folder.path / "environment.json", environment() | experiment.provenance(images, device))
    metrics = None if args.no_test else testing.test_run(kept, folder.path, device=device, say=say)
    print(experiment.last_line(progress, kept.epoch, images, metrics, folder))
    return Run(cfg, kept.model, progress.history, metrics, folder.path)


def read_config(path: str | None, overrides: list[str]):
    """Returns the checked config; where it leaves the seed open (None) one is drawn, and recorded with the run."""
    import models
    from radgal.config import load_config
    from radgal.data import DATASETS

    if path is None:
        raise UserError("nothing to do: give --config FILE (first steps: --config configs/config_first_lenet.txt)")
    known = dict(
        models=models.needs_nrot(),
        datasets={name: len(dataset.classes) for name, dataset in DATASETS.items()},
    )
    cfg = load_config(path, overrides, **known)
    if cfg.training.seed is None:
        cfg = load_config(path, [*overrides, f"training.seed={secrets.randbelow(2**31)}"], **known)
    return cfg


def evaluate(args) -> None:
    """Tests a trained run once, from its best checkpoint."""
    from radgal import testing

    run, device, out = open_run(args)
    options = dict(rotations=args.rotations, mc_samples=args.mc_samples, seed=args.seed)
    testing.test_run(run, out, device=device, **options)
    print(f"written to {out}: metrics.json, sources.csv, sources.ecsv")


def open_run(args):
    """Returns (trained run, device, folder to write to) for the RUN of a command."""
    import dataclasses

    import models
    from radgal.checkpoint import load_run
    from radgal.testing import relocated

    device = pick_device(args.device)
    run = load_run(args.run, models.build_from_config, device)
    run = dataclasses.replace(run, config=relocated(run.config, args.datadir))
    return run, device, Path(args.out) if args.out else run.folder


COMMANDS = {None: train, "evaluate": evaluate}


def main(argv: list[str] | None = None) -> Run | None:
    """Runs one command; see ``python main.py --help``."""
    args = build_parser().parse_args(argv)
    if args.command is None and args.config is not None:
        from radgal.e2cnn_compat import check_torch_pair

        check_torch_pair()
    return COMMANDS[args.command](args)


if __name__ == "__main__":
    try:
        run = main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print(
            "interrupted: every finished epoch is on disk; the same command with --resume goes on",
            file=sys.stderr,
        )
        sys.exit(130)
