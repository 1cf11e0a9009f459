"""Test error against the number of labels, for a simulated labeler.

``python -m benchmarks.labels RUN --datadir DATA``: the labeler knows MiraBest's labels, and labels training sources of
MBFRConfident. RUN is a network that has learned from none of MiraBest's sources (docs/from_cutouts_to_catalog.md has
the command that makes it). Four ways: images in a random order or the most uncertain first, networks from scratch or
fine-tuned from RUN; the same first labels for all four. Tested on the test set of MBFRConfident, which none has seen
either. Writes a csv, and a figure beside it.
"""

from __future__ import annotations

import argparse
import csv
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import models
from radgal import open_run
from radgal.classifier import Classifier, softmax
from radgal.data.datasets import DATASETS
from radgal.evaluation.probabilities import entropy
from radgal.figures.style import new_figure, save_figure
from utils import float32_in_full, set_seed

DATASET = "MBFRConfident"
SIZES = (20, 40, 80, 160, 320)
BATCH, RATE, DECAY = 25, 1e-3, 0.05
COLUMNS = ("seed", "start", "order", "labels", "errors", "tested")


def load(name: str, train: bool, datadir: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the images uint8 (N, 150, 150) and the classes (N,), 0 FR I and 1 FR II, of a part of a data set."""
    part = DATASETS[name](datadir, train=train, download=False)
    return torch.as_tensor(np.asarray(part.data)), torch.as_tensor(part.targets)


def train(run: Classifier, x: torch.Tensor, y: torch.Tensor, steps: int, from_scratch: bool) -> Classifier:
    """Returns a network trained on images (N, 1, S, S), turned and mirrored at random, by the recipe of the configs.

    As many steps for few labels as for many: a few epochs of 20 images would leave a new network where it was.
    """
    side = run.preparation.side
    if from_scratch:
        model = models.build_model("VanillaLeNet", n_classes=2, side=side, background=run.preparation.background)
    else:
        model = deepcopy(run.model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.15)
    model.train()
    for step in range(steps):
        if step % -(-len(x) // BATCH) == 0:
            batches = iter(torch.randperm(len(x)).split(BATCH))
        rows = next(batches)
        poses = (360 * torch.rand(len(rows)), torch.rand(len(rows)) < 0.5)
        loss = F.cross_entropy(model(run.preparation.to_input(x[rows], poses)), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return Classifier(model=model.eval(), classes=run.classes, preparation=run.preparation)


def wrong(network: Classifier, x: torch.Tensor, y: torch.Tensor) -> int:
    """Returns how many images get a wrong class."""
    return int((network.logits(x).argmax(1) != y.numpy()).sum())


def curve(run: Classifier, pool, test, order: str, start: str, seed: int, steps: int):
    """Yields (number of labels, test errors) as more of the pool is labeled."""
    x, y = pool
    known = np.random.default_rng(seed).permutation(len(x))
    labeled, waiting = known[: SIZES[0]].tolist(), known[SIZES[0] :].tolist()
    network = run
    for size in SIZES:
        if size > len(labeled):
            if order == "uncertain":
                doubt = entropy(softmax(network.logits(x[waiting])))
                waiting = [waiting[i] for i in np.argsort(-doubt, kind="stable")]
            n = size - len(labeled)
            labeled, waiting = labeled + waiting[:n], waiting[n:]
        set_seed(1000 * seed + size)
        network = train(run, x[labeled], y[labeled], steps, start == "scratch")
        yield size, wrong(network, *test)


def draw(rows: list[dict], path: Path) -> None:
    """Draws the mean over seeds of each way, with the spread of the seeds."""
    figure = new_figure(5.0, 3.4)
    axis = figure.subplots()
    for start, color in (("scratch", "C0"), ("fine-tuned", "C1")):
        for order, style in (("random", "o-"), ("uncertain", "s--")):
            mine = [row for row in rows if (row["start"], row["order"]) == (start, order)]
            sizes = sorted({row["labels"] for row in mine})
            values = [[100 * r["errors"] / r["tested"] for r in mine if r["labels"] == size] for size in sizes]
            mean, sd = np.array([(np.mean(v), np.std(v, ddof=1) if len(v) > 1 else 0) for v in values]).T
            where = "from scratch" if start == "scratch" else start
            axis.errorbar(sizes, mean, sd, fmt=style, color=color, capsize=2, markersize=4, label=f"{order}, {where}")
    before = next(100 * row["errors"] / row["tested"] for row in rows if not row["labels"])
    axis.axhline(before, color="C1", linestyle=":", label="before fine-tuning")
    axis.set(xscale="log", xlabel="labels", ylabel="test error, %", ylim=(0, None), xticks=SIZES)
    axis.set_xticks(SIZES, [str(size) for size in SIZES])
    axis.minorticks_off()
    axis.legend(fontsize=7)
    axis.set_title(f"simulated labeling of {DATASET}", fontsize=8)
    save_figure(figure, path)


@float32_in_full()
def main(words: list[str] | None = None) -> None:
    """Measures the curves and writes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder of the network to fine-tune, which has learned from no source of MiraBest")
    parser.add_argument("--datadir", required=True, help="where the archive of MiraBest is, or is to be")
    parser.add_argument("--out", default="docs/figures/label_curve.csv")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600, help="of each training, whatever the number of labels")
    args = parser.parse_args(words)
    run, out, rows = open_run(args.run, device="cpu"), Path(args.out), []
    pool, test = (load(DATASET, train, args.datadir) for train in (True, False))
    pool, test = ((run.preparation.crop(x), y) for x, y in (pool, test))
    rows.append(dict(zip(COLUMNS, ("", "fine-tuned", "", 0, wrong(run, *test), len(test[1])), strict=True)))
    for seed in range(args.seeds):
        for start in ("scratch", "fine-tuned"):
            for order in ("random", "uncertain"):
                for size, errors in curve(run, pool, test, order, start, seed, args.steps):
                    rows.append(dict(zip(COLUMNS, (seed, start, order, size, errors, len(test[1])), strict=True)))
                    print(*rows[-1].values(), flush=True)
        with out.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        draw(rows, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
