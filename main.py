"""Trains and tests conventional and E(2)-steerable LeNets on radio galaxies: ``python main.py --config FILE``.

What needs torch is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import secrets
import sys
from argparse import Namespace
from dataclasses import dataclass, replace
from itertools import product
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
    from radgal import data, experiment, plots, testing
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
    plots.save_training_curves(progress.history, kept.epoch, folder.path)
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
    print(f"written to {out}: metrics.json, sources.csv, sources.ecsv, confusion.png, roc.png, reliability.png")


def rotate(args) -> None:
    """Measures how the predictions of a trained run depend on the orientation of the source."""
    import models
    from radgal import rotation
    from radgal.checkpoint import load_run
    from radgal.testing import choose_sources, load_test, relocated

    run, device, out = open_run(args)
    test = choose_sources(load_test(run)[0], index=args.index, names=args.source, limit=args.limit)
    choices = dict(
        angles_deg=rotation.angle_range(*args.angles),
        reflections=args.reflections,
        mc_samples=args.mc_samples,
        seed=args.seed,
        device=device,
    )
    found = rotation.run_rotation_test(out, run.model, test, run.mean, run.std, run.classes, **choices)
    print(rotation.describe(found))
    if args.compare:
        other = load_run(args.compare, models.build_from_config, device)
        other = replace(other, config=relocated(other.config, args.datadir))
        theirs = choose_sources(load_test(other)[0], names=found.names)
        against = rotation.sample_rotations(other.model, theirs, other.mean, other.std, other.classes, **choices)
        counts = rotation.write_comparison(out, found, against, (run.config.name, other.config.name))
        for index, count in counts.items():
            numbers = "{n_improved} improved, {n_worsened} worsened, {n_unchanged} within {threshold}".format(**count)
            print(f"{index}, {run.config.name} against {other.config.name}: {numbers}")
    print(f"written to {out}: rotation_sources.csv, rotation_poses.csv, rotation_samples.npz, rotation_figures")


def equivariance(args) -> None:
    """Measures, side by side, how far networks (trained runs, or configs) are from their symmetry."""
    import models
    from radgal import equivariance as measure
    from radgal.checkpoint import load_run
    from radgal.data import load_training_data

    device = pick_device(args.device)
    networks, images, normalization = {}, {}, {}
    for path in args.runs:
        if path.endswith((".txt", ".ini", ".cfg")):
            cfg = read_config(path, [])
            set_seed(cfg.training.seed)
            data = load_training_data(cfg)
            network = models.build_from_config(cfg, data.classes, data.mean, data.std).to(device).eval()
        else:
            run = load_run(path, models.build_from_config, device)
            cfg, network, data = run.config, run.model, load_training_data(run.config)
        name = cfg.name if cfg.name not in networks else path
        networks[name], normalization[name] = network, (data.mean, data.std)
        images[name] = data.train.images[:: max(1, len(data.train) // args.n_images)][: args.n_images]
    rows = measure.run_equivariance(args.out, networks, images, normalization, step_deg=args.step, device=device)
    print(measure.describe(rows))
    print(f"written to {args.out}: equivariance.csv, equivariance_summary.csv, equivariance.png")


def repeat(args) -> None:
    """Trains every config with several seeds, skipping what is finished, and makes the tables."""
    import models
    from radgal import repeat as tables
    from radgal.checkpoint import read
    from radgal.testing import finished_test

    runs = []
    for path, seed in product(args.config, range(args.first_seed, args.first_seed + args.seeds)):
        folder = Path(args.out, Path(path).stem, f"seed_{seed}")
        own = [f"training.seed={seed}", f"metrics.outputdir={folder.as_posix()}"]
        own += [f"output.{key}=None" for key in ("csvfile", "modfile")]
        cfg = read_config(path, [*args.set, *own])
        if finished_test(folder, cfg) is None:
            again = (folder / "last.pt").is_file()
            print(f"{cfg.name}, seed {seed}: {'going on' if again else 'training'} in {folder}", flush=True)
            train(Namespace(config=path, set=[*args.set, *own], dry_run=False, resume=again, no_test=False))
        metrics, table = finished_test(folder, cfg)
        network = models.build_from_config(cfg, tuple(metrics["classes"]), 0.0, 1.0)
        runs.append(
            tables.collect_run(
                cfg.name,
                seed,
                metrics,
                table,
                read(folder / "last.pt")["history"],
                parameters=models.count_parameters(network)[0],
                multiply_adds=models.count_multiply_adds(network, network.imsize),
            )
        )
    tables.write_repeat(args.out, runs)
    print(Path(args.out, "repeat.md").read_text(encoding="utf-8"))
    print(f"written to {args.out}: repeat.md, repeat.tex, repeat.csv, repeat_pairs.csv, learning_curves.png")


def open_run(args):
    """Returns (trained run, device, folder to write to) for the RUN of a command."""
    import models
    from radgal.checkpoint import load_run
    from radgal.testing import relocated

    device = pick_device(args.device)
    run = load_run(args.run, models.build_from_config, device)
    run = replace(run, config=relocated(run.config, args.datadir))
    return run, device, Path(args.out) if args.out else run.folder


COMMANDS = {
    None: train,
    "evaluate": evaluate,
    "rotate": rotate,
    "equivariance": equivariance,
    "repeat": repeat,
}


def main(argv: list[str] | None = None) -> Run | None:
    """Runs one command; see ``python main.py --help``."""
    args = build_parser().parse_args(argv)
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
