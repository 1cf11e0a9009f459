"""What is measured of one network at one batch size, stock and ours in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks import published
from benchmarks.fresh import in_fresh_process
from benchmarks.timing import compare, interleave, spread
from benchmarks.trainer import Trainer
from radgal.config.keys import TrainingSection
from radgal.data.base import GalaxyImages
from radgal.data.draws import split_indices
from radgal.data.splits import Split
from radgal.images.preparation import Preparation
from radgal.images.transforms import random_poses
from radgal.training.learner import Learner
from radgal.training.loop import Setup, train_epoch, validate
from radgal.training.precision import Precision, choose_precision, compile_for_training

LOADED_IMAGES = 500  # by which loading alone is measured: it is quick, whatever the network


@dataclass
class Bench:
    """One network at one batch size on one device, ready to be measured.

    Args:
        images: the data set.
        preparation: how its images become what the networks read, on either path.
        precision: of this program's path; the stock path is always float32.
        epoch_images: most images of an epoch; the data set may have fewer.
        n_steps: steps per reading of the clock: several on a GPU, where one is short.
    """

    name: str
    batch_size: int
    images: GalaxyImages
    preparation: Preparation
    device: torch.device
    precision: str
    repeats: int
    epoch_images: int
    n_steps: int = 1
    compile: bool = False

    def __post_init__(self) -> None:
        self.side, self.background = self.preparation.side, self.preparation.background
        pixels = self.preparation.crop(self.images.data)
        rows, val_rows = split_indices(self.images.labels, 0.2)
        self.all = Split(pixels, self.images.labels, self.images.names)
        self.loaded_rows = _every(rows, LOADED_IMAGES)
        n_val = max(1, self.epoch_images // 5)
        self.rows, self.val_rows = _every(rows, self.epoch_images - n_val), _every(val_rows, n_val)
        self.on_device = self.all.to(self.device)
        self.batch = self.all.take(_every(rows, self.batch_size)).to(self.device)
        self.x = self.preparation.to_input(self.batch.images)

    def make_trainers(self) -> dict[str, Trainer]:
        """Returns both paths with the same weights."""
        made = {}
        for path in ("stock", "ours"):
            model = published.build(self.name, self.side, stock=path == "stock", background=self.background)
            model = model.to(self.device)
            if made:
                model.load_state_dict(made["stock"].model.state_dict())
            made[path] = Trainer(model, path, choose_precision(self.precision, self.device))
        if self.compile:
            compile_for_training(made["ours"].model, self.x, made["ours"].precision)
        return made

    def measure(self, say: Callable[[str], None]) -> list[dict]:
        """Returns a row per measured thing; times are milliseconds per image."""
        trainers = self.make_trainers()
        labels, batch = self.batch.labels, self.batch_size
        steps = {path: self._repeat(trainer.step, self.x, labels) for path, trainer in trainers.items()}
        passes = {path: self._repeat(trainer.evaluate, self.x) for path, trainer in trainers.items()}
        loading = {"stock": self._load_pil, "ours": self._load}
        epochs = {"stock": lambda: self._stock_epoch(trainers["stock"]), "ours": lambda: self._epoch(trainers["ours"])}
        n_train, n_val = len(self.rows), len(self.val_rows)
        rows = []
        for what, paths, n_images in (
            ("training step", steps, batch * self.n_steps),
            ("evaluation step", passes, batch * self.n_steps),
            ("data loading", loading, len(self.loaded_rows)),
            ("epoch", epochs, n_train + n_val),
        ):
            times = interleave(paths, self.repeats, self.device)
            rows.append(self._head(what, "ms/image") | compare(times, 1e3 / n_images))
            say(line(rows[-1]))
        rows[-1] |= {"training_images": n_train, "validation_images": n_val}
        for row in self._fresh():
            say(line(row))
            rows.append(row)
        return rows

    def _repeat(self, function: Callable, *args) -> Callable[[], None]:
        return lambda: [function(*args) for _ in range(self.n_steps)] and None

    def _head(self, what: str, unit: str) -> dict:
        precision = choose_precision(self.precision, self.device).name
        return {
            "model": self.name,
            "batch_size": self.batch_size,
            "what": what,
            "unit": unit,
            "precision": precision + (", compiled" if self.compile else ""),
        }

    def _loader(self, rows: list[int]) -> DataLoader:
        return published.pil_loader(self.images, rows, self.batch_size, self.preparation)

    def _load_pil(self) -> None:
        for x, labels in self._loader(self.loaded_rows):
            x.to(self.device), labels.to(self.device)

    def _load(self) -> None:
        generator = torch.Generator().manual_seed(0)
        n = len(self.loaded_rows)
        angles, _ = random_poses(n, "rotate", generator)
        order = torch.tensor(self.loaded_rows)[torch.randperm(n, generator=generator)].to(self.device)
        parts = zip(order.split(self.batch_size), angles.to(self.device).split(self.batch_size), strict=True)
        for rows, poses in parts:
            self.preparation.to_input(self.on_device.images[rows], (poses, None))

    def _stock_epoch(self, trainer: Trainer) -> None:
        loaders = (self._loader(rows) for rows in (self.rows, self.val_rows))
        published.run_epoch(trainer.model, trainer.optimizer, *loaders, self.device)

    def _epoch(self, trainer: Trainer) -> None:
        training, validation = (self.on_device.take(rows) for rows in (self.rows, self.val_rows))
        how = TrainingSection(batch_size=self.batch_size, seed=0)
        setup = Setup(how, self.preparation, "rotate", trainer.precision)
        train_epoch(Learner(trainer.model, trainer.optimizer), training, setup, epoch=1)
        validate(trainer.model, validation, setup)

    def _fresh(self) -> list[dict]:
        """Construction and peak memory, in new processes; the first, which may fill a cache, does not count."""
        found: dict[str, list[dict]] = {"stock": [], "ours": []}
        batch = {"x": self.x.cpu(), "labels": self.batch.labels.cpu(), "background": self.background}
        with TemporaryDirectory() as folder:
            torch.save(batch, file := Path(folder, "batch.pt"))
            settings = (file, str(self.device), self.precision, torch.get_num_threads())
            if published.parse_name(self.name)[1] is not None:
                in_fresh_process(self.name, "ours", *settings)
            for _ in range(1 if self.repeats < 5 else 3):
                for path, results in found.items():
                    results.append(in_fresh_process(self.name, path, *settings))
        rows = []
        for what, unit, key, scale in (
            ("construction", "s", "build_s", 1),
            ("peak memory", "GB", "peak_bytes", 1e-9),
            ("peak memory beyond imports", "GB", "beyond_imports_bytes", 1e-9),
        ):
            both = {path: spread([scale * one[key] for one in results]) for path, results in found.items()}
            ratio = both["stock"]["median"] / both["ours"]["median"]
            rows.append(self._head(what, unit) | both | {"ratio": ratio, "ratio_processor_time": None})
        return rows


def seconds_per_image(name: str, side: int, x: Tensor, labels: Tensor) -> float:
    """Returns a rough time of the stock training step: from it follows how many images an epoch may have."""
    trainer = Trainer(published.build(name, side, stock=True).to(x.device), "stock", Precision("fp32", x.device))
    (times,) = interleave({"stock": lambda: trainer.step(x, labels)}, 1, x.device).values()
    return times[0][0] / len(x)


def _every(rows: list[int], n: int) -> list[int]:
    """Returns ``n`` of the rows, spread evenly; all of them if they are fewer."""
    n = min(n, len(rows))
    return [rows[i * len(rows) // n] for i in range(n)]


def line(row: dict) -> str:
    """Returns a row as a line of text."""
    both = ", ".join(f"{path} {row[path]['median']:.3g}" for path in ("stock", "ours"))
    return f"  {row['model']}, batch {row['batch_size']}, {row['what']}: {both} {row['unit']}, ratio {row['ratio']:.2f}"
