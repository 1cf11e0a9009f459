"""Labels that a cross-validation doubts."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from radgal.repeats.labels import doubted, out_of_fold, write_doubted


def flipped(n: int, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Calibrated probabilities of three classes, labels of which a share is wrong, and which are."""
    logits = 2.0 * rng.normal(size=(n, 3))
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (probs.cumsum(1) > rng.random((n, 1))).argmax(1)
    wrong = rng.random(n) < share
    return probs, np.where(wrong, (truth + 1 + rng.integers(2, size=n)) % 3, truth), wrong


def test_wrong_labels_rank_far_above_chance():
    probs, labels, wrong = flipped(2000, 0.05, np.random.default_rng(0))
    rows, rather = doubted(probs, labels)
    assert len(set(rows)) == len(rows) < 700 and (rather != labels[rows]).all()
    assert wrong[rows[:60]].mean() > 5 * 0.05 and wrong[rows].sum() > 0.6 * wrong.sum()
    own = probs[rows, labels[rows]]
    assert (np.diff(own) >= 0).all()


def test_doubt_is_that_of_confident_learning_one_source_at_a_time():
    probs, labels, _ = flipped(300, 0.1, np.random.default_rng(1))
    rows, rather = doubted(probs, labels)
    threshold = [np.mean([p[k] for p, label in zip(probs, labels, strict=True) if label == k]) for k in range(3)]
    expected = {}
    for i, (p, label) in enumerate(zip(probs, labels, strict=True)):
        sure = [k for k in range(3) if p[k] >= threshold[k]]
        if sure and (best := max(sure, key=lambda k: p[k])) != label:
            expected[i] = best
    assert dict(zip(rows.tolist(), rather.tolist(), strict=True)) == expected and expected


def test_flipped_labels_of_real_images_are_found():
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    pixels, labels = (values[:600] for values in load_digits(return_X_y=True))
    rng = np.random.default_rng(3)
    wrong = rng.random(600) < 0.05
    given = np.where(wrong, (labels + 1 + rng.integers(9, size=600)) % 10, labels)
    model = LogisticRegression(max_iter=200)
    probs = cross_val_predict(model, pixels / 16, given, cv=5, method="predict_proba")
    rows, rather = doubted(probs, given)
    assert wrong[rows[:20]].mean() > 0.8 and wrong[rows].sum() > 0.6 * wrong.sum()  # chance: 0.05
    assert (rather == labels[rows])[wrong[rows]].mean() > 0.8


def test_doubted_labels_are_written_with_their_images(tmp_path):
    from radgal.api import read_config
    from radgal.data.firstgalaxy import FIRSTGalaxyData
    from tests.smallrun import CONFIG

    (tmp_path / "small.txt").write_text(CONFIG.format(folder=tmp_path.as_posix()))
    data = FIRSTGalaxyData(tmp_path, train=False)
    labels = data.targets[:]
    labels[3] = 1 - labels[3]
    probs = np.where(np.eye(2)[data.targets] == 1, 0.9, 0.1)
    run = {
        "config": "small",
        "seed": 0,
        "fold": 0,
        "names": list(data.names),
        "labels": labels,
        "upright": probs.tolist(),
    }
    run |= {"mc_dropout": None, "averaged": None, "rotated_accuracy": [1.0] * 100, "classes": ["FRI", "FRII"]}
    found = write_doubted(tmp_path, [run | {"missed": {}, "history": []}], read_config(tmp_path / "small.txt", []))
    assert (found["n_doubted"], found["n"], found["n_seeds"]) == (1, 100, 1)
    assert found["most"][0]["name"] == data.names[3] and json.loads(json.dumps(found)) == found
    with (tmp_path / "label_errors.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    names = ("FRI", "FRII")
    assert row["name"] == data.names[3] and (row["label_name"], row["rather"]) == (
        names[labels[3]],
        names[1 - labels[3]],
    )
    assert float(row["prob_label"]) == pytest.approx(0.1) and (tmp_path / "label_errors.png").is_file()


def test_nothing_is_doubted_where_nothing_speaks_against_labels():
    labels = np.arange(20) % 2
    assert len(doubted(np.eye(2)[labels], labels)[0]) == 0
    assert len(doubted(np.full((20, 2), 0.5), labels)[0]) <= 20
    probs = np.tile([0.2, 0.8], (20, 1))  # class 0 is never said to be there, and class 1 everywhere
    rows, rather = doubted(probs, np.ones(20, dtype=int))
    assert len(rows) == 0 and len(rather) == 0


def test_probabilities_are_the_mean_over_seeds_of_the_sources_all_held_out():
    runs = [
        {"names": ["a", "b", "c"], "labels": [0, 1, 0], "upright": [[0.9, 0.1], [0.5, 0.5], [1.0, 0.0]]},
        {"names": ["b", "a"], "labels": [1, 0], "upright": [[0.1, 0.9], [0.7, 0.3]]},
    ]
    names, labels, probs = out_of_fold(runs)
    assert names == ["a", "b"] and labels.tolist() == [0, 1]
    assert probs == pytest.approx(np.array([[0.8, 0.2], [0.3, 0.7]]))
