"""The probabilities averaged over poses: which poses, what mean, and the same from evaluation and prediction."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import models
from radgal.data.splits import Split
from radgal.evaluation import averaging, evaluate, intervals
from radgal.prediction.chunk import predict_images
from tests.networks import classifier_of

SIDE = 18


def network(base: str, nrot: int | None):
    torch.manual_seed(0)
    return models.build_model(base, n_classes=2, side=SIDE, nrot=nrot)


@pytest.mark.parametrize(
    ("base", "nrot", "flips"),
    [("VanillaLeNet", None, [False]), ("CNSteerableLeNet", 4, [False]), ("DNSteerableLeNet", 2, [False, True])],
)
def test_evaluation_and_prediction_average_over_the_same_poses(base, nrot, flips):
    run = classifier_of(network(base, nrot))
    assert averaging.fixed_poses(run.model, 4) == [(90.0 * i, flip) for flip in flips for i in range(4)]
    assert averaging.fixed_poses(run.model, 1) == [(0.0, False)]
    images = torch.randint(0, 256, (6, 1, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    test = Split(images, torch.arange(6) % 2, tuple("abcdef"))
    found, table = evaluate.evaluate_test(run, test, None, rotations=1, mc_samples=2)
    averaged = np.stack([table["averaged_prob_FRI"], table["averaged_prob_FRII"]], axis=1)
    predicted, *_ = predict_images(run, images, range(6), rotations=8)
    np.testing.assert_allclose(averaged, predicted, atol=1e-9)
    right = averaged.argmax(1) == test.labels.numpy()
    assert found["averaged"]["accuracy"] == intervals.proportion(right.sum(), 6)
    assert (found["averaged"]["n_rotations"], found["averaged"]["reflections"]) == (8, True in flips)
    assert table["averaged_correct"].tolist() == right.tolist()

    quarters, *_ = predict_images(run, images, range(6), rotations=4)
    turned = [torch.rot90(images.flip(-1) if flip else images, k, dims=(2, 3)) for flip in flips for k in range(4)]
    np.testing.assert_allclose(quarters, np.mean([run.probabilities(one) for one in turned], axis=0), atol=1e-6)
    assert np.abs(quarters - run.probabilities(images)).max() > 1e-4
