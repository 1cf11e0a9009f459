"""Whether a stored run's state is made as this program makes it: torch itself takes it as it is.

A wrong shape among an optimizer's tensors makes torch write past their memory, and a wrong type is noticed in the
middle of an epoch at best.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from radgal.training.loop import CSV_COLUMNS
from utils import random_states


def find_mistake(state: Mapping[str, Any]) -> str | None:
    """Returns what is wrong with the rows, the scores and the begun epoch of a checkpoint, None if nothing is."""
    history, best = state["history"], state["best_epoch"]
    if not all(_is_row(row, i) for i, row in enumerate(history, start=1)) or len(history) != state["epoch"]:
        return "its history is not that of its epochs"
    if type(best) is not int or not 0 <= best <= len(history):
        return "its best epoch is none of its epochs"
    if not isinstance(state["best_score"], list) or not all(map(_is_number, state["best_score"])):
        return "its best score is no list of numbers"
    try:
        json.dumps(state.get("started_from"), allow_nan=False)
    except (TypeError, ValueError):
        return "what it was started from is told in no plain values"
    if "unfinished" in state and not _is_part(state["unfinished"]):
        return "its unfinished epoch is not described as one"
    return None


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_row(row: object, epoch: int) -> bool:
    if not isinstance(row, dict) or tuple(row) != CSV_COLUMNS or row["epoch"] != epoch:
        return False
    return all(_is_number(v) or (v is None and key.startswith("test_")) for key, v in row.items())


def _is_part(part: object) -> bool:
    if not isinstance(part, dict) or set(part) != {"losses", "n_correct", "seconds", "random"}:
        return False
    losses = part["losses"]
    is_list = isinstance(losses, Tensor) and losses.dtype == torch.float64 and losses.ndim == 1
    return is_list and type(part["n_correct"]) is int and _is_number(part["seconds"])


def check_optimizer(stored: Any, optimizer: torch.optim.Optimizer) -> None:
    """Raises ValueError or KeyError unless a stored Adam's state is one for the parameters of ``optimizer``."""
    for group, own in zip(stored["param_groups"], optimizer.state_dict()["param_groups"], strict=True):
        if missing := {"params", "lr", "betas", "eps", "weight_decay"} - group.keys():
            raise ValueError(f"its optimizer lacks {', '.join(sorted(missing))}")
        for key, value in group.items():  # some schedules add the first learning rate; other versions lack options
            check_like(value, (own | {"initial_lr": own["lr"]})[key], "optimizer")
        if group["params"] != own["params"]:  # torch would give a parameter the state of another, of any shape
            raise ValueError("its optimizer numbers the parameters in another order")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for i, entry in stored["state"].items():
        if type(i) is not int or not 0 <= i < len(parameters):
            raise ValueError(f"its optimizer knows a parameter {i!r}, which the network does not have")
        like = {"step": torch.zeros(()), "exp_avg": parameters[i], "exp_avg_sq": parameters[i]}
        check_like(entry, like, f"optimizer's state of parameter {i}")


def check_random(stored: Any) -> None:
    """Raises ValueError unless stored states of the random generators have the form and length of this program's.

    NumPy takes any place in its state, also one far behind the end of it, and reads there.
    """
    own = random_states()
    check_like({**stored, "cuda": None}, own | {"python": (*own["python"][:2], stored["python"][2])}, "random state")
    (name, keys, place, *_), gauss, on_gpu = stored["numpy"], stored["python"][2], stored["cuda"]
    is_inside = name == own["numpy"][0] and 0 <= place <= len(keys) and all(0 <= key < 2**32 for key in keys.tolist())
    is_bytes = isinstance(on_gpu, Tensor) and on_gpu.dtype == torch.uint8 and on_gpu.ndim == 1
    if not is_inside or not (gauss is None or _is_number(gauss)) or not (on_gpu is None or is_bytes):
        raise ValueError("its random state is not as this program writes it")


def known_part(stored: Any, scheduler: Any) -> dict[str, Any]:
    """Returns what ``scheduler`` knows of a stored state, which another version of torch may have written.

    Raises:
        ValueError: if a value is not of the kind that the scheduler has.
    """
    own = scheduler.state_dict()
    known = {key: value for key, value in stored.items() if key in own}
    check_like(known, {key: own[key] for key in known}, "scheduler")
    return known


def check_like(stored: Any, own: Any, what: str) -> None:
    """Raises ValueError unless ``stored`` is made as ``own`` is: of the same types, keys, lengths and shapes.

    Args:
        stored: nested dicts, lists, tensors and plain values.
        own: a state of the same kind, made here.
        what: it is, for the message.
    """
    if isinstance(own, dict):
        fits = isinstance(stored, dict) and stored.keys() == own.keys()
        inside = [(stored[key], own[key]) for key in own] if fits else []
    elif isinstance(own, (list, tuple)):
        fits = isinstance(stored, (list, tuple)) and len(stored) == len(own)
        inside = list(zip(stored, own, strict=True)) if fits else []
    elif isinstance(own, Tensor):
        fits = isinstance(stored, Tensor) and (stored.dtype, stored.shape) == (own.dtype, own.shape)
        inside = []
    else:
        fits = type(stored) is type(own) or (_is_number(stored) and _is_number(own))
        inside = []
    if not fits:
        raise ValueError(f"its {what} is not as this program writes it")
    for parts in inside:
        check_like(*parts, what)
