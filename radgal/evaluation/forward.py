"""Images through a trained network: its logits, and dropout passes. No scores here.

Legend: N images, S pixels along each side, K classes, T MC-dropout passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from radgal.evaluation.probabilities import log_softmax
from radgal.images.transforms import to_input
from utils import UserError, progress

Device = torch.device | str


def predict_logits(
    model: nn.Module,
    images: Tensor,
    mean: float,
    std: float,
    batch_size: int = 128,
    device: Device = "cpu",
    poses: tuple[Tensor | None, Tensor | None] = (None, None),
) -> np.ndarray:
    """Returns the (N, K) logits of images, dropout off.

    Args:
        model: on ``device``; left in evaluation mode.
        images: uint8 (N, 1, S, S).
        mean, std: of pixel / 255 over the training data.
        poses: (angles_deg, flip), each (N,) or None, as in ``augment.rotate``.
    """
    return _in_batches(model.eval(), images, mean, std, batch_size, device, poses)


@torch.inference_mode()
def _in_batches(
    function: Callable[[Tensor], Tensor],
    images: Tensor,
    mean: float,
    std: float,
    batch_size: int,
    device: Device,
    poses: tuple[Tensor | None, Tensor | None] = (None, None),
    what: str | None = None,
) -> np.ndarray:
    parts = []
    for rows in progress(torch.arange(len(images)).split(batch_size), what or "", quiet=what is None):
        angles, flip = (None if pose is None else pose[rows].to(device) for pose in poses)
        parts.append(function(to_input(images[rows].to(device), mean, std, angles, flip)).cpu())
    if not parts:
        raise UserError("there are no images to predict; check the sources asked for")
    return torch.cat(parts).double().numpy()


@contextmanager
def only_dropout(model: nn.Module) -> Iterator[None]:
    """Inside, dropout layers work as in training and all else (batch norm, ...) as in evaluation.

    Afterwards every layer is in the mode that it was in.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.train()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def sample_dropout(
    model: nn.Module,
    images: Tensor,
    mean: float,
    std: float,
    mc_samples: int = 100,
    *,
    seed: int = 0,
    batch_size: int = 128,
    device: Device = "cpu",
    poses: tuple[Tensor | None, Tensor | None] = (None, None),
    quiet: bool = True,
) -> np.ndarray:
    """Returns the (T, N, K) probabilities of T passes with dropout on and nothing else changed.

    MC dropout, Gal & Ghahramani 2016, arXiv:1506.02142. A network that has ``embed`` and
    ``classify`` computes everything up to the first dropout once per image; any other is run T times whole.

    Args:
        mc_samples: T.
        seed: of the dropout; the global random state is left as it was.
        poses: as in :func:`predict_logits`.
        quiet: whether to show no bar.
    """
    if mc_samples < 1:
        raise UserError(f"mc_samples = {mc_samples}: at least one dropout pass is needed")
    device = torch.device(device)
    split = hasattr(model, "embed") and hasattr(model, "classify")

    def sample(x: Tensor) -> Tensor:  # (n, 1, S, S) -> (n, T, K)
        if not split:
            return torch.stack([model(x) for _ in range(mc_samples)], dim=1)
        z = model.embed(x)
        logits = model.classify(z.repeat_interleave(mc_samples, dim=0))
        return logits.unflatten(0, (len(z), mc_samples))

    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        with only_dropout(model):
            what = None if quiet else "dropout passes"
            logits = _in_batches(sample, images, mean, std, batch_size, device, poses, what)
    if not np.isfinite(logits).all():
        raise UserError("the network's outputs are NaN or infinite; use an earlier checkpoint of the run")
    return np.exp(log_softmax(logits)).swapaxes(0, 1)
