"""Another survey has another mix of classes: probabilities, and counts, corrected for that.

Legend: N sources, K classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radgal.evaluation.intervals import normal_quantile
from radgal.pretrained import registry
from radgal.runs.checkpoint import TrainedRun
from radgal.runs.files import RunFile
from utils import UserError, nearest

PRIOR_SOURCES = 1 / 3  # added to each cell of a confusion matrix for its variance, so that no rate is certain


def read_priors(words: Sequence[str], classes: Sequence[str]) -> list[float]:
    """Returns the K shares that words such as FRI=0.7 FRII=0.3 give.

    Raises:
        UserError: unless every class is given once, with a share above 0, and they sum to 1.
    """
    found = {}
    for word in words:
        name, equals, text = word.rpartition("=")
        if not equals or name not in classes:
            like = nearest(name, classes)
            hint = f"; nearest: {like}" if like else ""
            raise UserError(f"--priors {word}: give CLASS=SHARE for each of {', '.join(classes)}{hint}")
        try:
            found[name] = float(text)
        except ValueError:
            found[name] = math.nan
        if not 0 < found[name] < 1:
            raise UserError(f"--priors {word}: a share is a number above 0 and below 1")
    if missing := [name for name in classes if name not in found]:
        raise UserError(f"--priors: {', '.join(missing)} has no share; give one for each class")
    if len(words) > len(classes) or abs(sum(found.values()) - 1) > 1e-6:
        raise UserError(f"--priors {' '.join(words)}: the shares must sum to 1, not to {sum(found.values()):g}")
    return [found[name] for name in classes]


def shares_of(priors: Mapping[str, float] | Sequence[str], classes: Sequence[str]) -> list[float]:
    """Returns the same of shares by class, as a script gives them, or of words."""
    words = [f"{name}={share}" for name, share in priors.items()] if isinstance(priors, Mapping) else map(str, priors)
    return read_priors(list(words), classes)


def training_shares(run: TrainedRun) -> list[float]:
    """Returns the share of each class among the sources that a run was trained on, K numbers.

    Raises:
        UserError: if they are not known.
    """
    name, path = registry.name_of(run.path), RunFile.ENVIRONMENT.at(run.path.parent)
    try:
        made = registry.read_card(name)["training"]["counts"] if name else _read(path)["class_counts"]
        counts = [int(made["train"][one]) for one in run.classes]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"--priors needs to know how many sources of each class {name or run.path} was trained on, which "
            f"{path.name} beside it says ({error})"
        ) from None
    if min(counts) < 1:
        raise UserError(f"--priors: {name or run.path} was trained on no sources of a class: {made['train']}")
    return [n / sum(counts) for n in counts]


def _read(path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def rescaled(probs: np.ndarray, survey: Sequence[float], training: Sequence[float]) -> np.ndarray:
    """Returns probabilities (..., K) under another mix of classes than that of the training sources.

    Each is multiplied by the share in the survey over that in training, and all are normalized: Saerens, Latinne &
    Decaestecker 2002, Neural Comput. 14, 21, eq. 2.4. It is right if the sources of each class look alike in both, and
    the probabilities are calibrated where they come from.
    """
    weighted = np.asarray(probs) * (np.asarray(survey) / np.asarray(training))
    return weighted / weighted.sum(axis=-1, keepdims=True)


def summed_counts(probs: np.ndarray) -> list[dict]:
    """Returns the expected number of sources of each class, the sum of probabilities (N, K), with 95 % interval.

    The interval is of the sum of N independent draws, variance sum p (1 - p): it takes the probabilities as calibrated,
    and says nothing of how well they are.
    """
    values, half = probs.sum(axis=0), normal_quantile() * np.sqrt((probs * (1 - probs)).sum(axis=0))
    return [_entry(*one, len(probs)) for one in zip(values, half, strict=True)]


def corrected_counts(called: Sequence[int], confusion: Sequence[Sequence[int]]) -> list[dict] | None:
    """Returns how many sources of each class there are, from how many were called so, with 95 % interval.

    The numbers called are corrected by the rates at which a test confused the classes ("adjusted count": Forman 2008,
    Data Min. Knowl. Discov. 17, 164; Saerens et al. 2002, eq. 3.2): with P(called i | true j) as matrix A the shares
    solve A x = q. The interval is of the delta method, from the multinomial variances of q and of each column of A
    (those after 1/3 of a source more in every cell, so that no rate is certain). No priors are needed; the sources of
    each class must look as those of the test do.

    Args:
        called: K numbers of sources.
        confusion: (K, K), rows true, columns predicted, of a test.

    Returns:
        None if the test lacks a class, or could not tell the classes apart at all.
    """
    called, counts = np.asarray(called, dtype=float), np.asarray(confusion, dtype=float)
    n, tested = called.sum(), counts.sum(axis=1)
    if n == 0 or (tested == 0).any():
        return None
    rates = (counts / tested[:, None]).T
    if np.linalg.cond(rates) > 100:
        return None
    inverse, q = np.linalg.inv(rates), called / n
    shares = inverse @ q
    variance = _multinomial(_smoothed(called)) / n
    for x, row, size in zip(shares, counts, tested, strict=True):
        variance = variance + x**2 * _multinomial(_smoothed(row)) / size
    half = normal_quantile() * np.sqrt(np.diag(inverse @ variance @ inverse.T))
    return [_entry(n * x, n * h, n) for x, h in zip(shares, half, strict=True)]


def _smoothed(counts: np.ndarray) -> np.ndarray:
    return (counts + PRIOR_SOURCES) / (counts + PRIOR_SOURCES).sum()


def _multinomial(shares: np.ndarray) -> np.ndarray:
    """Returns the covariance of one multinomial draw, (K, K)."""
    return np.diag(shares) - np.outer(shares, shares)


def _entry(value: float, half: float, n: float) -> dict:
    """Returns a number of sources, of n at most, with its interval."""
    value, low, high = (float(min(max(one, 0.0), n)) for one in (value, value - half, value + half))
    return {"value": value, "low": low, "high": high}
