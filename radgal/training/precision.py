"""In which precision, and compiled or not, a network is trained: chosen once per run, checked before it starts."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from utils import UserError

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """The precision of forward passes and losses; parameters, gradients and Adam's state are float32 in each.

    'fp32' is IEEE float32 throughout: TensorFloat-32 is off in every command (``utils.float32_in_full``).
    'bf16' and 'fp16' run convolutions and matrix products in that type (``torch.autocast``); 'fp16' also scales the
    loss, so that small gradients do not vanish.

    Args:
        name: 'fp32', 'bf16' or 'fp16'.
        device: where the network is.
    """

    def __init__(self, name: str = "fp32", device: torch.device | str = "cpu"):
        self.name, self._device_type = name, torch.device(device).type
        self.scaler = torch.amp.GradScaler(self._device_type) if name == "fp16" else None

    def autocast(self) -> AbstractContextManager:
        """Returns the context in which forward passes run."""
        dtype = DTYPES[self.name]
        return nullcontext() if dtype is None else torch.autocast(self._device_type, dtype)

    def step(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Makes one step of the optimizer down the gradient of ``loss``."""
        optimizer.zero_grad(set_to_none=True)
        if self.scaler is None:
            loss.backward()
            optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(optimizer)
            self.scaler.update()


def runnable(device: torch.device) -> tuple[str, ...]:
    """Returns the names of the precisions that ``device`` can train in, the best first."""
    if device.type == "cpu":
        return ("fp32", "bf16")
    if device.type != "cuda":
        return ("fp32",)
    with torch.cuda.device(device):
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return ("bf16", "fp32", "fp16") if has_bf16 else ("fp32", "fp16")


def choose_precision(name: str, device: torch.device) -> Precision:
    """Returns the precision for [training] precision: 'auto', 'fp32', 'bf16' or 'fp16'.

    'auto' is bf16 on a GPU that computes in it, and fp32 everywhere else.

    Raises:
        UserError: if the device cannot train in it; says what it can.
    """
    known = runnable(device)
    if name == "auto":
        name = known[0]
    if name not in known:
        can = " or ".join(map(repr, sorted(known)))
        raise UserError(f"[training] precision: {name!r} cannot be trained in on {device}; use {can}, or 'auto'")
    return Precision(name, device)


def compile_for_training(model: nn.Module, example: Tensor, precision: Precision) -> None:
    """Compiles ``model`` in place with torch.compile, and makes sure by one pass that this works here.

    In place, so that the keys of the state dict stay what they are. The pass leaves no trace in the model.

    Args:
        example: a batch of inputs, of the size that training will use.

    Raises:
        UserError: if the network cannot be compiled on this machine.
    """
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.compile()
    try:
        with precision.autocast():
            logits = model.train()(example)
        logits.float().sum().backward()
    except (RuntimeError, ImportError, OSError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"[training] compile: this network cannot be compiled here ({type(error).__name__}: {reason}); "
            "set compile: False"
        ) from None
    model.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(before[name])
