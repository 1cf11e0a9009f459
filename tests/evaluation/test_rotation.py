"""The overlap index against the published formula, the rotation test, the equivariance and invariance errors."""

from __future__ import annotations

import csv
import json
import math
import time

import numpy as np
import pytest
import torch
from torch import nn

from radgal.data.splits import Split, TrainingData
from radgal.evaluation import equivariance, overlapindex, overlapnoise, rotation
from radgal.images.preparation import Preparation
from radgal.images.transforms import rotate
from tests.networks import classifier_of
from utils import UserError

SIDE = 18
CLASSES = ("FRI", "FRII")


class SmallNet(nn.Module):
    """A conventional stand-in: a convolution, pooling, and a layer that reads the whole map."""

    symmetry: tuple[str, int] = ("e", 1)

    def __init__(self, n_classes: int = 2, dropout: float = 0.5):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.fc1 = nn.Linear(3 * (SIDE // 2) ** 2, 8)
        self.drop = nn.Dropout(dropout)
        self.fc2 = nn.Linear(8, n_classes)

    def trunk(self, x):
        return nn.functional.max_pool2d(self.conv(x).relu(), 2)

    def embed(self, x):
        return self.fc1(self.trunk(x).flatten(1)).relu()

    def classify(self, z):
        return self.fc2(self.drop(z))

    def forward(self, x):
        return self.classify(self.embed(x))


class SymmetricNet(SmallNet):
    """Equivariant to D4 by its kernels, which are symmetric under it; invariant by averaging the map."""

    symmetry = ("D", 4)

    def __init__(self):
        super().__init__()
        kernel = self.conv.weight.detach()
        copies = [torch.rot90(k, i, (-2, -1)) for k in (kernel, kernel.flip(-1)) for i in range(4)]
        self.conv.weight.data = torch.stack(copies).mean(0)
        self.fc1 = nn.Linear(3, 8)

    def embed(self, x):
        return self.fc1(self.trunk(x).mean((-2, -1))).relu()


def make_split(n: int = 5, seed: int = 0) -> Split:
    images = torch.randint(0, 256, (n, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(seed))
    return Split(images.to(torch.uint8), torch.arange(n) % 2, tuple(f"100_{i}" for i in range(n)))


@pytest.fixture
def model() -> SmallNet:
    torch.manual_seed(0)
    return SmallNet()


def published_overlap(x: list[float], y: list[float]) -> float:
    """The paper's formula, number by number."""
    beta, n_points = 0.1, 100

    def f(samples, z):
        return sum(math.exp(-0.5 * ((z - s) / beta) ** 2) for s in samples) / (
            len(samples) * beta * math.sqrt(2 * math.pi)
        )

    points = [i / (n_points - 1) for i in range(n_points)]
    return sum(min(f(x, z), f(y, z)) for z in points) / n_points


def test_overlap_index_is_the_published_formula():
    rng = np.random.default_rng(0)
    x, y = rng.beta(2, 5, size=(2, 3, 20)), rng.beta(5, 3, size=(2, 3, 20))
    found = overlapindex.overlap_index(x, y)
    assert found.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        assert found[i, j] == pytest.approx(published_overlap(x[i, j].tolist(), y[i, j].tolist()), abs=1e-12)


def test_overlap_index_has_the_published_bias_and_the_corrected_one_has_not():
    at = {value: np.full(100, value) for value in (0.0, 0.1, 0.5, 1.0)}
    assert overlapindex.overlap_index(at[0.5], at[0.5]) == pytest.approx(0.99, abs=1e-3)
    assert overlapindex.overlap_index(at[0.0], at[0.0]) == pytest.approx(0.515, abs=1e-3)
    assert overlapindex.overlap_index(at[1.0], at[1.0]) == pytest.approx(0.515, abs=1e-3)
    for samples in at.values():
        assert overlapindex.overlap_index_reflected(samples, samples) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("index", [overlapindex.overlap_index, overlapindex.overlap_index_reflected])
def test_overlap_indices_are_symmetric_and_bounded(index):
    rng = np.random.default_rng(1)
    x, y = rng.random((8, 50)) ** 4, 1 - rng.random((8, 50)) ** 4
    values = index(x, y)
    np.testing.assert_allclose(values, index(y, x))
    assert (values >= 0).all() and (values <= 1).all()
    assert index(np.zeros(9), np.ones(9)) < 1e-4
    assert index(x, x).min() > values.max()


def test_overlap_of_the_whole_test_set_is_quick():
    samples = np.random.default_rng(0).random((104, 9, 100))
    start = time.perf_counter()
    overlapindex.overlap_index(samples, 1 - samples)
    assert time.perf_counter() - start < 5


def test_every_source_and_pose_is_where_it_belongs():
    torch.manual_seed(0)
    sure, split = SmallNet(dropout=0.0), make_split()
    test = rotation.sample_rotations(
        classifier_of(sure, batch_size=4),
        split,
        angles_deg=(0, 30, 90),
        reflections=True,
        mc_samples=3,
    )
    assert test.probs.shape == (5, 6, 3, 2)
    assert test.flips.tolist() == [False] * 3 + [True] * 3
    for pose in range(6):
        poses = torch.full((5,), float(test.angles_deg[pose])), torch.full((5,), bool(test.flips[pose]))
        logits = torch.from_numpy(classifier_of(sure).logits(split.images, poses=poses))
        for t in range(3):
            np.testing.assert_allclose(test.probs[:, pose, t], logits.softmax(1), atol=1e-6)
    assert np.ptp(test.probs, axis=1).max() > 0.01 and np.ptp(test.probs, axis=0).max() > 0.01


def test_the_index_is_that_of_the_samples(model):
    test = rotation.sample_rotations(classifier_of(model), make_split(), angles_deg=(0, 50), mc_samples=20)
    x, y = test.probs[2, 1, :, 0], test.probs[2, 1, :, 1]
    assert test.overlap[2, 1] == pytest.approx(published_overlap(x.tolist(), y.tolist()))


def test_only_the_layers_after_dropout_run_for_every_pass(model):
    n_seen = []
    model.conv.register_forward_hook(lambda module, args, output: n_seen.append(len(output)))
    rotation.sample_rotations(classifier_of(model), make_split(), mc_samples=50)
    assert sum(n_seen) == 5 * 9


def test_overlap_of_more_than_two_classes_is_of_the_most_probable_two():
    torch.manual_seed(1)
    net = SmallNet(n_classes=4)
    net.fc2.bias.data = torch.tensor([-50.0, 0.0, -50.0, 0.0])
    test = rotation.sample_rotations(classifier_of(net, list("abcd")), make_split(), angles_deg=(0, 45), mc_samples=7)
    assert (test.pairs == [1, 3]).all()


def test_no_dropout_makes_all_passes_equal():
    test = rotation.sample_rotations(classifier_of(SmallNet(dropout=0.0)), make_split(), mc_samples=4)
    assert np.ptp(test.probs, axis=2).max() < 1e-6
    assert rotation.summarize_sources(test)["mutual_information"].max() < 1e-9


def test_rotation_test_writes_what_it_found(model, tmp_path):
    split = make_split()
    test = rotation.run_rotation_test(
        tmp_path, classifier_of(model), split, angles_deg=(0, 20, 40), mc_samples=10, max_figures=1
    )
    sources = list(csv.DictReader((tmp_path / "rotation_sources.csv").open()))
    poses = list(csv.DictReader((tmp_path / "rotation_poses.csv").open()))
    assert [row["name"] for row in sources] == list(split.names)
    assert len(poses) == 15 and poses[4]["name"] == "100_1" and poses[4]["angle_deg"] == "20.0"
    assert float(poses[4]["overlap_index"]) == pytest.approx(test.overlap[1, 1])
    assert float(sources[3]["overlap_index"]) == pytest.approx(test.overlap[3].mean())
    assert float(sources[3]["overlap_index_sd"]) == pytest.approx(test.overlap[3].std(ddof=1))
    saved = np.load(tmp_path / "rotation_samples.npz")
    np.testing.assert_allclose(saved["probs"], test.probs, rtol=1e-6)
    figures = [path.name for path in (tmp_path / "rotation_figures").iterdir()]
    assert figures == [f"{split.names[int(test.overlap.mean(1).argmax())]}.png"]


def test_nothing_of_an_earlier_test_is_left_beside_the_new_one(model, tmp_path):
    split, choices = make_split(), {"angles_deg": (0,), "mc_samples": 3}
    test = rotation.run_rotation_test(tmp_path, classifier_of(model), split, **choices)
    rotation.write_comparison(tmp_path, test, test, ("one", "two"))
    assert len(list((tmp_path / "rotation_figures").iterdir())) == 5
    rotation.run_rotation_test(tmp_path, classifier_of(model), split.take([2]), **choices)
    assert [path.name for path in (tmp_path / "rotation_figures").iterdir()] == ["100_2.png"]
    assert not list(tmp_path.glob("rotation_compare.*"))


def test_one_angle_has_no_spread_and_no_nan(model, tmp_path):
    rotation.run_rotation_test(tmp_path, classifier_of(model), make_split(), angles_deg=(0,), mc_samples=3)
    rows = list(csv.DictReader((tmp_path / "rotation_sources.csv").open()))
    assert rows[0]["overlap_index_sd"] == "" and "nan" not in str(rows).lower()


@pytest.mark.usefixtures("drawing")
def test_comparison_counts_by_name_and_threshold(model, tmp_path):
    found = overlapindex.compare(["a", "b", "c"], [0.1, 0.5, 0.3], ["c", "b", "a", "x"], [0.305, 0.4, 0.2, 0.9])
    assert (found["n_improved"], found["n_worsened"], found["n_unchanged"]) == (1, 1, 1)
    assert found["change"] == pytest.approx([-0.1, 0.1, -0.005])
    with pytest.raises(UserError, match="no test source in common"):
        overlapindex.compare(["a"], [0.1], ["b"], [0.1])
    split, choices = make_split(), {"angles_deg": (0, 90), "mc_samples": 5}
    one = rotation.sample_rotations(classifier_of(model), split, **choices)
    two = rotation.sample_rotations(classifier_of(SymmetricNet()), split.take([4, 2, 0]), **choices)
    result = rotation.write_comparison(tmp_path, one, two, ("one", "two"))
    assert json.loads((tmp_path / "rotation_compare.json").read_text()) == result
    rows = list(csv.DictReader((tmp_path / "rotation_compare.csv").open()))
    assert [row["name"] for row in rows] == ["100_0", "100_2", "100_4"]
    assert float(rows[2]["overlap_index_other"]) == pytest.approx(two.overlap[0].mean())
    assert result["overlap_index"]["n_sources"] == 3
    assert (tmp_path / "rotation_compare.png").stat().st_size > 1000


def test_angles_of_a_range():
    assert rotation.angle_range(0, 160, 20) == rotation.PUBLISHED_ANGLES == (0, 20, 40, 60, 80, 100, 120, 140, 160)
    assert rotation.angle_range(0, 1, 0.1)[-1] == pytest.approx(1.0)
    for bad in ((10, 0, 5), (0, 90, 0), (0, 400, 10)):
        with pytest.raises(UserError, match="need 0 <= start"):
            rotation.angle_range(*bad)


@pytest.mark.parametrize(("classes", "angles"), [(("one",), (0,)), (CLASSES, ())])
def test_rotation_test_refuses_what_it_cannot_do(model, classes, angles):
    with pytest.raises(UserError):
        rotation.sample_rotations(classifier_of(model, classes), make_split(), angles_deg=angles)


def test_turning_whole_pixels_agrees_with_interpolation():
    x = torch.rand(2, 3, 9, 9, dtype=torch.float64)
    for angle in (0.0, 90.0, 180.0, 270.0, 360.0):
        for flip in (False, True):
            by_grid = rotate(x, torch.full((2,), angle), torch.full((2,), flip))
            torch.testing.assert_close(equivariance.turn(x, angle, flip), by_grid)


def test_group_elements():
    assert equivariance.group_elements(("e", 1)) == [(0.0, False)]
    assert equivariance.group_elements(("C", 4)) == [(0.0, False), (90.0, False), (180.0, False), (270.0, False)]
    assert len(set(equivariance.group_elements(("D", 16)))) == 32


def test_errors_vanish_for_a_symmetric_network_only(model):
    images = make_split(4).images
    symmetric = SymmetricNet().double()
    ours = equivariance.measure_errors(classifier_of(symmetric), images, step_deg=30)
    plain = equivariance.measure_errors(classifier_of(model.double()), images, step_deg=30)
    exact = [row for row in ours if row["exact"]]
    assert len(exact) == 9 and sum(row["flip"] for row in exact) == 4
    assert max(row["equivariance_error"] for row in exact) < 1e-12
    assert max(row["invariance_error"] for row in exact) < 1e-12
    assert min(row["equivariance_error"] for row in ours if not row["exact"]) > 1e-3
    for row in plain:
        if row["angle_deg"] not in (0.0, 360.0):
            assert row["equivariance_error"] > 0.05 and row["invariance_error"] > 1e-3
    assert plain[0]["equivariance_error"] == 0.0


@pytest.mark.parametrize("head", ["flatten", "invariant"])
def test_steerable_network_turns_its_maps_and_only_the_invariant_head_keeps_its_logits(head):
    import models

    torch.manual_seed(0)
    network = models.build_model("DNSteerableLeNet", n_classes=2, side=SIDE, nrot=4, head=head).double()
    rows = equivariance.measure_errors(classifier_of(network), make_split(3).images, step_deg=90)
    assert len(rows) == 9 and all(row["exact"] for row in rows)
    assert max(row["equivariance_error"] for row in rows) < 1e-12
    logits_moved = max(row["invariance_error"] for row in rows)
    assert logits_moved < 1e-5 if head == "invariant" else logits_moved > 1e-3


def test_blank_images_have_defined_errors(model):
    model.conv.bias.data.fill_(-1.0)  # every activation of a blank image is 0
    blank = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.uint8)
    rows = equivariance.measure_errors(classifier_of(model, mean=0.0, std=1.0), blank, step_deg=90)
    assert all(row["equivariance_error"] == 0.0 and row["invariance_error"] == 0.0 for row in rows)


def test_spoiled_weights_are_said(model):
    model.conv.weight.data.fill_(math.nan)
    with pytest.raises(UserError, match="NaN or infinite"):
        equivariance.measure_errors(classifier_of(model), make_split(2).images, step_deg=90)


@pytest.mark.usefixtures("drawing")
def test_equivariance_writes_models_side_by_side(model, tmp_path):
    models = {"plain": model, "symmetric": SymmetricNet()}
    images = {name: make_split(3).images for name in models}
    rows = equivariance.run_equivariance(
        tmp_path, {k: classifier_of(v) for k, v in models.items()}, images, step_deg=45
    )
    read = list(csv.DictReader((tmp_path / "equivariance.csv").open()))
    assert len(read) == len(rows) == 9 + 13
    assert {row["model"] for row in read} == set(models)
    summary = list(csv.DictReader((tmp_path / "equivariance_summary.csv").open()))
    worst = {(row["model"], row["poses"]): float(row["equivariance_error_max"]) for row in summary}
    assert worst["symmetric", "elements of its group"] < 1e-5 < 0.05 < worst["plain", "quarter turns"]
    assert (tmp_path / "equivariance.png").stat().st_size > 1000
    assert "symmetric" in equivariance.describe(rows)


def test_networks_are_measured_on_the_same_sources():
    def training_data(names, side):
        images = torch.stack([torch.full((1, side, side), int(name[1:]), dtype=torch.uint8) for name in names])
        half = len(names) // 2
        whole = Split(images, torch.zeros(len(names), dtype=torch.int64), tuple(names))
        parts = whole.take(list(range(half))), whole.take(list(range(half, len(names))))
        return TrainingData(*parts, ("a", "b"), Preparation(0.0, 1.0, 4), "data", "v1", "md5:0")

    a, b = training_data([f"s{i}" for i in range(20)], 6), training_data([f"s{i}" for i in range(39, 9, -1)], 8)
    images, same = equivariance.choose_images({"a": a, "b": b}, 4)
    assert same and images["a"].shape == (4, 1, 6, 6) and images["b"].shape == (4, 1, 8, 8)
    assert images["a"][:, 0, 0, 0].tolist() == images["b"][:, 0, 0, 0].tolist()
    assert len(set(images["a"][:, 0, 0, 0].tolist())) == 4
    _, same = equivariance.choose_images({"a": a, "c": training_data([f"s{i}" for i in range(50, 60)], 6)}, 4)
    assert not same
    with pytest.raises(UserError, match="--n-images 0"):
        equivariance.choose_images({"a": a}, 0)


def test_changes_of_one_network_are_told_from_those_of_another():
    rng = np.random.default_rng(0)

    def found(sureness: float) -> rotation.RotationTest:
        margin = rng.normal(sureness, 1.0, size=(60, 3, 60))
        probs = np.stack([1 / (1 + np.exp(margin)), 1 / (1 + np.exp(-margin))], axis=-1)
        x, y = probs[..., 0], probs[..., 1]
        indices = overlapindex.overlap_index(x, y), overlapindex.overlap_index_reflected(x, y)
        names = tuple(f"s{i}" for i in range(60))
        pose = np.arange(3.0), np.zeros(3, dtype=bool)
        return rotation.RotationTest(
            names, np.zeros(60, int), CLASSES, *pose, probs, np.tile([0, 1], (60, 1)), *indices
        )

    def compare(one: rotation.RotationTest, two: rotation.RotationTest) -> dict:
        change = two.overlap.mean(axis=1) - one.overlap.mean(axis=1)
        chance = [overlapnoise.changes_by_chance(test, "overlap") for test in (one, two)]
        return overlapnoise.noise_of_comparison(change, chance) | {"sd": change.std(), "n": (abs(change) > 0.01).sum()}

    same = compare(found(1.0), found(1.0))
    assert same["noise_sd"] == pytest.approx(same["sd"], rel=0.3) and same["n_by_chance"] == pytest.approx(
        same["n"], abs=12
    )
    assert same["n"] > 10 and same["n_improved_beyond_noise"] + same["n_worsened_beyond_noise"] < 9
    assert same["p"] > 0.001 and same["mean_change_low"] < same["mean_change_high"]
    other = compare(found(1.0), found(1.6))
    assert other["n_improved_beyond_noise"] > 40 and other["p"] < 1e-6 and other["mean_change_high"] < 0
