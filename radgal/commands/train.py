"""``python main.py --config FILE``: trains the network of a config and tests its kept epoch once."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radgal.commands.common import add_overrides, read_config
from utils import environment, pick_device, sayer, set_seed, write_json


@dataclass
class Run:
    """What ``main`` returns for a training run: after ``%run main.py ...`` a notebook has it as ``run``."""

    config: Any
    model: Any
    history: list[dict]
    metrics: dict | None
    folder: Path


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of a training run, which are those of main.py without a command."""
    parser.add_argument("--config", metavar="FILE", help="INI file that says what to train; see configs/README.md")
    add_overrides(parser)
    parser.add_argument("--dry-run", action="store_true", help="check everything and build the network; do not train")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the config's output folder")
    parser.add_argument("--no-test", action="store_true", help="do not evaluate the test set at the end")


def run(args) -> Run:
    """Trains the network of a config, keeps its best epoch, and tests that once."""
    import models
    from radgal import data, experiment, plots, testing
    from radgal.checkpoint import load_run
    from radgal.config import describe
    from radgal.precision import choose_precision
    from radgal.runfolder import RunFolder

    cfg = read_config(args.config, args.set)
    say = sayer(cfg.model.quiet)
    say(describe(cfg))
    folder, device = RunFolder(cfg), pick_device(cfg.training.device)
    precision = choose_precision(cfg.training.precision, device)
    set_seed(cfg.training.seed)

    images = data.load_training_data(cfg)
    say(data.describe(images))
    model = models.build_from_config(cfg, images.classes, images.mean, images.std)
    say(models.summary_text(model))
    if warning := models.equivariance_warning(model):
        say(warning)
    if args.dry_run:
        say(f"nothing is wrong with {args.config}; a run on {device} in {precision.name} would write to {folder.path}")
        return Run(cfg, model, [], None, folder.path)

    say(f"training on {device} in {precision.name}, writing to {folder.path}")
    images = images.to(device)
    progress = experiment.run_epochs(model.to(device), images, cfg, folder, resume=args.resume, say=say)
    kept = load_run(folder.best, models.build_from_config, device)
    folder.write_config(cfg)
    origin = experiment.provenance(images, device, precision)
    write_json(folder.path / "environment.json", environment() | origin)
    plots.save_training_curves(progress.history, kept.epoch, folder.path)
    metrics = None if args.no_test else testing.test_run(kept, folder.path, device=device, say=say, training=images)
    print(experiment.last_line(progress, kept.epoch, images, metrics, folder))
    return Run(cfg, kept.model, progress.history, metrics, folder.path)
