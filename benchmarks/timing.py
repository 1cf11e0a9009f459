"""Fair clocks: the paths take turns within one process, and a GPU has finished before a clock is read."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def interleave(
    paths: Mapping[str, Callable[[], object]], repeats: int, device: torch.device, warm_up: int = 1
) -> dict[str, list[tuple[float, float]]]:
    """Returns (wall, processor) seconds of each call, by path.

    The paths take turns, each round in the other direction, so that whatever else the machine does meets all alike.
    Processor seconds are those of all threads of this process: on a busy machine they say more than the wall clock.

    Args:
        paths: what to measure, by name.
        repeats: calls of each that count.
        warm_up: calls of each, before those, that do not.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in paths}
    for turn in range(-warm_up, repeats):
        for name in sorted(paths, reverse=turn % 2 == 1):
            _synchronize(device)
            wall, processor = time.perf_counter(), time.process_time()
            paths[name]()
            _synchronize(device)
            if turn >= 0:
                times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return times


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare(times: Mapping[str, list[tuple[float, float]]], scale: float = 1e3) -> dict:
    """Returns medians, quartiles and ratios stock / ours, of seconds times ``scale``.

    Args:
        times: of the paths 'stock' and 'ours', as ``interleave`` returns them.
    """
    wall, processor = ({name: [pair[k] for pair in pairs] for name, pairs in times.items()} for k in (0, 1))
    return {name: spread([scale * value for value in values]) for name, values in wall.items()} | {
        "ratio": statistics.median(wall["stock"]) / statistics.median(wall["ours"]),
        "ratio_processor_time": _ratio(statistics.median(processor["stock"]), statistics.median(processor["ours"])),
    }


def spread(values: list[float]) -> dict:
    """Returns the median, the quartiles and the number of values."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": statistics.median(values), "low": low, "high": high, "n": len(values)}


def _ratio(a: float, b: float) -> float | None:
    return a / b if b else None
