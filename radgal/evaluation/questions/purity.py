"""How complete and how pure a sample is that is cut at a probability, in the test and in a survey of another mix.

Legend: N sources, K classes, C thresholds, B draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from radgal.evaluation.intervals import percentile_interval, proportion
from radgal.evaluation.priors import rescaled
from radgal.evaluation.questions.question import Asked, Question
from radgal.evaluation.scorer import PRIOR_SOURCES
from radgal.figures.panels import Curve, Panel

THRESHOLDS = (*(i / 20 for i in range(1, 20)), 0.98, 0.99)
IN_TABLE = (0.5, 0.8, 0.9, 0.95, 0.99)
N_DRAWS = 1000
OF = 1000  # sources of a survey that expected numbers are given of


def selected(scores: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Returns how many sources of each class have a score of a threshold or more, (C, K).

    Args:
        scores: (N,), the probability of the class that is selected.
        labels: (N,) of 0..K-1.
    """
    kept = scores >= np.array(THRESHOLDS)[:, None] - 1e-12
    return kept.astype(int) @ np.eye(n_classes, dtype=int)[labels]


def purity_in_survey(
    kept: np.ndarray, n: np.ndarray, k: int, mix: Sequence[float], seed: int
) -> list[tuple[float | None, float | None, float | None]]:
    """Returns (purity, low, high) at each threshold of a survey with other shares of the classes than the test has.

    With f_j the part of class j that is selected it is mix_k f_k / sum_j mix_j f_j. The interval is the central 95 % of
    draws of all f_j from their Beta posteriors (4/3 of a source spread over class and kept or not, as for F1).

    Args:
        kept: (C, K) sources of each class that are selected.
        n: (K,) sources of each class, none 0.
        k: the class that is selected.
        mix: K shares of the survey.
        seed: of the draws.
    """
    prior = PRIOR_SOURCES / (2 * len(n))
    drawn = np.random.default_rng(seed).beta(kept + prior, n - kept + prior, size=(N_DRAWS, *kept.shape))
    parts, likely = mix * kept / n, mix * drawn
    found = []
    for one, some in zip(parts, np.moveaxis(likely, 1, 0), strict=True):
        low, high = percentile_interval(some[:, k] / some.sum(axis=1))
        value = float(one[k] / one.sum()) if one.sum() > 0 else None
        found.append((value, low, high) if value is None else (value, min(low, value), max(high, value)))
    return found


def ask(asked: Asked) -> dict:
    """Returns completeness and purity of each class against the threshold of its probability."""
    labels, priors, n_classes = asked.labels, asked.metrics.get("priors"), len(asked.classes)
    probs, n = asked.calibrated, np.bincount(labels, minlength=n_classes)
    mix = n / n.sum()
    if priors:
        mix = np.array([priors["survey"][name] for name in asked.classes])
        probs = rescaled(probs, mix, [priors["training"][name] for name in asked.classes])
    found = {}
    for k, name in enumerate(asked.classes):
        kept = selected(probs[:, k], labels, n_classes)
        complete = [proportion(one, n[k]) for one in kept[:, k]]
        shares = np.divide(mix * kept, n, out=np.zeros(kept.shape), where=n > 0).sum(axis=1)
        if priors and (n > 0).all():
            pure = purity_in_survey(kept, n, k, mix, asked.metrics["seed"])
        elif priors:
            pure = [(None, None, None)] * len(kept)
        else:
            entries = [proportion(one[k], one.sum()) for one in kept]
            pure = [(one["value"], one["low"], one["high"]) for one in entries]
        found[name] = {
            "completeness": [[one["value"], one["low"], one["high"]] for one in complete],
            "purity": [list(one) for one in pure],
            "selected": (OF * shares).tolist(),
        }
    return {
        "thresholds": list(THRESHOLDS),
        "survey": priors["survey"] if priors else None,
        "temperature": asked.temperature,
        "per_class": found,
    }


def _where(answer: dict) -> str:
    """Returns in words what mix the purity is of."""
    if answer["survey"] is None:
        return "the mix of the test"
    return "a survey of " + ", ".join(f"{100 * share:.3g} % {name}" for name, share in answer["survey"].items())


def says(answer: dict) -> str:
    """Returns the answer in a sentence."""
    i = answer["thresholds"].index(0.5)

    def text(one: list) -> str:
        value, *ends = one
        if value is None:
            return "not defined"
        return f"{100 * value:.1f} %" + ("" if None in ends else f" [{', '.join(f'{100 * x:.1f}' for x in ends)}]")

    parts = [
        f"{name} {text(one['completeness'][i])} complete, {text(one['purity'][i])} pure"
        for name, one in answer["per_class"].items()
    ]
    return f"at a probability of 0.5, in {_where(answer)}: {'; '.join(parts)}"


def rows(answer: dict) -> list[dict]:
    """Returns a row for each class and some thresholds."""
    found = []
    for name, one in answer["per_class"].items():
        for at in IN_TABLE:
            i = answer["thresholds"].index(at)
            row = {"class": name, "probability from": at}
            for key in ("completeness", "purity"):
                row |= dict(zip((key, f"{key} low", f"{key} high"), one[key][i], strict=True))
            found.append(row | {f"selected of {OF}": one["selected"][i]})
    return found


def panels(answer: dict) -> list[Panel]:
    """Returns completeness and purity of each class against the threshold."""
    x = answer["thresholds"]
    curves = {
        key: [
            Curve(name, x, [v for v, *_ in one[key]], [tuple(ends) for _, *ends in one[key]], k)
            for k, (name, one) in enumerate(answer["per_class"].items())
        ]
        for key in ("completeness", "purity")
    }
    label, ranges = "probability of the class, from", ((0, 1), (0, 1.03))
    return [
        Panel("Completeness", label, "part of the class that is kept", curves["completeness"], *ranges),
        Panel(f"Purity in {_where(answer)}", label, "part of the kept that is of the class", curves["purity"], *ranges),
    ]


QUESTION = Question(
    key="completeness_purity",
    title="Completeness and purity",
    means="Which part of a class is kept if only sources above a probability are taken, and which part of those is "
    "really of the class.",
    fails="Purity hangs on the shares of the classes: that of the test is of no other survey. With --priors it is "
    "corrected for the shares, but not for sources that look different there, or belong to no class of the network.",
    ask=ask,
    says=says,
    rows=rows,
    panels=panels,
)
