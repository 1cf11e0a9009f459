"""A trained network on images that took no part in training: logits, dropout passes, rotations, calibration.

Legend: N images, S pixels along each side, K classes, T MC-dropout passes, R rotations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from radgal.augment import to_input
from radgal.data import Split
from radgal.metrics import (
    binomial_error,
    check_predictions,
    log_softmax,
    reliability,
    score_predictions,
    uncertainties,
)
from radgal.sources import make_table
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


def random_angles(n_rotations: int, n_images: int, seed: int) -> Tensor:
    """Returns (R, N) angles, uniform over [0, 360) degrees."""
    return torch.rand(n_rotations, n_images, generator=torch.Generator().manual_seed(seed)) * 360.0


def score_rotated(
    model: nn.Module,
    test: Split,
    mean: float,
    std: float,
    classes: Sequence[str],
    *,
    rotations: int = 20,
    seed: int = 0,
    batch_size: int = 128,
    device: Device = "cpu",
    quiet: bool = True,
) -> tuple[dict, np.ndarray]:
    """Returns the accuracy over R passes, each turning every image by a random angle, and (R, N) hits.

    This is how the published accuracies and numbers of missed sources were obtained (Scaife & Porter 2021,
    arXiv:2102.08252). ``sd`` is the standard deviation over passes (R - 1), None if there is one: it
    measures the orientation, not how few the sources are.
    """
    if rotations < 1:
        raise UserError(f"rotations = {rotations}: at least one pass is needed; 20 is the default")
    labels = test.labels.cpu().numpy()
    hits = np.empty((rotations, len(labels)), dtype=bool)
    for i, angles in enumerate(progress(random_angles(rotations, len(labels), seed), "random rotations", quiet)):
        logits = predict_logits(model, test.images, mean, std, batch_size, device, (angles, None))
        check_predictions(logits, labels, len(classes))
        hits[i] = logits.argmax(axis=1) == labels
    accuracy = _mean_and_sd(hits.mean(axis=1))
    missed = {name: _mean_and_sd((~hits[:, labels == k]).sum(axis=1)) for k, name in enumerate(classes)}
    result = {
        "n_rotations": rotations,
        "accuracy": accuracy,
        "error": {"mean": 1 - accuracy["mean"], "sd": accuracy["sd"]},
        "missed_per_class": {
            name: both | {"n_sources": int((labels == k).sum())} for k, (name, both) in enumerate(missed.items())
        },
    }
    result["error"]["standard_error"] = binomial_error(len(labels) * (1 - accuracy["mean"]), len(labels))
    return result, hits


def _mean_and_sd(values: np.ndarray) -> dict:
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"mean": float(values.mean()), "sd": sd}


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature T that minimizes the mean negative log-likelihood of softmax(logits / T).

    Guo et al. 2017, arXiv:1706.04599. T is sought between 0.01 and
    100: where every source is classified rightly there is no minimum, and T only says that it is small.

    Args:
        logits: (N, K) of the *validation* sources.
        labels: (N,).
    """
    from scipy.optimize import minimize_scalar

    check_predictions(logits, labels, logits.shape[1])
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature))[rows, labels].mean()

    limit = np.log(100)
    return float(np.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded").x))


def score_calibrated(
    val_logits: np.ndarray | None,
    val_labels: np.ndarray | None,
    test_logits: np.ndarray,
    test: dict,
    score: Callable,
) -> dict | None:
    """Returns T, fitted to the validation logits, and the test scores that T changes, raw and scaled."""
    if val_logits is None:
        return None
    temperature = fit_temperature(val_logits, val_labels)
    scaled = score(test_logits / temperature)
    return {
        "temperature": temperature,
        "n_validation": len(val_labels),
        "raw": {name: test[name] for name in ("nll", "brier", "ece")},
        "scaled": {name: scaled[name] for name in ("nll", "brier", "ece")},
    }


def evaluate_test(
    model: nn.Module,
    test: Split,
    val: Split | None,
    mean: float,
    std: float,
    classes: Sequence[str],
    *,
    rotations: int = 20,
    mc_samples: int = 100,
    seed: int = 0,
    device: Device = "cpu",
    batch_size: int = 128,
    quiet: bool = True,
):
    """Returns everything that the test set says of a network: (metrics, per-source table).

    The network is fixed before this is called: nothing here is chosen on ``test``. ``val`` is used for the
    temperature only, and no score of it is returned, since it chose the epoch.

    Args:
        model: on ``device``.
        test: sources that took no part in training, nor in any choice.
        val: validation sources, or None: then no temperature is fitted.
        mean, std: of pixel / 255 over the training data.
        classes: K names.
        rotations: R random-angle passes.
        mc_samples: T dropout passes of the upright images.
        seed: of angles, dropout and resampling.
        quiet: whether to show no bars.

    Returns:
        metrics: JSON-able, with ``upright`` (see ``metrics.score_predictions``), ``rotated`` (see
            :func:`score_rotated`), ``mc_dropout`` (scores of the mean over passes, mean entropies in
            nats) and ``temperature`` (None without ``val``).
        table: astropy Table, a row per source in the order of ``test``.

    Raises:
        UserError: if a test source is also in ``val``, or the network's outputs cannot be scored.
    """
    forbid_overlap(test, val)
    labels = test.labels.cpu().numpy()
    common = {"batch_size": batch_size, "device": device}

    def score(of: np.ndarray) -> dict:
        return score_predictions(of, labels, classes, seed=seed)

    logits = predict_logits(model, test.images, mean, std, **common)
    upright = score(logits)
    probs = np.exp(log_softmax(logits))
    upright["reliability"] = reliability(probs, labels)
    shown = common | {"quiet": quiet}
    rotated, hits = score_rotated(model, test, mean, std, classes, rotations=rotations, seed=seed, **shown)
    passes = sample_dropout(model, test.images, mean, std, mc_samples, seed=seed, **shown)
    mc_probs, entropies = passes.mean(axis=0), uncertainties(passes)
    # log of a mean probability that underflowed to 0 would be infinite
    mc_scores = score(np.log(np.maximum(mc_probs, np.finfo(np.float64).tiny)))
    val_logits = None if val is None else predict_logits(model, val.images, mean, std, **common)
    val_labels = None if val is None else val.labels.cpu().numpy()
    metrics = {
        "n_test": len(test),
        "classes": list(classes),
        "seed": seed,
        "upright": upright,
        "rotated": rotated,
        "mc_dropout": {
            "mc_samples": mc_samples,
            **{f"mean_{name}": float(values.mean()) for name, values in entropies.items()},
            **mc_scores,
        },
        "temperature": score_calibrated(val_logits, val_labels, logits, upright, score),
    }
    table = make_table(test.names, labels, classes, probs, mc_probs, entropies, hits.mean(axis=0))
    return metrics, table


def forbid_overlap(test: Split, val: Split | None) -> None:
    """Raises a UserError if a test source also took part in choosing the network."""
    shared = set(test.names) & set(val.names) if val is not None else set()
    if shared:
        raise UserError(
            f"{len(shared)} sources are in both the validation and the test set, such as {min(shared)}; "
            "a test set must have no part in any choice: use a data set whose parts are disjoint"
        )
