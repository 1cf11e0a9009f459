"""What the card of a network that comes along says: measured, or read from the saved files of runs; nothing by hand.

Legend: N sources, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from radgal.config.config import Config
from radgal.data.base import GalaxyImages
from radgal.data.datasets import kind_of
from radgal.data.firstgalaxy import FIRSTGalaxyOthers
from radgal.data.frdeep import FRDEEPN
from radgal.data.further import SAME_SKY_ARCSEC
from radgal.data.mirabest import MBFRConfident, MBFRConfident_v2, MBFRUncertain, MBHybrid
from radgal.data.samesource import Sources
from radgal.data.splits import Split, load_training_data
from radgal.evaluation.averaging import averaged_probabilities
from radgal.evaluation.calibration import temperature_of
from radgal.evaluation.crossvalidation import read_folds, recipe_of
from radgal.evaluation.evaluate import score_rotated
from radgal.evaluation.intervals import proportion
from radgal.evaluation.metrics import score_predictions
from radgal.evaluation.probabilities import log_softmax, uncertainties
from radgal.layers.modelinfo import count_parameters
from radgal.runs.checkpoint import TrainedRun
from radgal.runs.files import RunFile
from utils import UserError, counted

ROTATIONS = 20  # random ones, of an official test, as `evaluate` has them
MC_SAMPLES = 100
QUANTILE = 0.95  # of the entropies of cross-validated sources: above it, a network is "unsure"
RECORDED = ("counts", "git_commit", "git_changed_files", "training_seconds", "kept_epoch")
SCORES = ("error", "roc_auc", "nll", "brier", "ece")
LIMITS = (
    "Trained on images of the FIRST survey only: 1.4 GHz, beam 5.4 arcsec, {scale:g} arcsec per pixel, a field of "
    "{field:.0f} arcsec. Images of another survey, beam or pixel scale are unlike anything it learned from.",
    "It knows {classes} and nothing else. A compact or a bent source, a hybrid, an artifact or empty sky gets one of "
    "these classes all the same: look at the entropies, and at how it does on such sources, above.",
    "Its training sources were chosen by others, bright and well resolved; probabilities take their mix of classes for "
    "granted.",
    "A source larger than the field is cut off.",
)
LICENCE = {
    "weights": "BSD-3-Clause, as the program",
    "images": "FIRST and NVSS images may be used for scholarly, educational and private non-commercial purposes; none "
    "comes along with the network",
}
CITE = (
    "Scaife & Porter 2021, MNRAS 503, 2369, doi:10.1093/mnras/stab530 (networks)",
    "Weiler & Cesa 2019, arXiv:1911.08251 (steerable layers)",
)


def make_card(
    name: str, run: TrainedRun, crossed: dict | None, facts: dict, where: dict, say: Callable[[str], None]
) -> dict:
    """Returns the card of a trained run, but for what is known of its file.

    Args:
        run: with the weights that come along.
        crossed: what :func:`cross_validation` says of its recipe; None: there is none.
        facts: how its training went, with ``RECORDED`` among the keys; see :func:`record_of`.
        where: ``root``, ``download`` and ``mirror`` of the data sets to look at.
        say: prints.
    """
    kind, how = kind_of(run.config), run.preparation
    limits = {
        "scale": how.pixel_scale_arcsec,
        "field": how.pixel_scale_arcsec * how.imsize,
        "classes": " and ".join(run.classes),
    }
    training = load_training_data(run.config)
    return {
        "name": name,
        "network": {
            **{key: getattr(run.config.model, key) for key in ("base", "nrot", "head")},
            "parameters": count_parameters(run.model)[0],
        },
        "training": {
            **{key: run.checkpoint.get(key) for key in ("dataset", "version", "checksum")},
            "classes": list(run.classes),
            "notes": list(training.notes),
            **{key: facts[key] for key in RECORDED},
            "seed": run.seed,
            "recipe": recipe_of(run.config),
        },
        "cross_validation": crossed,
        "sets": look_at_sets(run, training.sources, crossed, where, say),
        "limits": [limit.format(**limits) for limit in LIMITS],
        "licence": LICENCE,
        "cite": [*CITE, kind.citation],
    }


def record_of(folder: Path) -> dict:
    """Returns how the training in a run's folder went.

    Raises:
        UserError: if nothing says so.
    """
    path = RunFile.ENVIRONMENT.at(folder)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): the card needs a run that was trained to its end") from None
    return found | {"counts": found["class_counts"]}


def cross_validation(folder: Path, config: Config) -> dict:
    """Returns what the folds of a recipe say of it, every source as the network judged it that had not seen it.

    The temperature is that of all sources together; scores with a temperature take, for each fold, that of the others.

    Args:
        folder: made by ``repeat --folds``, with any number of seeds.
        config: of the network that comes along: where its recipe is another, the card says so.

    Raises:
        UserError: if there are no folds, or a fold is missing.
    """
    folds = read_folds(folder)
    classes, n = folds.classes, folds.n_sources
    scaled = [one / t for one, t in zip(folds.logits, folds.temperatures_of_others(), strict=True)]
    every, label = np.concatenate(folds.logits), np.concatenate(folds.labels)
    rotated = 1 - np.concatenate([np.asarray(table["rotated_accuracy"]) for table in folds.tables])
    averaged = folds.of_classes("averaged_prob")
    entropies = np.concatenate([np.asarray(table["predictive_entropy"]) for table in folds.tables])
    return {
        "folder_recipe_differs": folds.differences(config),
        "n_folds": folds.n_folds,
        "n_seeds": folds.n_seeds,
        "n_sources": n,
        **_scores(every, label, classes),
        "error": _error(every, label, n),
        "averaged_error": None if averaged is None else _error(np.concatenate(averaged), label, n),
        "rotated_error": proportion(rotated.mean() * n, n),
        "rotated_error_per_class": {k: float(rotated[label == i].mean()) for i, k in enumerate(classes)},
        "temperature": temperature_of(every, label)["temperature"],
        "with_temperature": {
            key: value for key, value in _scores(np.concatenate(scaled), label, classes).items() if key in SCORES[2:]
        },
        "mean_predictive_entropy": float(entropies.mean()),
        "unsure_above": float(np.quantile(entropies, QUANTILE)),
    }


def _error(of: np.ndarray, labels: np.ndarray, n_sources: int | None = None) -> dict:
    """Returns the error with its interval, that of ``n_sources`` if they are there several times."""
    n = n_sources or len(labels)
    return proportion((of.argmax(axis=1) != labels).mean() * n, n)


def _scores(logits: np.ndarray, labels: np.ndarray, classes) -> dict:
    """Returns the scores that a card shows, and the recall of each class, each {"value", "low", "high", ...}."""
    found = score_predictions(logits, labels, tuple(classes))
    return {
        **{key: found[key] for key in SCORES},
        "recall": {name: row["recall"] for name, row in found["per_class"].items()},
    }


# What a card shows beside the cross-validation: in words, the data set, whether its training part is looked at too.
SETS: tuple[tuple[str, type[GalaxyImages], bool, str | None], ...] = (
    ("MiraBest v1, official test", MBFRConfident, False, None),
    ("MiraBest v2, official test", MBFRConfident_v2, False, None),
    ("MiraBest, uncertain", MBFRUncertain, True, None),
    ("MiraBest, hybrids", MBHybrid, True, None),
    ("FR-DEEP, NVSS", FRDEEPN, True, None),
    ("FIRSTGalaxyData, compact", FIRSTGalaxyOthers, True, "Compact"),
    ("FIRSTGalaxyData, bent", FIRSTGalaxyOthers, True, "Bent"),
)
OFFICIAL_TESTS = ("MiraBest v1, official test", "MiraBest v2, official test")


def look_at_sets(
    run: TrainedRun, learned: Sources, crossed: dict | None, where: dict, say: Callable[[str], None]
) -> dict[str, dict]:
    """Returns for each set what a network says of the sources in it that it was not trained on.

    Args:
        learned: the sources that it was trained and validated on.
        crossed: as :func:`cross_validation` gives it; its temperature is used.
    """
    found = {}
    for words, *choice in SETS:
        images, sources, classes = open_set(run, *choice, **where)
        trained_on = sources.rows_in(learned, SAME_SKY_ARCSEC)
        rows = [row for row in range(len(images)) if row not in trained_on]
        say(f"{words}: {counted(len(images), 'source')}, {len(trained_on)} of them trained on")
        found[words] = {
            "n_sources": len(images),
            "n_trained_on": len(trained_on) if any(sources.positions) else None,  # None: the names say no positions
            "n_looked_at": len(rows),
        }
        if rows and not (words in OFFICIAL_TESTS and trained_on):
            known = classes if classes == run.classes else None
            found[words] |= look_at(run, images.take(rows), known, crossed, words in OFFICIAL_TESTS)
    return found


def open_set(
    run: TrainedRun, kind: type[GalaxyImages], both: bool, only: str | None, **where
) -> tuple[Split, Sources, tuple[str, ...]]:
    """Returns the images of a set as a network takes them, its sources, and the names of its classes."""
    parts = [kind(train=train, **where) for train in ((True, False) if both else (False,))]
    images = run.preparation.crop(torch.cat([part.data for part in parts]))
    sources = sum(map(Sources.of, parts), Sources())
    split = Split(images, torch.cat([part.labels for part in parts]), sources.names)
    if only is None:
        return split, sources, kind.classes
    rows = torch.nonzero(split.labels == kind.classes.index(only)).flatten().tolist()
    return split.take(rows), sources.take(rows), kind.classes


def look_at(run: TrainedRun, images: Split, classes: tuple | None, crossed: dict | None, is_test: bool) -> dict:
    """Returns scores where the classes are the network's, and how sure it is in any case.

    Args:
        classes: None: the sources belong to none of its classes.
        crossed: gives the temperature of the scores, and above which entropy a source is unsure; or None.
        is_test: whether to turn the images at random too, as `evaluate` does.
    """
    logits, labels = run.logits(images.images), images.labels.numpy()
    entropies = uncertainties(run.dropout_samples(images.images, MC_SAMPLES))["predictive_entropy"]
    probs = np.exp(log_softmax(logits))
    found = {
        "predicted": {name: float((probs.argmax(axis=1) == k).mean()) for k, name in enumerate(run.classes)},
        "mean_predictive_entropy": float(entropies.mean()),
        "unsure": None if crossed is None else float((entropies > crossed["unsure_above"]).mean()),
    }
    if classes is None:
        return found
    temperature = 1.0 if crossed is None else crossed["temperature"]
    averaged = averaged_probabilities(run, images.images)
    found |= _scores(logits, labels, classes) | {"averaged_error": _error(averaged, labels)}
    scaled = _scores(logits / temperature, labels, classes)
    found["with_temperature"] = {key: scaled[key] for key in SCORES[2:]}
    if is_test:
        error = score_rotated(run, images, rotations=ROTATIONS)[0]["error"]
        found["rotated_error"] = {"value": error["mean"]} | {key: error[key] for key in ("low", "high", "sd")}
    return found
