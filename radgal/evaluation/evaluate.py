"""A trained network tested on images that took no part in training: upright, turned, with dropout, calibrated.

Legend: N images, K classes, T MC-dropout passes, R rotations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from radgal.classifier import Classifier
from radgal.data.leakage import forbid_overlap
from radgal.data.splits import Split
from radgal.evaluation.averaging import ROTATIONS, averaged_probabilities, has_reflections, members_of
from radgal.evaluation.calibration import temperature_of
from radgal.evaluation.intervals import binomial_error, mean_and_sd, proportion
from radgal.evaluation.metrics import SCORES, score_predictions
from radgal.evaluation.probabilities import log_of_mean, log_softmax, uncertainties
from radgal.evaluation.scorer import check_predictions, reliability
from radgal.evaluation.sourcetable import make_table
from radgal.images.measured import measure
from radgal.progress import progress
from utils import UserError

if TYPE_CHECKING:
    from astropy.table import Table


def random_angles(n_rotations: int, n_images: int, seed: int) -> Tensor:
    """Returns (R, N) angles, uniform over [0, 360) degrees."""
    return torch.rand(n_rotations, n_images, generator=torch.Generator().manual_seed(seed)) * 360.0


def even_angles(n_rotations: int, n_images: int) -> Tensor:
    """Returns (R, N) angles, evenly spaced from 0 over 360 degrees, the same for every image."""
    return torch.arange(n_rotations)[:, None].expand(-1, n_images) * (360.0 / n_rotations)


def score_rotated(
    classifier: Classifier, test: Split, *, rotations: int = 20, seed: int = 0, evenly: bool = False
) -> tuple[dict, np.ndarray]:
    """Returns the accuracy over R passes, each turning every image by a random angle, and (R, N) hits.

    With ``evenly`` a pass turns all images by the same angle, in even steps from upright.

    This is how the published accuracies and numbers of missed sources were obtained (Scaife & Porter 2021,
    arXiv:2102.08252). ``sd`` is the standard deviation over passes (R - 1), None if there is one: it
    measures the orientation. How few the sources are is in ``low`` and ``high``, Wilson's 95 % interval of as many
    sources as are right on average, and in the binomial ``standard_error``.
    """
    if rotations < 1:
        raise UserError(f"rotations = {rotations}: at least one pass is needed; 20 is the default")
    labels = test.labels.cpu().numpy()
    hits = np.empty((rotations, len(labels)), dtype=bool)
    angles = even_angles(rotations, len(labels)) if evenly else random_angles(rotations, len(labels), seed)
    for i, one in enumerate(progress(angles, "rotations", classifier.quiet)):
        logits = classifier.logits(test.images, (one, None))
        check_predictions(logits, labels, len(classifier.classes))
        hits[i] = logits.argmax(axis=1) == labels
    accuracy = mean_and_sd(hits.mean(axis=1))
    missed = {name: mean_and_sd((~hits[:, labels == k]).sum(axis=1)) for k, name in enumerate(classifier.classes)}
    n = len(labels)
    low, high = (proportion(n * accuracy["mean"], n)[end] for end in ("low", "high"))
    result = {
        "n_rotations": rotations,
        "accuracy": accuracy | {"low": low, "high": high},
        "error": {
            "mean": 1 - accuracy["mean"],
            "sd": accuracy["sd"],
            "low": 1 - high,
            "high": 1 - low,
            "standard_error": binomial_error(n * (1 - accuracy["mean"]), n),
        },
        "missed_per_class": {
            name: both | {"n_sources": int((labels == k).sum())} for k, (name, both) in enumerate(missed.items())
        },
    }
    return result, hits


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
    fitted = temperature_of(val_logits, val_labels)
    scaled, keys = score(test_logits / fitted["temperature"]), [score.key for score in SCORES if score.has_temperature]
    return {
        **fitted,
        "raw": {key: test[key] for key in keys},
        "scaled": {key: scaled[key] for key in keys},
    }


def evaluate_test(
    classifier: Classifier,
    test: Split,
    val: Split | None,
    *,
    rotations: int = 20,
    mc_samples: int = 100,
    seed: int = 0,
    evenly: bool = False,
) -> tuple[dict, Table]:
    """Returns everything that the test set says of a network: (metrics, per-source table).

    The network is fixed before this is called: nothing here is chosen on ``test``. ``val`` is used for the
    temperature only, and no score of it is returned, since it chose the epoch.

    Args:
        classifier: the network, or an ensemble.
        test: sources that took no part in training, nor in any choice.
        val: validation sources, or None: then no temperature is fitted.
        rotations: R random-angle passes.
        mc_samples: T dropout passes of the upright images.
        seed: of angles, dropout and resampling.
        evenly: whether to turn by even steps instead, the same for every image.

    Returns:
        metrics: JSON-able, with ``upright`` (see ``metrics.score_predictions``), ``rotated`` (see
            :func:`score_rotated`), ``averaged`` (scores of the mean over the poses of
            :mod:`radgal.evaluation.averaging`), ``mc_dropout`` (scores of the mean over passes, mean entropies in
            nats) and ``temperature`` (None without ``val``).
        table: astropy Table, a row per source in the order of ``test``.

    Raises:
        UserError: if a test source is also in ``val``, or the network's outputs cannot be scored.
    """
    forbid_overlap(test, val, "validation")
    labels, classes = test.labels.cpu().numpy(), classifier.classes

    def score(of: np.ndarray) -> dict:
        return score_predictions(of, labels, classes, seed=seed)

    answers = Answers(classifier, test, mc_samples, seed)
    logits, probs = answers.logits, answers.probs
    upright = score(logits)
    upright["reliability"] = reliability(probs["prob"], labels)
    rotated, hits = score_rotated(classifier, test, rotations=rotations, seed=seed, evenly=evenly)
    val_logits = None if val is None else classifier.logits(val.images)
    val_labels = None if val is None else val.labels.cpu().numpy()
    metrics = {
        "n_test": len(test),
        "classes": list(classes),
        "seed": seed,
        "upright": upright,
        "rotated": rotated,
        "averaged": {
            "n_rotations": ROTATIONS,
            "reflections": any(has_reflections(one.model, ROTATIONS) for one in members_of(classifier)),
            **score(log_of_mean(probs["averaged_prob"])),
        },
        "mc_dropout": {
            "mc_samples": mc_samples,
            **answers.mean_entropies(),
            **score(log_of_mean(probs["mc_prob"])),
        },
        "temperature": score_calibrated(val_logits, val_labels, logits, upright, score),
    }
    measured = measure(test.images[:, 0].cpu().numpy())
    table = make_table(test.names, classes, probs, answers.entropies, labels, hits.mean(axis=0), measured)
    return metrics, table


class Answers:
    """What a network, or an ensemble, says of N sources: logits, probabilities of three kinds, and entropies.

    ``probs`` are by the keys of ``sourcetable.KINDS``, ``entropies`` of T dropout passes of the upright images.
    """

    def __init__(self, classifier: Any, split: Split, mc_samples: int, seed: int):
        self.logits = classifier.logits(split.images)
        upright = np.exp(log_softmax(self.logits))
        passes = classifier.dropout_samples(split.images, mc_samples, seed=seed)
        self.entropies = uncertainties(passes)
        averaged = averaged_probabilities(classifier, split.images)
        self.probs = {"prob": upright, "mc_prob": passes.mean(axis=0), "averaged_prob": averaged}

    def mean_entropies(self) -> dict[str, float]:
        """Returns the means over sources, nats."""
        return {f"mean_{name}": float(values.mean()) for name, values in self.entropies.items()}


def ask_classes(classifier: Any, split: Split, *, mc_samples: int = 100, seed: int = 0) -> tuple[dict, Table]:
    """Returns what a network says of sources whose classes it does not know: (metrics, per-source table)."""
    answers = Answers(classifier, split, mc_samples, seed)
    averaged, classes = answers.probs["averaged_prob"], classifier.classes
    called = np.bincount(averaged.argmax(axis=1), minlength=len(classes)).tolist()
    metrics = {
        "n_test": len(split),
        "classes": list(classes),
        "seed": seed,
        "called": dict(zip(classes, called, strict=True)),
        "mean_confidence": float(averaged.max(axis=1).mean()),
        **answers.mean_entropies(),
    }
    return metrics, make_table(split.names, classes, answers.probs, answers.entropies)
