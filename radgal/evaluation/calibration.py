"""The temperature that makes probabilities as sure as they should be, and what else sources not learned from tell.

Legend: N sources, K classes, T temperature.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from radgal.data.splits import Split
from radgal.evaluation.conformal import class_scores
from radgal.evaluation.probabilities import log_softmax
from radgal.evaluation.scorer import check_predictions
from radgal.runs import checkpoint
from radgal.runs.checkpoint import LARGEST_TEMPERATURE, TrainedRun

PRIOR_SD = 1.0  # of ln T about 0


def temperature_of(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns the temperature T of softmax(logits / T) that is the most probable one, with its 95 % interval.

    Guo et al. 2017, arXiv:1706.04599, who minimize the negative log-likelihood. Where all sources are classified
    rightly that has no minimum: T would go to 0 and make one mistake of the test count without bound. So ln T has a
    normal prior of mean 0 and standard deviation 1, which hundreds of sources with mistakes outweigh. T is between 0.01
    and 100; the ends of the interval are where the logarithm of the posterior is 1.92 lower.

    Args:
        logits: (N, K) of the *validation* sources.
        labels: (N,).
    """
    from scipy.optimize import brentq, minimize_scalar

    check_predictions(logits, labels, logits.shape[1])
    rows, limit = np.arange(len(labels)), math.log(LARGEST_TEMPERATURE)

    def loss(x: float) -> float:
        return -log_softmax(logits / math.exp(x))[rows, labels].sum() + 0.5 * (x / PRIOR_SD) ** 2

    best = float(minimize_scalar(loss, bounds=(-limit, limit), method="bounded").x)
    least = loss(best) + 1.92
    ends = [end if loss(end) <= least else brentq(lambda x: loss(x) - least, best, end) for end in (-limit, limit)]
    low, high = map(math.exp, ends)
    return {"temperature": math.exp(best), "low": low, "high": high, "n_validation": len(labels)}


def store_temperature(run: TrainedRun, val: Split | None) -> TrainedRun:
    """Writes the temperature of a run into its checkpoint, for `predict`; returns the run with it.

    Without validation sources there is none. Those that chose the kept epoch make a network look surer than it is of
    others, which is said wherever the temperature is used.
    """
    if val is None:
        return run
    chose = "" if run.config.keeps_last else ", which chose the kept epoch"
    return store(run, run.logits(val.images), val.labels.cpu().numpy(), f"{len(val)} validation sources{chose}")


def store(run: TrainedRun, logits: np.ndarray, labels: np.ndarray, on: str) -> TrainedRun:
    """Writes the temperature, and the scores of :mod:`radgal.evaluation.conformal`, into a run's checkpoint.

    Args:
        run: whose checkpoint is written anew.
        logits: (N, K) of sources that the network that was asked had not learned from.
        labels: (N,).
        on: what those sources are, in words.

    Returns:
        The run with them.
    """
    found = temperature_of(logits, labels)
    about = {"on": on, "low": found["low"], "high": found["high"]}
    about["scores"] = class_scores(np.exp(log_softmax(logits)), labels)
    content = run.checkpoint | {"temperature": found["temperature"], "calibration": about}
    checkpoint.save(run.path, content)
    return replace(run, checkpoint=content)
