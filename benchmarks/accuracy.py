"""Time to accuracy: how long the recipe trains until it errs no more than the paper's network, against 600 epochs."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import models
from benchmarks import published
from benchmarks.timing import spread
from benchmarks.trainer import DECAY, LR
from radgal.api import read_config
from radgal.classifier import Classifier
from radgal.config.config import Config
from radgal.data.base import GalaxyImages
from radgal.data.draws import split_indices
from radgal.data.splits import Split, TrainingData, load_test_data, load_training_data
from radgal.evaluation.evaluate import score_rotated
from radgal.figures.style import color_of, new_figure, save_figure, style
from radgal.images.preparation import Preparation
from radgal.training.learner import Learner, make_learner
from radgal.training.loop import Progress, Setup, fit
from radgal.training.precision import choose_precision
from utils import set_seed

PAPER = {"LeNet": 0.0596, "C16": 0.0393, "D16": 0.0344}  # rotated test errors of Scaife & Porter 2021
CONFIGS = {name: f"configs/config_mb_{of}lenet.txt" for name, of in (("LeNet", ""), ("C16", "cn16"), ("D16", "dn16"))}
SEEDS, N_TESTS, BATCH_SIZE_PUBLISHED, EPOCHS_PUBLISHED = 3, 20, 50, 600


@dataclass
class Trained:
    """A network of one seed as it is trained, with the seconds that this took, tests not among them."""

    seed: int
    learner: Learner
    data: TrainingData
    epochs: Iterator
    seconds: float

    def advance(self) -> None:
        """Trains one epoch."""
        started = time.perf_counter()
        next(self.epochs)
        self.seconds += time.perf_counter() - started

    def error(self, test: Split, device: torch.device) -> float:
        """Returns the mean test error over 20 random rotations."""
        with self.learner.as_kept():
            classifier = Classifier(
                model=self.learner.model,
                classes=self.data.classes,
                preparation=self.data.preparation,
                device=device,
            )
            return score_rotated(classifier, test)[0]["error"]["mean"]


def begin(config: Config, device: torch.device) -> Trained:
    """Returns the network of a config before its first epoch; reading the data and building count as training."""
    started = time.perf_counter()
    set_seed(config.training.seed)
    data = load_training_data(config)
    model = models.build_from_config(config, data.classes, data.preparation).to(device)
    data, learner = data.to(device), make_learner(model, config.training)
    precision = choose_precision(config.training.precision, device)
    setup = Setup(config.training, data.preparation, config.data.augment, precision)
    epochs = fit(learner, data, setup, progress=Progress())
    return Trained(config.training.seed, learner, data, epochs, time.perf_counter() - started)


def measure_recipe(
    config: str | Path, overrides: Sequence[str], target: float, device: torch.device, say: Callable[[str], None]
) -> dict:
    """Trains three seeds of a config side by side, tests them as they go, and returns when they reached the target.

    All are trained to their end, where the rate has come down; the target may be reached before.

    Args:
        config: the recipe.
        overrides: SECTION.KEY=VALUE.
        target: mean error over the seeds and 20 random rotations of each test source.
    """
    configs = [read_config(config, [*overrides, f"training.seed={seed}"]) for seed in range(SEEDS)]
    n_epochs = configs[0].training.epochs
    runs, test, curve = [begin(one, device) for one in configs], load_test_data(configs[0]), []
    for epoch in range(1, n_epochs + 1):
        for run in runs:
            run.advance()
        if epoch % max(1, n_epochs // N_TESTS) == 0 or epoch == n_epochs:
            errors = [run.error(test, device) for run in runs]
            row = {"epoch": epoch, "seconds": float(np.mean([run.seconds for run in runs])), "errors": errors}
            curve.append(row | {"error": float(np.mean(errors))})
            say(f"  epoch {epoch} of {n_epochs}, {row['seconds']:.0f} s a network: error {100 * np.mean(errors):.2f} %")
    reached = next((row for row in curve if row["error"] <= target), None)
    return {"epochs": n_epochs, "target": target, "reached": reached, "end": curve[-1], "curve": curve}


def stock_epoch(name: str, images: GalaxyImages, n_images: int | None, device: torch.device) -> float:
    """Returns the seconds of an epoch of the published pipeline: 150 px and one row and column more, batches of 50.

    Args:
        images: the training file.
        n_images: how many are timed, if not all; the seconds are those of all.
    """
    how = Preparation(images.mean, images.std, 150, 1)
    model = published.build(name, how.side, stock=True, background=how.background).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, weight_decay=DECAY)
    training, validation = (torch.tensor(rows) for rows in split_indices(images.labels, 0.2))
    share = min(1.0, (n_images or len(images)) / len(images))
    parts = [rows[torch.randperm(len(rows))[: max(1, round(share * len(rows)))]] for rows in (training, validation)]
    loaders = [published.pil_loader(images, rows.tolist(), BATCH_SIZE_PUBLISHED, how) for rows in parts]
    started = time.perf_counter()
    published.run_epoch(model, optimizer, *loaders, device)
    return (time.perf_counter() - started) * len(images) / sum(map(len, parts))


def measure(images: GalaxyImages, args: Namespace, device: torch.device, say: Callable[[str], None]) -> dict:
    """Returns a row per network; the published pipeline is timed before and after its recipe is trained."""
    overrides = [f"data.datadir='{args.datadir}'", *([f"data.mirror='{args.mirror}'"] if args.mirror else [])]
    overrides += [f"training.device={device}", "model.quiet=True", *(["training.epochs=2"] if args.quick else [])]
    root, rows = Path(__file__).resolve().parent.parent, []
    for name in args.models:
        say(f"{name}: three seeds of {CONFIGS[name]}")
        seconds = [stock_epoch(name, images, args.epoch_images, device)]
        recipe = measure_recipe(root / CONFIGS[name], overrides, PAPER[name], device, say)
        seconds.append(stock_epoch(name, images, args.epoch_images, device))
        rows.append({"model": name, "config": CONFIGS[name], "stock_epoch_seconds": spread(seconds), **recipe})
    return {"time_to_accuracy": rows}


def save_curves(result: dict, path: Path) -> None:
    """Writes the figure: test error against epochs and against minutes; each seed thin, their mean thick."""
    figure = new_figure(10, 4.2)
    left, right = figure.subplots(1, 2, sharey=True)
    style(left, "Test error on MiraBest v1, 20 random rotations", "epoch of the recipe", "error (%)")
    style(right, "the same against time", "minutes of training, a network", "")
    for k, row in enumerate(result["time_to_accuracy"]):
        curve, color, stock = row["curve"], color_of(k), row["stock_epoch_seconds"]["median"] * EPOCHS_PUBLISHED / 60
        errors = 100 * np.array([point["errors"] for point in curve])
        places = ([point["epoch"] for point in curve], [point["seconds"] / 60 for point in curve])
        for axes, x in zip((left, right), places, strict=True):
            axes.plot(x, errors, color=color, linewidth=0.8, alpha=0.5)
            axes.plot(x, errors.mean(axis=1), color=color, linewidth=2, label=row["model"])
            axes.axhline(100 * row["target"], color=color, linestyle=":", label=f"paper, {100 * row['target']:.2f} %")
        right.axvline(stock, color=color, linestyle="--", label=f"published pipeline, {EPOCHS_PUBLISHED} epochs")
    right.set_xscale("log")
    right.xaxis.set_major_formatter("{x:g}")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)
