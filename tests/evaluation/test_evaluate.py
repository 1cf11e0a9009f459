"""Scores against scikit-learn, dropout passes, rotations, calibration, the table of sources, bad input."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from radgal.data.splits import Split
from radgal.evaluation import calibration, evaluate, intervals, metrics, probabilities, scorer
from radgal.files import tables
from tests.networks import classifier_of
from utils import UserError

CLASSES = ("FRI", "FRII")
SIDE = 10


class SmallNet(nn.Module):
    """A stand-in with the methods that evaluation relies on."""

    def __init__(self, n_classes: int = 2, dropout: float = 0.5):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.fc1 = nn.Linear(SIDE * SIDE, 16)
        self.drop = nn.Dropout(dropout)
        self.fc2 = nn.Linear(16, n_classes)

    def embed(self, x):
        return self.fc1(self.norm(x).flatten(1)).relu()

    def classify(self, z):
        return self.fc2(self.drop(z))

    def forward(self, x):
        return self.classify(self.embed(x))


class WholeNet(nn.Module):
    """The same network with no embed and classify to call."""

    def __init__(self, inner: SmallNet):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def make_split(n: int = 40, n_classes: int = 2, seed: int = 0, prefix: str = "test") -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 1, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    labels = torch.arange(n) % n_classes
    return Split(images, labels, tuple(f"{prefix}{i}" for i in range(n)))


@pytest.fixture
def model() -> SmallNet:
    torch.manual_seed(0)
    return SmallNet()


def random_case(n_classes: int, n: int = 120):
    rng = np.random.default_rng(n_classes)
    labels = rng.permutation(np.arange(n) % n_classes)
    logits = rng.normal(size=(n, n_classes)) + 1.5 * np.eye(n_classes)[labels]
    logits[::7] = np.round(logits[::7])  # ties, which the ROC must count one half
    return logits, labels, [f"class {k}" for k in range(n_classes)]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_agree_with_scikit_learn(n_classes):
    from sklearn import metrics as known

    logits, labels, classes = random_case(n_classes)
    ours = metrics.score_predictions(logits, labels, classes)
    probs, preds = np.exp(probabilities.log_softmax(logits)), logits.argmax(1)
    precision, recall, f1, support = known.precision_recall_fscore_support(labels, preds)
    auc = (
        known.roc_auc_score(labels, probs[:, 1])
        if n_classes == 2
        else known.roc_auc_score(labels, probs, multi_class="ovr", average="macro")
    )
    brier = (
        known.brier_score_loss(labels, probs[:, 1])
        if n_classes == 2
        else ((probs - np.eye(n_classes)[labels]) ** 2).sum(1).mean()
    )
    assert ours["confusion"] == known.confusion_matrix(labels, preds).tolist()
    assert ours["accuracy"]["value"] == pytest.approx(known.accuracy_score(labels, preds), abs=1e-6)
    assert ours["error"]["value"] == pytest.approx(known.zero_one_loss(labels, preds), abs=1e-6)
    assert ours["nll"]["value"] == pytest.approx(known.log_loss(labels, probs), abs=1e-6)
    assert ours["roc_auc"]["value"] == pytest.approx(auc, abs=1e-6)
    assert ours["brier"]["value"] == pytest.approx(brier, abs=1e-6)
    for k, name in enumerate(classes):
        one = ours["per_class"][name]
        assert one["precision"]["value"] == pytest.approx(precision[k], abs=1e-6)
        assert one["recall"]["value"] == pytest.approx(recall[k], abs=1e-6)
        assert one["f1"]["value"] == pytest.approx(f1[k], abs=1e-6)
        assert one["n_sources"] == support[k]


def test_calibration_error_is_the_binned_gap():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(scale=3, size=(300, 2)), rng.integers(2, size=300)
    probs = np.exp(probabilities.log_softmax(logits))
    expected = sum(
        bin["n"] / 300 * abs(bin["accuracy"] - bin["confidence"]) for bin in scorer.reliability(probs, labels)
    )
    assert metrics.score_predictions(logits, labels, CLASSES)["ece"]["value"] == pytest.approx(expected)
    assert scorer.confidence_bins(np.array([1 / 15, 1 / 15 + 1e-9, 0.5, 1.0])).tolist() == [0, 1, 7, 14]


def test_calibration_error_agrees_with_torchmetrics():
    known = pytest.importorskip("torchmetrics.functional.classification")
    logits, labels, classes = random_case(3)
    probs = torch.from_numpy(np.exp(probabilities.log_softmax(logits)))
    theirs = known.multiclass_calibration_error(probs, torch.from_numpy(labels), 3, n_bins=15)
    assert metrics.score_predictions(logits, labels, classes)["ece"]["value"] == pytest.approx(float(theirs), abs=1e-6)


def test_intervals_hold_the_value_and_follow_the_seed():
    logits, labels, classes = random_case(2)
    first = metrics.score_predictions(logits, labels, classes, seed=1)
    assert first == metrics.score_predictions(logits, labels, classes, seed=1)
    assert first["mcc"]["low"] != metrics.score_predictions(logits, labels, classes, seed=2)["mcc"]["low"]
    for name in ("accuracy", "error", "roc_auc", "nll", "brier"):
        assert first[name]["low"] < first[name]["value"] < first[name]["high"]


def test_wilson_interval_has_a_width_without_any_error():
    # Wilson 1927 for 104 of 104: low = n / (n + z^2)
    z2 = 1.959963984540054**2
    assert intervals.proportion(104, 104)["low"] == pytest.approx(104 / (104 + z2))
    assert intervals.proportion(104, 104)["high"] == 1.0
    assert intervals.proportion(0, 0)["value"] is None


def test_wilson_interval_agrees_with_scipy():
    from scipy.stats import binomtest

    for k, n in ((0, 1), (1, 1), (3, 7), (98, 104), (104, 104)):
        known, ours = binomtest(k, n).proportion_ci(0.95, method="wilson"), intervals.proportion(k, n)
        assert (ours["low"], ours["high"]) == (pytest.approx(known.low, abs=1e-9), pytest.approx(known.high, abs=1e-9))
    low, between, high = (intervals.proportion(k, 104)["low"] for k in (90, 90.5, 91))
    assert low < between < high


def test_missing_class_and_unpredicted_class_give_none_not_nan():
    logits = np.tile([2.0, -1.0, -3.0], (5, 1))
    result = metrics.score_predictions(logits, np.zeros(5, int), ["a", "b", "c"])
    text = json.dumps(result, allow_nan=False)
    assert result["roc_auc"] == {"value": None, "low": None, "high": None, "interval": "delong"}
    assert result["per_class"]["b"]["recall"]["value"] is None
    assert result["per_class"]["b"]["precision"]["value"] is None
    assert result["per_class"]["b"]["f1"]["value"] is None
    assert result["per_class"]["a"]["f1"]["value"] == 1.0
    assert "NaN" not in text


def test_huge_logits_do_not_underflow():
    result = metrics.score_predictions(np.array([[1e4, -1e4], [1e4, -1e4]]), np.array([0, 1]), CLASSES)
    assert result["nll"]["value"] == pytest.approx(1e4)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([[math.nan, 0.0], [0.0, 1.0]], [0, 1], "NaN or infinite for 1 of 2"),
        ([[0.0, 1.0, 2.0]], [0], "outputs of shape"),
        (np.zeros((0, 2)), [], "no test sources"),
        ([[0.0, 1.0]], [2], "labels must be 0..1"),
    ],
)
def test_what_cannot_be_scored_is_said_clearly(logits, labels, message):
    with pytest.raises(UserError, match=message):
        metrics.score_predictions(np.array(logits), np.array(labels, dtype=int), CLASSES)


def test_uncertainties_are_ordered_and_bounded():
    probs = np.random.default_rng(0).dirichlet([0.3, 0.3, 0.3], size=(50, 20))
    found = probabilities.uncertainties(probs)
    mutual, total = found["mutual_information"], found["predictive_entropy"]
    assert (mutual >= 0).all() and (mutual <= total).all() and (total <= math.log(3) + 1e-12).all()
    assert mutual.max() > 0.1
    certain = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])  # sure passes that contradict each other
    found = probabilities.uncertainties(certain)
    assert found["mutual_information"] == pytest.approx(math.log(2))
    assert found["expected_entropy"] == pytest.approx(0.0)


def test_dropout_passes_differ_only_by_dropout(model):
    images = make_split(6).images
    model.train()
    probs = classifier_of(model).dropout_samples(images, 400, seed=1)
    assert model.training and model.drop.training and model.norm.training
    assert model.norm.num_batches_tracked == 0
    assert probs.shape == (400, 6, 2)
    assert probs.std(axis=0).min() > 0.001
    np.testing.assert_allclose(probs.sum(-1), 1)
    again = classifier_of(model).dropout_samples(images, 400, seed=1)
    np.testing.assert_array_equal(probs, again)
    whole = classifier_of(WholeNet(model)).dropout_samples(images, 400, seed=2)
    np.testing.assert_allclose(whole.mean(0), probs.mean(0), atol=0.05)
    np.testing.assert_allclose(whole.std(0), probs.std(0), atol=0.03)


def test_no_dropout_no_mutual_information():
    probs = classifier_of(SmallNet(dropout=0.0)).dropout_samples(make_split(5).images, 20)
    assert probabilities.uncertainties(probs)["mutual_information"].max() < 1e-9


def test_dropout_leaves_the_global_random_state(model):
    before = torch.get_rng_state()
    classifier_of(model).dropout_samples(make_split(3).images, 5)
    assert torch.equal(before, torch.get_rng_state())


def test_logits_do_not_depend_on_the_batches(model):
    images = make_split(9).images
    one = classifier_of(model, batch_size=2).logits(images)
    np.testing.assert_allclose(one, classifier_of(model, batch_size=9).logits(images), rtol=1e-5)


def test_temperature_recovers_a_known_one_and_is_the_optimum():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(20000, 2))
    labels = (rng.random(20000) < np.exp(probabilities.log_softmax(logits))[:, 1]).astype(int)
    found = calibration.temperature_of(3.0 * logits, labels)
    assert found["temperature"] == pytest.approx(3.0, rel=0.05)
    assert 2.8 < found["low"] < found["temperature"] < found["high"] < 3.2


@pytest.mark.parametrize("margin", [0.5, 4.0, 30.0])
def test_temperature_stays_sane_where_all_are_right(margin):
    """Without a prior there is no minimum: T is 0.01, and one mistake of the test then costs a hundredfold."""
    labels = np.arange(146) % 2
    found = calibration.temperature_of(margin * np.eye(2)[labels], labels)
    assert 0.08 < found["temperature"] < 1.01 and found["low"] < found["temperature"] < found["high"]


def test_the_interval_of_a_temperature_holds_it():
    rng, held = np.random.default_rng(1), 0
    for _ in range(100):
        logits = rng.normal(scale=2, size=(100, 2))
        labels = (rng.random(100) < np.exp(probabilities.log_softmax(logits))[:, 1]).astype(int)
        found = calibration.temperature_of(2.0 * logits, labels)
        held += found["low"] < 2.0 < found["high"]
    assert 88 < held < 100


def test_temperature_is_fitted_on_validation_alone(model):
    test, val = make_split(30), make_split(30, seed=1, prefix="val")
    relabeled = dataclasses.replace(test, labels=1 - test.labels)
    other_val = dataclasses.replace(val, labels=torch.zeros_like(val.labels))

    def temperature(test, val):
        result, _ = evaluate.evaluate_test(classifier_of(model), test, val, rotations=1, mc_samples=2)
        return result["temperature"]["temperature"]

    assert temperature(test, val) == temperature(relabeled, val)
    assert temperature(test, val) != temperature(test, other_val)


def test_test_sources_may_not_have_chosen_anything(model):
    test = make_split(10)
    with pytest.raises(UserError, match="both the validation and the test set, such as test0"):
        evaluate.evaluate_test(classifier_of(model), test, test.take([0, 1]))


def test_validation_does_not_reach_any_other_score(model):
    test, val = make_split(20), make_split(8, seed=1, prefix="val")
    with_val, _ = evaluate.evaluate_test(classifier_of(model), test, val, rotations=2, mc_samples=3)
    without, _ = evaluate.evaluate_test(classifier_of(model), test, None, rotations=2, mc_samples=3)
    assert without.pop("temperature") is None and with_val.pop("temperature")["n_validation"] == 8
    assert with_val == without


def test_rotated_passes_count_missed_sources(model):
    test = make_split(20)
    result, hits = evaluate.score_rotated(classifier_of(model), test, rotations=5, seed=3)
    missed = sum(one["mean"] for one in result["missed_per_class"].values())
    assert hits.shape == (5, 20)
    assert result["error"]["mean"] == pytest.approx(missed / 20)
    assert result["accuracy"]["sd"] == pytest.approx(hits.mean(1).std(ddof=1))
    ends = [result["accuracy"][end] for end in ("low", "high")]
    assert ends == [intervals.proportion(hits.mean() * 20, 20)[end] for end in ("low", "high")]
    sure = SmallNet()
    sure.fc2.bias.data = torch.tensor([99.0, -99.0])  # all right, and the interval has a width
    all_right = dataclasses.replace(test, labels=torch.zeros_like(test.labels))
    accuracy = evaluate.score_rotated(classifier_of(sure), all_right, rotations=2)[0]["accuracy"]
    assert accuracy["mean"] == 1 and accuracy["high"] == 1 and 0.8 < accuracy["low"] < 0.9
    assert result["error"]["low"] == pytest.approx(1 - result["accuracy"]["high"])
    angles = evaluate.random_angles(5, 20, 3)[2]
    logits = classifier_of(model).logits(test.images, poses=(angles, None))
    assert hits[2].tolist() == (logits.argmax(1) == test.labels.numpy()).tolist()
    assert evaluate.score_rotated(classifier_of(model), test, rotations=1)[0]["accuracy"]["sd"] is None


def test_table_has_every_source_in_its_row(model, tmp_path):
    from astropy.table import Table

    names = ["200_175.915-046.356_0.1160_0007.93", "100_162.947+055.386_0.0739_0250.34", "no such name", "b"]
    split = make_split(4)
    test = Split(split.images, split.labels, tuple(names))
    result, table = evaluate.evaluate_test(classifier_of(model), test, None, rotations=3, mc_samples=4)
    json.dumps(result, allow_nan=False)
    logits = classifier_of(model).logits(test.images)
    for suffix in (".csv", ".ecsv", ".fits"):
        path = tmp_path / f"sources{suffix}"
        tables.write_table(table, path)
        read = Table.read(path)
        assert [str(name) for name in read["name"]] == names
        assert str(read["class_code"][0]) == "200"
        assert read["dec_deg"][0] == pytest.approx(-46.356)
        assert read["las_arcsec"][1] == pytest.approx(250.34)
        assert np.ma.is_masked(read["redshift"][2])
        np.testing.assert_array_equal(read["label"], test.labels.numpy())
        np.testing.assert_allclose(read["prob_FRII"], np.exp(probabilities.log_softmax(logits))[:, 1], rtol=1e-6)
        correct = [str(one) == "True" for one in read["correct"]]
        assert correct == (logits.argmax(1) == test.labels.numpy()).tolist()
    assert str(Table.read(tmp_path / "sources.ecsv")["ra_deg"].unit) == "deg"
    assert "nan" not in (tmp_path / "sources.csv").read_text().lower()


def test_names_beyond_ascii_are_escaped_in_fits_and_whole_elsewhere(model, tmp_path):
    """FITS allows ASCII only; classes and sources of one's own images may have any name."""
    from astropy.table import Table

    split = make_split(4)
    test = Split(split.images, split.labels, ("Größe", "b", "c", "d"))
    _, table = evaluate.evaluate_test(classifier_of(model, ("FRI", "übrig")), test, None, rotations=1, mc_samples=2)
    for suffix in (".csv", ".ecsv", ".fits"):
        tables.write_table(table, tmp_path / f"sources{suffix}")
        read = Table.read(tmp_path / f"sources{suffix}")
        found = {str(read["name"][0]), *map(str, read["label_name"])}
        assert found == ({r"Gr\xf6\xdfe", "FRI", r"\xfcbrig"} if suffix == ".fits" else {"Größe", "FRI", "übrig"})
        assert [str(name) for name in table["name"]][0] == "Größe"
        np.testing.assert_array_equal(read["label"], test.labels.numpy())


def test_blank_images_are_scored_like_any_other(model):
    test = Split(torch.zeros(4, 1, SIDE, SIDE, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), tuple("abcd"))
    result, table = evaluate.evaluate_test(
        classifier_of(model, CLASSES, 0.0031, 0.035), test, None, rotations=2, mc_samples=2
    )
    json.dumps(result, allow_nan=False)
    assert result["upright"]["roc_auc"]["value"] == 0.5
    assert len(table) == 4


@pytest.mark.real_data
def test_mirabest_confident_has_104_rows_each_of_its_source(real_data, tmp_path):
    from radgal.data.datasets import MBFRConfident
    from radgal.images.preparation import crop_and_pad

    data = MBFRConfident(tmp_path, train=False, download=False, mirror=str(real_data))
    test = Split(crop_and_pad(data.data, SIDE), data.labels, data.names)
    _, table = evaluate.evaluate_test(
        classifier_of(SmallNet(), data.classes, data.mean, data.std),
        test,
        None,
        rotations=1,
        mc_samples=2,
    )
    assert len(table) == 104 and len(set(table["name"])) == 104
    family = [int(code[0]) - 1 for code in table["class_code"]]  # 1xx is FRI, 2xx is FRII
    assert family == table["label"].tolist() and sum(family) == 55
    assert not np.isnan(np.ma.filled(table["ra_deg"], np.nan)).any()
