"""What is said of a GPU besides: the share of its convolution rate that a step reaches, and a full training run."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.published import build
from benchmarks.timing import interleave, spread
from radgal.layers.modelinfo import count_multiply_adds

SHAPES = ((64, 256, 256, 3, 56), (64, 512, 512, 3, 28), (50, 192, 512, 5, 72), (32, 1024, 1024, 3, 28))
"""(N, C in, C out, kernel, side) of convolutions that GPUs are good at; the third is conv2 of D16."""


def convolution_rate(device: torch.device, repeats: int) -> dict:
    """Returns TFLOP/s of bf16 convolutions, channels last, forward: the best of ``SHAPES``, and each of them."""
    rates = {}
    for n, c_in, c_out, kernel, side in SHAPES:
        like = dict(device=device, dtype=torch.bfloat16)
        x = torch.randn(n, c_in, side, side, **like).to(memory_format=torch.channels_last)
        weight = torch.randn(c_out, c_in, kernel, kernel, **like).to(memory_format=torch.channels_last)

        def run(x=x, weight=weight, kernel=kernel) -> None:
            for _ in range(10):
                F.conv2d(x, weight, padding=kernel // 2)

        (times,) = interleave({"conv": run}, repeats, device, warm_up=3).values()
        flop = 2 * n * c_out * c_in * kernel**2 * side**2
        shape = f"{n} x {c_in} -> {c_out}, {kernel} x {kernel}, {side} px"
        rates[shape] = 10 * flop / spread([wall for wall, _ in times])["median"] / 1e12
    return {"best_tflops": max(rates.values()), "by_shape": rates}


def add_shares(rows: list[dict], side: int, rate: dict) -> None:
    """Adds to every row of a bf16 training step its TFLOP/s, as if it were computed densely, and their share."""
    for row in rows:
        if row["what"] == "training step" and row["precision"].startswith("bf16"):
            multiply_adds = count_multiply_adds(build(row["model"], side, stock=False), side)
            # Backward costs twice the forward pass, and a multiply-add counts as two.
            row["dense_tflops"] = 3 * 2 * multiply_adds / (1e-3 * row["ours"]["median"]) / 1e12
            row["share_of_conv_rate"] = row["dense_tflops"] / rate["best_tflops"]


def full_runs(config: str, overrides: list[str], out: Path, device: str) -> list[dict]:
    """Trains a config to its end in bf16 and in fp32 with ``main.py``, and returns time and test error of each."""
    root, results = Path(__file__).resolve().parent.parent, []
    for precision in ("bf16", "fp32"):
        folder = (out / f"full_{precision}").resolve()
        settings = [f"training.precision={precision}", f"training.device={device}", f"metrics.outputdir='{folder}'"]
        command = [sys.executable, "main.py", "--config", config, "--set", *overrides, *settings]
        subprocess.run(command, cwd=root, check=True)
        with (folder / "history.csv").open(newline="") as stream:
            seconds = [float(row["seconds"]) for row in csv.DictReader(stream)]
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        results.append(
            {
                "config": config,
                "precision": precision,
                "epochs": len(seconds),
                "seconds": sum(seconds),
                "test_error_upright": metrics["upright"]["error"]["value"],
                "test_accuracy_rotated": metrics["rotated"]["accuracy"]["mean"],
                "n_test": metrics["n_test"],
            }
        )
    return results
