"""The card of a network that tests make."""

from __future__ import annotations

PROPORTION = {"value": 0.25, "low": 0.2, "high": 0.3, "interval": "wilson", "standard_error": 0.02}
SCORES = {key: {"value": 0.5, "low": 0.4, "high": 0.6} for key in ("roc_auc", "nll", "brier", "ece")}
SCORED = {
    "error": PROPORTION,
    **SCORES,
    "recall": {"FRI": PROPORTION, "FRII": PROPORTION},
    "with_temperature": {key: SCORES[key] for key in ("nll", "brier", "ece")},
}
SEEN = {"predicted": {"FRI": 0.125, "FRII": 0.875}, "mean_predictive_entropy": 0.3125, "unsure": 0.375}
CARD = {
    "name": "fr-small",
    "network": {"base": "VanillaLeNet", "nrot": None, "head": "flatten", "parameters": 12345},
    "training": {
        "dataset": "FIRSTGalaxyData",
        "version": "0.2.1",
        "checksum": "md5:0",
        "classes": ["FRI", "FRII"],
        "counts": {"train": {"FRI": 3, "FRII": 4}},
        "notes": ["2 sources were left out"],
        "git_commit": "abc",
        "git_changed_files": 0,
        "training_seconds": 60.0,
        "kept_epoch": 2,
        "seed": 42,
        "recipe": {"model": {"base": "VanillaLeNet"}, "data": {"dataset": "FIRSTGalaxyData"}},
    },
    "cross_validation": {
        "folder_recipe_differs": ["[training] epochs: 3 there, 2 here"],
        "n_folds": 5,
        "n_seeds": 1,
        "n_sources": 7,
        **SCORED,
        "rotated_error": PROPORTION,
        "averaged_error": None,
        "rotated_error_per_class": {"FRI": 0.25, "FRII": 0.125},
        "temperature": 1.75,
        "mean_predictive_entropy": 0.125,
        "unsure_above": 0.625,
    },
    "sets": {
        "MiraBest v1, official test": {"n_sources": 104, "n_trained_on": 86, "n_looked_at": 18},
        "MiraBest, uncertain": {"n_sources": 9, "n_trained_on": 2, "n_looked_at": 7, **SEEN, **SCORED}
        | {"averaged_error": PROPORTION},
        "FR-DEEP, NVSS": {"n_sources": 9, "n_trained_on": None, "n_looked_at": 9, **SEEN},
    },
    "limits": ["a limit"],
    "licence": {"weights": "BSD-3-Clause"},
    "cite": ["a paper"],
    "file": {
        "bytes": 1_230_000,
        "sha256": "0",
        "precision": "float16",
        "largest_difference": 2e-4,
        "images_compared": 200,
    },
}
