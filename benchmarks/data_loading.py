"""Share of a VanillaLeNet epoch that crop, rotation and normalization take, beside a PIL-per-image loader.

Usage: python -m benchmarks.data_loading --datadir FOLDER [--mirror FOLDER] [--repeats 5]

Both prepare every training image of MBFRConfident once, in random pose, in batches of 50: this program from one
uint8 tensor on the device, the other with the published recipe of torchvision transforms on PIL images in a
DataLoader. They take turns within one process, after a warm-up, with the same number of threads.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.transforms import InterpolationMode

import models
from radgal.augment import random_poses, to_input
from radgal.data import Split, crop_and_pad
from radgal.mirabest import MBFRConfident
from radgal.train import make_optimizer, train_epoch
from utils import environment

BATCH_SIZE = 50


def pil_loader(datadir: str, mirror: str | None, mean: float, std: float) -> DataLoader:
    """Returns the published way: crop, rotate, to tensor and normalize each PIL image in turn."""
    recipe = transforms.Compose(
        [
            transforms.CenterCrop(150),
            transforms.RandomRotation(360, interpolation=InterpolationMode.BILINEAR),
            transforms.ToTensor(),
            transforms.Normalize([mean], [std]),
        ]
    )
    images = MBFRConfident(datadir, train=True, transform=recipe, download=True, mirror=mirror)
    return DataLoader(images, batch_size=BATCH_SIZE, shuffle=True)


def prepare_batched(split: Split, mean: float, std: float) -> None:
    generator = torch.Generator().manual_seed(0)
    angles, _ = random_poses(len(split), "rotate", generator)
    for rows in torch.randperm(len(split), generator=generator).split(BATCH_SIZE):
        to_input(split.images[rows], mean, std, angles[rows])


def seconds(function) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datadir", default="data")
    parser.add_argument("--mirror")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    images = MBFRConfident(args.datadir, train=True, download=True, mirror=args.mirror)
    mean, std = images.mean, images.std
    split = Split(crop_and_pad(images.data, 150), images.targets, images.names)
    loader = pil_loader(args.datadir, args.mirror, mean, std)
    model = models.build_model("VanillaLeNet", n_classes=2, side=150)
    optimizer = make_optimizer(model, 1e-4, 1e-6)
    common = dict(epoch=1, seed=0, batch_size=BATCH_SIZE, augment="rotate", mean=mean, std=std)
    measured = {
        "batched": lambda: prepare_batched(split, mean, std),
        "PIL": lambda: [batch for batch in loader],
        "epoch": lambda: train_epoch(model, split, optimizer, **common),
    }
    times: dict[str, list[float]] = {name: [] for name in measured}
    for repeat in range(args.repeats + 1):
        for name, function in measured.items():
            spent = seconds(function)
            if repeat:  # the first is the warm-up
                times[name].append(spent)
    median = {name: statistics.median(values) for name, values in times.items()}
    where = environment()
    print(f"{where['processor']}, {where['threads']} threads, torch {where['packages']['torch']}, {len(split)} images")
    for name, values in times.items():
        print(f"{name:<8} median {median[name]:.3f} s  (min {min(values):.3f}, max {max(values):.3f})")
    print(f"crop, rotation and normalization: {100 * median['batched'] / median['epoch']:.1f} % of a training epoch")
    print(f"PIL per image / batched: {median['PIL'] / median['batched']:.1f}")


if __name__ == "__main__":
    main()
