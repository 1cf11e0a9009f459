"""``python -m benchmarks``: see ``--help`` and docs/benchmarks.md."""

from __future__ import annotations

import datetime
import os
import sys
from argparse import Namespace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import accuracy, gpu, growth, limits, table
from benchmarks.equality import check_equality
from benchmarks.measure import Bench, seconds_per_image
from benchmarks.options import EQUALITY, FULL_RUN_CONFIG, TIME_TO_ACCURACY, batch_sizes, command_text, parse
from radgal.data.datasets import PUBLISHED
from radgal.images.preparation import Preparation
from radgal.training.precision import choose_precision, runnable
from utils import UserError, atomic_write, environment, float32_in_full, pick_device, write_json

EPOCH_SECONDS, QUICK_EPOCH_SECONDS = 4.0, 0.7
GPU_STEPS = 10
QUICK_NOTE = (
    "`--quick` checks that the benchmark works here. Its images are small and its readings few, so its ratios are none "
    "that a user will see: leave it out to measure."
)


@float32_in_full()
def main(argv: list[str]) -> dict:
    """Measures, prints, and writes what was found as JSON and Markdown; returns it."""
    args = parse(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = pick_device(args.device)
    if args.dataset not in PUBLISHED:
        raise UserError(f"--dataset {args.dataset}: use one of {', '.join(PUBLISHED)}")
    if args.full_run and device.type != "cuda":
        raise UserError("--full-run takes days on a CPU: it needs a CUDA device")
    if args.precision is None:
        args.precision = ["fp32", "bf16"] if device.type == "cuda" and "bf16" in runnable(device) else ["fp32"]
    for name in args.precision:
        choose_precision(name, device)
    images = PUBLISHED[args.dataset](args.datadir, train=True, download=True, mirror=args.mirror)
    result = {
        "command": command_text(argv),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "device": str(device),
        "cores": os.cpu_count(),
        "load_before": _load(),
        "environment": environment(),
        "dataset": args.dataset,
        "side": 151 if args.what == TIME_TO_ACCURACY else args.imsize,
    }
    measure = {"all": _all, EQUALITY: _equality, "growth": _growth, TIME_TO_ACCURACY: _time_to_accuracy}
    result |= measure[args.what](images, args, device)
    result["load_after"] = _load()
    _write(result, args)
    return result


def _load() -> list[float]:
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else [0.0]


def _few(images, args: Namespace, device: torch.device, n: int = 4) -> tuple[Preparation, Tensor, Tensor]:
    """Returns how images are prepared, and the input and labels of ``n`` of them."""
    how, step = Preparation(images.mean, images.std, args.imsize, args.pad, args.downsample), max(1, len(images) // n)
    x = how.to_input(how.crop(images.data[::step][:n])).to(device)
    return how, x, images.labels[::step][:n].to(device)


def _equality(images, args: Namespace, device: torch.device) -> dict:
    how, x, labels = _few(images, args, device)
    equality = {}
    for name in args.models:
        equality[name] = check_equality(name, how.side, x, labels, how.background)
        print(f"{name}: as stock, relative " + ", ".join(f"{k} {v:.1e}" for k, v in equality[name].items()), flush=True)
    return {"equality": equality, "side": how.side}


def _all(images, args: Namespace, device: torch.device) -> dict:
    """Returns equality and then the rows of every network, batch size and precision."""
    how, x, labels = _few(images, args, device)
    result, side = _equality(images, args, device), how.side
    rows: list[dict] = []
    for name in args.models:
        for batch_size in batch_sizes(args, name, device.type):
            budget = QUICK_EPOCH_SECONDS if args.quick else EPOCH_SECONDS
            n_images = args.epoch_images or int(budget / seconds_per_image(name, side, x, labels))
            for precision in args.precision:
                bench = Bench(
                    name,
                    batch_size,
                    images,
                    how,
                    device,
                    precision,
                    args.repeats,
                    max(n_images, batch_size + 1),
                    GPU_STEPS if device.type == "cuda" else 1,
                    args.compile,
                )
                rows += bench.measure(say=lambda text: print(text, flush=True))
    result |= {"rows": rows, "rates": limits.measured_rates(device, args.repeats)}
    limits.add_limits(rows, side, result["rates"])
    if device.type == "cuda":
        result["convolution_rate"] = gpu.convolution_rate(device, args.repeats)
        gpu.add_shares(rows, side, result["convolution_rate"])
    if args.full_run:
        overrides = [f"data.datadir='{args.datadir}'", *([f"data.mirror='{args.mirror}'"] if args.mirror else [])]
        result["full_runs"] = gpu.full_runs(FULL_RUN_CONFIG, overrides, Path(args.out), str(device))
    return result


def _growth(images, args: Namespace, device: torch.device) -> dict:
    return growth.measure(images, args, device, say=lambda text: print(text, flush=True))


def _time_to_accuracy(images, args: Namespace, device: torch.device) -> dict:
    return accuracy.measure(images, args, device, say=lambda text: print(text, flush=True))


def _write(result: dict, args: Namespace) -> None:
    out, stem = Path(args.out), "benchmarks" if args.what == "all" else args.what
    if args.what == TIME_TO_ACCURACY and result["device"].startswith("cuda"):
        stem += "-cuda"
    write_json(out / f"{stem}.json", result)
    draw = None
    if args.what == "growth":
        text, draw = table.growth_caption(result), growth.save_growth
    elif args.what == EQUALITY:
        text = table.worst_equality(result)
    elif args.what == TIME_TO_ACCURACY:
        text, draw = table.time_to_accuracy(result), accuracy.save_curves
    else:
        text = table.markdown(result)
    if draw is not None:
        for folder in (out, *([Path(args.update).parent / "figures"] if args.update else [])):
            draw(result, folder / f"{stem}.png")
    if args.quick:
        text = f"{QUICK_NOTE}\n\n{text}"
    with atomic_write(out / f"{stem}.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    if args.update:
        table.update_section(Path(args.update), table.section_name(result), text)
    print(f"\n{text}\nwritten to {out / stem}.json and {out / stem}.md" + f", and to {args.update}" * bool(args.update))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
