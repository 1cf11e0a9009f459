"""How the cost of a training step grows with the group and with the image, stock and here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.published import build
from benchmarks.timing import compare, interleave
from benchmarks.trainer import Trainer
from radgal.figures.style import GRAY, color_of, new_figure, save_figure, style
from radgal.images.preparation import crop_and_pad
from radgal.training.precision import choose_precision

ORDERS, QUICK_ORDERS = range(1, 21), (1, 2, 4)
SIDES, QUICK_SIDES = (50, 100, 150, 300), (50, 62)
SIDE_NETWORKS, QUICK_SIDE_NETWORKS = ("LeNet", "C8", "D8", "D16"), ("LeNet", "C4")


def measure(images, args, device: torch.device, say: Callable[[str], None]) -> dict:
    """Returns milliseconds per image of a training step, by N for C_N and D_N, and by the side of the image."""
    orders, sides, networks = ORDERS, SIDES, SIDE_NETWORKS
    if args.quick:
        orders, sides, networks = QUICK_ORDERS, QUICK_SIDES, QUICK_SIDE_NETWORKS
    side = args.imsize
    by_group = [_step(f"{kind}{n}", side, images, args, device, say) for kind in "CD" for n in orders]
    by_side = [_step(name, side, images, args, device, say) for name in networks for side in sides]
    return {"by_group": by_group, "by_side": by_side}


def _step(name: str, side: int, images, args, device: torch.device, say: Callable[[str], None]) -> dict:
    batch = args.batch_size[0] if args.batch_size else 4
    native = images.data.shape[-1]
    pixels = crop_and_pad(images.data[:batch], min(side, native), max(0, side - native))
    x = (pixels.to(device).float() / 255 - images.mean) / images.std
    labels, background = images.labels[:batch].to(device), -images.mean / images.std
    paths = {}
    for path in ("stock", "ours"):
        model = build(name, side, stock=path == "stock", background=background).to(device)
        trainer = Trainer(model, path, choose_precision(args.precision[0], device))
        paths[path] = lambda trainer=trainer: trainer.step(x, labels)
    found = compare(interleave(paths, args.repeats, device), 1e3 / batch)
    say(f"  {name}, {side} px: {found['stock']['median']:.3g}, {found['ours']['median']:.3g} ms/image")
    return {"model": name, "side": side, "batch_size": batch} | found


def save_growth(result: dict, path: Path) -> None:
    """Writes the figure: cost against N, and against the side of the image; stock dashed, this program solid."""
    figure = new_figure(10, 4.2)
    left, right = figure.subplots(1, 2)
    where = f"batch {result['by_group'][0]['batch_size']}"
    cost, side = "training step, ms per image", result["by_group"][0]["side"]
    style(left, f"LeNets of C_N and D_N, {side} px, {where}", "N", cost)
    style(right, f"against the size of the image, {where}", "side of the image, px", cost)
    by_kind = {f"{kind}_N": [row for row in result["by_group"] if row["model"][0] == kind] for kind in "CD"}
    _draw(left, by_kind, lambda row: int(row["model"][1:]))
    left.set_xticks(range(0, 21, 4))
    names = dict.fromkeys(row["model"] for row in result["by_side"])
    by_name = {name: [row for row in result["by_side"] if row["model"] == name] for name in names}
    _draw(right, by_name, lambda row: row["side"])
    right.set_xscale("log")
    sides = sorted({row["side"] for row in result["by_side"]})
    right.set_xticks(sides, [str(side) for side in sides])
    right.minorticks_off()
    save_figure(figure, path)


def _draw(axes, groups: dict[str, list[dict]], place: Callable[[dict], int]) -> None:
    for k, (label, rows) in enumerate(groups.items()):
        x = [place(row) for row in rows]
        common = dict(color=color_of(k), marker="o", markersize=4)
        axes.plot(x, [row["stock"]["median"] for row in rows], "--", markerfacecolor="none", **common)
        axes.plot(x, [row["ours"]["median"] for row in rows], "-", label=label, **common)
    for line, label in (("--", "dashed: stock modules"), ("-", "solid: this program")):
        axes.plot([], [], line, color=GRAY, label=label)
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8)
