"""On a CUDA device: the same function as on the CPU, whole runs in each precision, and no step that makes it wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import models
import radgal
from benchmarks.equality import check_equality
from radgal.config.config import load_config
from radgal.data.datasets import PUBLISHED
from radgal.data.splits import Split
from radgal.images.augment import random_changes
from radgal.images.preparation import Preparation
from radgal.images.transforms import rotate
from radgal.training.learner import make_learner
from radgal.training.loop import Setup, train_epoch
from radgal.training.precision import choose_precision
from tests.conftest import ROOT
from tests.smallrun import rows, train
from utils import float32_in_full

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
GPU = torch.device("cuda")
NETWORKS = [
    ("VanillaLeNet", None),
    ("CNSteerableLeNet", 4),
    ("CNSteerableLeNet", 16),
    ("DNSteerableLeNet", 4),
    ("DNSteerableLeNet", 16),
]


def toy_images(n: int, side: int) -> torch.Tensor:
    """Returns mostly empty images, uint8 (N, 1, S, S), as those of radio galaxies are."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 1, side, side), generator=generator)
    return (pixels * (torch.rand(pixels.shape, generator=generator) < 0.1)).to(torch.uint8)


def largest_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.cpu().double() - b.cpu().double()).norm() / b.cpu().double().norm())


@pytest.mark.parametrize("side", [74, 151])
@pytest.mark.parametrize(("base", "nrot"), NETWORKS)
@float32_in_full()
def test_logits_and_gradients_are_those_of_the_cpu(base: str, nrot: int | None, side: int) -> None:
    """Of gradients up to 0.9 % was seen: rounding decides which of two nearly equal pixels is the maximum."""
    torch.manual_seed(0)
    on_cpu = models.build_model(base, n_classes=2, side=side, nrot=nrot, dropout=0.0)
    on_gpu = models.build_model(base, n_classes=2, side=side, nrot=nrot, dropout=0.0).to(GPU)
    on_gpu.load_state_dict(on_cpu.state_dict())
    x, labels = toy_images(4, side).float() / 255, torch.arange(4) % 2
    found = []
    for model in (on_gpu, on_cpu):
        where = next(model.parameters()).device
        logits = model(x.to(where))
        gradients = torch.autograd.grad(F.cross_entropy(logits, labels.to(where)), list(model.parameters()))
        found.append((logits.detach(), gradients))
    assert largest_difference(found[0][0], found[1][0]) < 1e-5
    assert max(largest_difference(a, b) for a, b in zip(found[0][1], found[1][1], strict=True)) < 0.02


@pytest.mark.parametrize("name", ["C4", "C16", "D4", "D16"])
@float32_in_full()
def test_it_is_the_function_of_the_stock_layers_there(name: str, tmp_path: Path) -> None:
    images = PUBLISHED["FIRSTGalaxyData"](str(tmp_path), train=True, download=True)
    how = Preparation(images.mean, images.std, 74)
    x, labels = how.to_input(how.crop(images.data[::300][:4])), torch.arange(4) % 2
    found = check_equality(name, 74, x.to(GPU), labels.to(GPU), how.background)
    assert found["logits_train_mode"] < 1e-5 and found["logits_eval_mode"] < 1e-5 and found["gradients"] < 1e-2


@float32_in_full()
def test_images_are_turned_as_on_the_cpu() -> None:
    images, angles = toy_images(6, 74).float(), torch.tensor([0.0, 13.0, 90.0, 200.0, 301.5, 45.0])
    flip = torch.arange(6) % 2 == 0
    there = rotate(images.to(GPU), angles.to(GPU), flip.to(GPU)).cpu()
    assert float((there - rotate(images, angles, flip)).abs().max()) < 0.02  # of 255


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_of_each_precision_is_trained_tested_and_resumed(precision: str, config: Path) -> None:
    how = ("training.device=cuda", f"training.precision={precision}", "data.augment=rotate+flip")
    run = train(config, "--set", *how)
    folder = Path(run.folder)
    history = rows(folder / "history.csv")
    assert len(history) == 2 and all(np.isfinite(float(row["train_loss"])) for row in history)
    on_gpu = json.loads((folder / "metrics.json").read_text())["upright"]
    assert json.loads((folder / "environment.json").read_text())["cuda_device"]
    train(config, "--resume", "--set", *how, "training.epochs=4")
    assert len(rows(folder / "history.csv")) == 4 and rows(folder / "history.csv")[:2] == history
    assert 0 <= on_gpu["error"]["value"] <= 100


def test_a_run_that_was_trained_there_says_the_same_on_a_cpu(config: Path) -> None:
    run = train(config, "--set", "training.device=cuda", "training.precision=fp32")
    images = toy_images(8, 26)
    on_cpu, on_gpu = (radgal.open_run(run.folder, device=device) for device in ("cpu", "cuda"))
    there, here = (opened.probabilities(images) for opened in (on_gpu, on_cpu))
    assert np.abs(there - here).max() < 1e-4


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("base", "nrot"), NETWORKS)
def test_training_never_makes_the_device_wait(base: str, nrot: int | None, precision: str, config: Path) -> None:
    """Between the first batch and the end of an epoch nothing is read back."""
    training = load_config(config, ["training.imsize=74", "training.seed=0", "training.batch_size=4"]).training
    model = models.build_model(base, n_classes=2, side=74, nrot=nrot).to(GPU)
    split = Split(toy_images(8, 74).to(GPU), (torch.arange(8) % 2).to(GPU), tuple(map(str, range(8))))
    how = Setup(training, Preparation(0.1, 0.2, 74), "rotate+flip", choose_precision(precision, GPU))
    learner, asked = make_learner(model, training), []

    def done() -> None:
        asked.append(None)  # the first batch may set things up; after the second, the epoch is about to end
        torch.cuda.set_sync_debug_mode("error" if len(asked) == 1 else "default")

    try:
        loss, _ = train_epoch(learner, split, Setup(**{**vars(how), "on_batch": done}), epoch=1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert np.isfinite(loss) and len(asked) == 2


def test_random_changes_are_those_of_the_cpu() -> None:
    images = toy_images(5, 50)
    changes = random_changes(5, "rotate+flip+scale+shift+brightness+noise", torch.Generator().manual_seed(1))
    there = changes.to(GPU).apply(images.to(GPU)).cpu()
    assert float((there - changes.apply(images)).abs().max()) < 0.05


def test_a_run_is_compiled(config: Path) -> None:
    run = train(config, "--set", "training.device=cuda", "training.compile=True", "training.epochs=1")
    assert len(rows(Path(run.folder) / "history.csv")) == 1


def test_torchrun_trains_with_nccl(config: Path) -> None:
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "main.py"]
    words += ["--config", str(config), "--set", "training.device=auto", "training.epochs=1"]
    done = subprocess.run(words, cwd=ROOT, env=os.environ.copy(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(rows(config.parent / "out" / "history.csv")) == 1
