"""What logits and dropout samples say: log probabilities, entropies, uncertainties.

Legend: T MC-dropout passes, K classes.
"""

from __future__ import annotations

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the log probabilities of logits, over the last axis, in double precision without underflow."""
    from scipy.special import log_softmax as of

    return of(np.asarray(logits, dtype=np.float64), axis=-1)


def log_of_mean(probs: np.ndarray) -> np.ndarray:
    """Returns the logarithms of mean probabilities; of those that underflowed to 0, that of the smallest number."""
    return np.log(np.maximum(probs, np.finfo(np.float64).tiny))


def entropy(probs: np.ndarray) -> np.ndarray:
    """Returns -sum_k p_k ln p_k in nats over the last axis, with 0 ln 0 = 0 (Shannon 1948)."""
    from scipy.special import entr

    return entr(np.asarray(probs, dtype=np.float64)).sum(axis=-1)


def uncertainties(probs: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the total, data and model uncertainty of stochastic predictions, in nats.

    - ``predictive_entropy`` H[mean_t p_t]: Gal 2016; at most ln K.
    - ``expected_entropy`` mean_t H[p_t].
    - ``mutual_information`` between prediction and weights, their difference: Houlsby et al. 2011,
      arXiv:1112.5745; 0 where all passes agree.

    Args:
        probs: (T, ..., K), in [0, 1], sums of 1 over the last axis.

    Returns:
        Arrays (...), one under each of the three names.
    """
    probs = np.asarray(probs, dtype=np.float64)
    predictive = entropy(probs.mean(axis=0))
    # Never negative by Jensen's inequality; rounding may say otherwise in the last digit.
    expected = np.minimum(entropy(probs).mean(axis=0), predictive)
    return {
        "predictive_entropy": predictive,
        "expected_entropy": expected,
        "mutual_information": predictive - expected,
    }
