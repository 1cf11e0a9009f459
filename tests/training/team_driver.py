"""``main.py`` on a toy data set: the program that tests/training/test_team.py starts once, and under torchrun.

RADGAL_TEST_KILL=RANK:BATCH makes that process of a team kill itself (or, with a signal's name after a second colon, be
sent that signal) before that batch.
"""

from __future__ import annotations

import os
import signal
import sys

import torch

import main
from radgal import trainingrun
from radgal.data import splits
from radgal.data.splits import Split, TrainingData
from radgal.evaluation import results
from radgal.figures import plots
from radgal.images.preparation import Preparation
from utils import UserError

SIDE = 18


def whole() -> Split:
    """Returns 60 images of two classes, the same every time."""
    generator = torch.Generator().manual_seed(7)
    labels = torch.arange(60) % 2
    images = torch.randint(0, 200, (60, 1, SIDE, SIDE), generator=generator) + 40 * labels[:, None, None, None]
    return Split(images.to(torch.uint8), labels, tuple(map(str, range(60))))


def toy_data(cfg, together=True) -> TrainingData:
    """Returns 25 + 11 images: with batches of 8 the last one has a single image."""
    train_, val = whole().take(list(range(25))), whole().take(list(range(25, 36)))
    return TrainingData(train_, val, ("FRI", "FRII"), Preparation(0.5, 0.3, SIDE), "toy", "v1", "none")


def come_to_an_end(rank: int, batch: int, name: str = "SIGKILL") -> None:
    """Sends this process a signal before its ``batch``-th batch, if it is process ``rank``."""
    to_input, left = Preparation.to_input, [batch]

    def counted(*args, **options):
        left[0] -= 1
        if left[0] == 0 and os.environ["RANK"] == str(rank):
            os.kill(os.getpid(), signal.Signals[name])
        return to_input(*args, **options)

    Preparation.to_input = counted


if __name__ == "__main__":
    torch.set_num_threads(1)
    splits.load_training_data, results.load_test_data = toy_data, lambda *_: whole().take(list(range(36, 60)))
    results.save_evaluation_figures = plots.save_training_curves = lambda *_: None
    trainingrun.environment, trainingrun.make_report = dict, lambda *_: None
    if "RADGAL_TEST_KILL" in os.environ:
        rank_, batch_, *name_ = os.environ["RADGAL_TEST_KILL"].split(":")
        come_to_an_end(int(rank_), int(batch_), *name_)
    try:
        main.main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
