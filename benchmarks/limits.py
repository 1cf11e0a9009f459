"""How far from the limit: multiply-adds and bytes of a training step, at the rates measured on this machine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.published import build
from benchmarks.timing import interleave
from radgal.layers.modelinfo import count_multiply_adds
from radgal.layers.plain import to_plain

PASSES = 3
"""Of a training step, each as dear as the forward pass: that, the gradients of maps, the gradients of filters."""


def measured_rates(device: torch.device, repeats: int) -> dict[str, float]:
    """Returns multiply-adds a second of a product of float32 matrices, and bytes a second that a copy moves."""
    side = 2048 if device.type == "cpu" else 8192
    a, b = torch.randn(2, side, side, device=device)
    out, copied = torch.empty_like(a), torch.randn(2**26, device=device)
    target = torch.empty_like(copied)
    paths = {"product": lambda: torch.mm(a, b, out=out), "copy": lambda: target.copy_(copied)}
    times = {name: min(wall for wall, _ in found) for name, found in interleave(paths, max(5, repeats), device).items()}
    return {"multiply_adds": side**3 / times["product"], "bytes": 2 * 4 * copied.numel() / times["copy"]}


def add_limits(rows: list[dict], side: int, rates: dict[str, float]) -> None:
    """Adds to every row of a training step what it computes and moves, and how long that takes at ``rates``.

    Counted as dense convolutions, with the maps of every layer in float32: what the published layers do.
    """
    for row in rows:
        if row["what"] == "training step":
            model = build(row["model"], side, stock=False)
            multiply_adds, n_bytes = PASSES * count_multiply_adds(model, side), PASSES * bytes_moved(model, side)
            row["limit"] = {
                "multiply_adds": multiply_adds,
                "bytes": n_bytes,
                "computing_ms": 1e3 * multiply_adds / rates["multiply_adds"],
                "moving_ms": 1e3 * n_bytes / rates["bytes"],
            }


def bytes_moved(model: nn.Module, side: int) -> int:
    """Returns the bytes of what the layers of a network read and write in a forward pass of one image, in float32."""
    plain, total = to_plain(model).eval(), 0

    def count(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal total
        total += 4 * (given[0].numel() + result.numel())

    for module in plain.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    with torch.no_grad():
        plain(torch.zeros(1, 1, side, side))
    return total
