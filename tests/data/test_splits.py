"""What a run gets to see: splits, crops, the wall between training and test."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torchvision.transforms.functional import center_crop

from radgal.data.datasets import PUBLISHED
from radgal.data.draws import fold_indices, nested_rows, split_indices
from radgal.data.splits import Split, describe, load_test_data, load_training_data
from radgal.images.preparation import crop_and_pad
from utils import UserError

DATA_KEYS = {
    "dataset",
    "datadir",
    "datamean",
    "datastd",
    "pad",
    "split",
    "val_fold",
    "train_size",
    "download",
    "mirror",
}


@pytest.fixture
def config(real_data, unpacked):
    """Returns a function that makes a config, any key overridden."""

    def make(**changes):
        data = dict(dataset="MBFRConfident", datadir=str(unpacked), datamean=None, datastd=None, pad=0, downsample=1)
        data |= dict(split="stratified", fold=None, val_fold=None, download=False, mirror=str(real_data))
        data |= dict(also=[], train_on="train", leave_out=[], train_size=None)
        training = dict(frac_val=0.2, seed=42, imsize=150, num_classes=2)
        for key, value in changes.items():
            (data if key in DATA_KEYS else training)[key] = value
        return SimpleNamespace(data=SimpleNamespace(**data), training=SimpleNamespace(**training), reads_only=False)

    return make


LABELS = torch.tensor([0] * 30 + [1] * 70)


def test_a_stratified_split_is_disjoint_complete_and_stratified():
    train, val = split_indices(LABELS, 0.2, "stratified", 1)
    assert sorted(train + val) == list(range(100)) and train == sorted(train) and val == sorted(val)
    assert torch.bincount(LABELS[val]).tolist() == [6, 14]


def test_a_split_depends_on_its_seed_and_nothing_else():
    state = random.getstate(), torch.get_rng_state()
    first = split_indices(LABELS, 0.2, "stratified", 1)
    torch.manual_seed(7)
    random.seed(7)
    assert split_indices(LABELS, 0.2, "stratified", 1) == first
    assert split_indices(LABELS, 0.2, "stratified", 2) != first
    random.setstate(state[0])
    torch.set_rng_state(state[1])


def test_the_global_random_state_is_left_alone():
    state = random.getstate(), torch.get_rng_state()
    split_indices(LABELS, 0.2, "stratified", 1)
    assert random.getstate() == state[0] and torch.equal(torch.get_rng_state(), state[1])


def test_the_split_of_a_seed_stays_what_it_is():
    # random.Random(42).random() gives .64 .03 .28 .22 .74 .68 .89: rows 1 and 3 have the smallest keys
    assert split_indices(torch.zeros(7, dtype=torch.int64), 0.3, "stratified", 42)[1] == [1, 3]


@pytest.mark.parametrize("seed", range(3))
def test_fewer_training_sources_are_among_more_of_them_and_classes_keep_their_share(seed):
    labels = LABELS[torch.randperm(100, generator=torch.Generator().manual_seed(seed))]
    before: set[int] = set()
    for n in range(2, 101):
        rows = nested_rows(labels, n, seed)
        assert rows == sorted(set(rows)) and len(rows) == n and before <= set(rows)
        assert abs(int((labels[rows] == 1).sum()) - 0.7 * n) <= 1 and len(labels[rows].unique()) == 2
        before = set(rows)
    assert nested_rows(labels, 20, seed) != nested_rows(labels, 20, seed + 1)


@pytest.mark.real_data
def test_a_run_on_fewer_sources_is_validated_on_the_same_ones(config):
    whole, few = (load_training_data(config(train_size=size)) for size in (None, 40))
    assert (len(whole.train), len(few.train)) == (583, 40)
    assert few.val.names == whole.val.names and set(few.train.names) < set(whole.train.names)
    assert len(few.sources) == 40 + len(few.val)
    assert "trained on 40 of its training sources only" in describe(few)
    with pytest.raises(UserError, match="train_size = 584: MBFRConfident has 583 sources of 2 classes"):
        load_training_data(config(train_size=584))


def test_first_takes_the_first_rows():
    assert split_indices(LABELS, 0.25, "first", 1) == (list(range(25, 100)), list(range(25)))


def test_no_fraction_no_validation():
    assert split_indices(LABELS, 0, "stratified", 1) == (list(range(100)), [])


def test_a_tiny_class_is_in_both_parts():
    labels = torch.tensor([0] * 2 + [1] * 98)
    for frac_val in (0.05, 0.9):
        train, val = split_indices(labels, frac_val, "stratified", 3)
        assert (labels[train] == 0).sum() == (labels[val] == 0).sum() == 1


def test_twins_are_in_one_part_and_all_others_stay_where_they_were():
    groups = [[3, 40, 77], [5, 6]]
    for seed in range(6):
        before, after = (split_indices(LABELS, 0.2, "stratified", seed, some) for some in ((), groups))
        moved = set(before[1]) ^ set(after[1])
        assert moved <= {40, 77, 6} and sorted(after[0] + after[1]) == list(range(100))
        folds = [fold_indices(LABELS, 5, seed, some) for some in ((), groups)]
        for (train, test), (own_train, own_test) in zip(*folds, strict=True):
            assert set(test) ^ set(own_test) <= {40, 77, 6} and set(train) ^ set(own_train) <= {40, 77, 6}
        for part in (after[1], *(test for _, test in folds[1])):
            assert all(len(set(group) & set(part)) in (0, len(group)) for group in groups)
        assert sorted(row for _, test in folds[1] for row in test) == list(range(100))


@pytest.mark.parametrize(
    "labels, frac_val, how, said",
    [
        (torch.tensor([0, 1, 1, 1]), 0.3, "stratified", "class 0 has one"),
        (LABELS, 0.001, "stratified", "frac_val = 0.001 makes 0 of 100"),
        (LABELS, 0.001, "first", "frac_val = 0.001 makes 0 of 100"),
        (LABELS, 1.0, "first", "frac_val = 1.0 makes 100 of 100"),
        (LABELS, -0.5, "first", "frac_val = -0.5"),
        (LABELS, 0.2, "random", "split = 'random' is not known"),
    ],
)
def test_splits_that_cannot_be_are_refused(labels, frac_val, how, said):
    with pytest.raises(UserError, match=said):
        split_indices(labels, frac_val, how, 1)


@pytest.mark.parametrize("imsize, pad", [(10, 0), (9, 1), (7, 0), (5, 2), (1, 0)])
def test_the_crop_is_torchvisions_and_the_pad_is_background_at_bottom_and_right(imsize, pad):
    images = torch.randint(1, 256, (3, 10, 10), dtype=torch.uint8)
    result = crop_and_pad(images, imsize, pad)
    assert result.shape == (3, 1, imsize + pad, imsize + pad) and result.dtype == torch.uint8
    assert torch.equal(result[:, 0, :imsize, :imsize], center_crop(images, [imsize, imsize]))
    assert result[:, :, imsize:].sum() == result[:, :, :, imsize:].sum() == 0


def test_take_keeps_images_labels_and_names_together():
    split = Split(torch.arange(4).view(4, 1, 1, 1), torch.arange(4), ("a", "b", "c", "d"))
    part = split.take([2, 0])
    assert part.images.flatten().tolist() == part.labels.tolist() == [2, 0] and part.names == ("c", "a")
    assert len(split.take([])) == 0 and len(part.to("cpu")) == 2


@pytest.mark.real_data
def test_the_published_split_turns_the_class_balance_round(config):
    data = load_training_data(config(split="first"))
    assert torch.bincount(data.val.labels).tolist() == [91, 54]
    assert torch.bincount(data.train.labels).tolist() == [257, 327]


@pytest.mark.real_data
def test_training_data_come_with_all_that_is_needed_to_use_them(config):
    data = load_training_data(config(imsize=50, pad=1))
    assert data.train.images.shape == (583, 1, 51, 51) and data.val.images.shape == (146, 1, 51, 51)
    assert data.classes == ("FRI", "FRII") and (data.preparation.mean, data.preparation.std) == (0.0031, 0.0350)
    assert (data.dataset, data.version) == ("MBFRConfident", "v1")
    assert data.checksum == "md5:965b5daa83b9d8622bb407d718eecb51"
    assert not set(data.train.names) & set(data.val.names)
    assert all(int(name[0]) == label + 1 for name, label in zip(data.val.names, data.val.labels, strict=True))
    assert load_training_data(config(imsize=50, pad=1)).val.names == data.val.names


@pytest.mark.real_data
def test_a_configs_normalization_comes_first(config):
    data = load_training_data(config(datamean=0.0, datastd=1.0))
    assert (data.preparation.mean, data.preparation.std) == (0.0, 1.0)


@pytest.mark.real_data
def test_nothing_of_the_test_set_reaches_training(config, monkeypatch):
    load_training_data(config())
    read, opened = Path.read_bytes, []
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path.name) or read(path))
    data = load_training_data(config(frac_val=0))
    assert opened == [f"data_batch_{i}" for i in range(1, 8)]
    test = load_test_data(config())
    assert data.val is None and len(data.train) == 729 and len(test) == 104
    assert not set(data.train.names) & set(test.names)


def test_validation_folds_hold_out_every_training_source_once_and_open_no_test_file(config, monkeypatch):
    from radgal.data import mirabest

    opened, read = [], mirabest.MBFRConfident.read
    monkeypatch.setattr(
        mirabest.MBFRConfident, "read", lambda self, *args: opened.append(self.train) or read(self, *args)
    )
    parts = [load_training_data(config(val_fold=f"{k}/3", frac_val=0)) for k in (1, 2, 3)]
    held_out = [name for part in parts for name in part.val.names]
    assert len(held_out) == len(set(held_out)) == 729 and set(opened) == {True}
    for part in parts:
        assert not set(part.val.names) & set(part.train.names) and len(part.train) == 729 - len(part.val)
        assert abs(len(part.val) - 243) <= 2  # twins are kept together
    assert parts[0].val.names == load_training_data(config(val_fold="1/3", frac_val=0.5)).val.names
    assert "validated on part 1/3" in describe(parts[0]) and parts[0].has_test


@pytest.mark.real_data
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_data_set_loads_with_the_default_split(config, name):
    n_classes = len(PUBLISHED[name].classes)
    data = load_training_data(config(dataset=name, num_classes=n_classes))
    assert len(data.val.labels.unique()) == len(data.train.labels.unique()) == n_classes
    assert len(data.val) == pytest.approx(0.2 * (len(data.val) + len(data.train)), abs=n_classes)


@pytest.mark.real_data
def test_describe_counts_classes_and_splits(config):
    cfg = config(split="first")
    rows = [line.split() for line in describe(load_training_data(cfg), load_test_data(cfg)).splitlines()]
    assert rows[0][:3] == ["MBFRConfident,", "version", "v1"]
    assert rows[1:5] == [
        ["train", "validation", "test"],
        ["FRI", "257", "91", "49"],
        ["FRII", "327", "54", "55"],
        ["total", "584", "145", "104"],
    ]
    assert "validation" not in describe(load_training_data(config(frac_val=0))).splitlines()[1]


@pytest.mark.parametrize(
    "changes, said",
    [
        (
            dict(dataset="MBFRconfidant"),
            "dataset = 'MBFRconfidant' .*did you mean 'MBFRConfident'",
        ),
        (
            dict(num_classes=3),
            "num_classes = 3, .* has 2 classes .FRI, FRII.; set num_classes: 2",
        ),
        (dict(imsize=151), "imsize = 151, but the images of MBFRConfident are 150 px"),
        (dict(imsize=0), "imsize = 0"),
    ],
)
def test_what_does_not_fit_the_data_is_refused_before_anything_is_read(config, changes, said, tmp_path):
    cfg = config(**changes, datadir=str(tmp_path / "absent"), mirror=None)
    for load in (load_training_data, load_test_data):
        with pytest.raises(UserError, match=said):
            load(cfg)
