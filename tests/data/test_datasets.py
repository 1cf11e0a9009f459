"""The published data sets: counts, splits, normalization, names, against the real archives."""

from __future__ import annotations

import copy
import os
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from radgal.data import firstgalaxy
from radgal.data.datasets import PUBLISHED
from radgal.data.firstgalaxy import FIRSTGalaxyData
from radgal.data.frdeep import FRDEEPF
from radgal.data.mirabest import MBFRConfident, MiraBest_full
from radgal.data.sourcenames import named_position, parse_source_name
from utils import UserError

pytestmark = pytest.mark.real_data

# Sources per class, training and test part: Porter & Scaife 2023; Tang et al. 2019; Griese et al. 2023.
TEN = ([297, 43, 8, 167, 2, 378, 3, 171, 17, 13], [42, 6, 1, 24, 1, 54, 1, 24, 2, 2])
COUNTS = {
    "MBFRConfident": ([348, 381], [49, 55]),
    "MBFRUncertain": ([169, 171], [25, 24]),
    "MBFRFull": ([517, 552], [74, 79]),
    "MBHybrid": ([17, 13], [2, 2]),
    "MiraBest_full": TEN,
    "FRDEEPF": ([242, 308], [22, 28]),
    "FRDEEPN": ([242, 308], [22, 28]),
    "FIRSTGalaxyData": ([445, 874], [50, 50]),
}
COUNTS |= {f"{name}_v2": COUNTS[name] for name in list(COUNTS) if name.startswith("M")}


@pytest.fixture(scope="module")
def opened(real_data, unpacked):
    """Returns a function (name, train) -> data set, each opened once, archives extracted once."""
    known = {}

    def open_one(name, train):
        if (name, train) not in known:
            known[name, train] = PUBLISHED[name](unpacked, train=train, mirror=real_data)
        return known[name, train]

    return open_one


def test_every_data_set_has_its_counts_written_here():
    assert set(COUNTS) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts_types_and_names(opened, name):
    for train, counts in zip((True, False), COUNTS[name], strict=True):
        dataset = opened(name, train)
        assert torch.bincount(dataset.labels).tolist() == counts
        assert len(dataset) == sum(counts) == len(dataset.names) == len(set(dataset.names))
        assert dataset.data.dtype == torch.uint8 and dataset.labels.dtype == torch.int64
        assert dataset.data.shape[1:] == (dataset.native_size, dataset.native_size)
        assert len(dataset.classes) == len(counts)
    assert not set(opened(name, True).names) & set(opened(name, False).names)


@pytest.mark.parametrize("name", PUBLISHED)
def test_items_are_pil_images_and_the_same_twice(opened, name):
    dataset = opened(name, False)
    (image, label), (again, label_again) = dataset[3], dataset[3]
    assert image.mode == "L" and type(label) is int and label == label_again
    assert np.array_equal(np.asarray(image), dataset.data[3].numpy())
    assert np.array_equal(np.asarray(image), np.asarray(again))


@pytest.mark.parametrize("name", PUBLISHED)
def test_normalization_is_that_of_the_training_part(opened, name):
    pixels = opened(name, True).data.numpy() / 255
    assert pixels.mean() == pytest.approx(PUBLISHED[name].mean, abs=1e-4 if "Hybrid" not in name else 3e-4)
    assert pixels.std() == pytest.approx(PUBLISHED[name].std, rel=0.025)


@pytest.mark.parametrize("name", PUBLISHED)
def test_repr_tells_what_a_reader_wants(opened, name):
    text = repr(opened(name, False))
    assert name in text and "Split: test" in text and PUBLISHED[name].archive.md5 in text
    assert f"{PUBLISHED[name].classes[0]} {COUNTS[name][1][0]}" in text


@pytest.mark.parametrize("name", PUBLISHED)
def test_labels_are_plain_ints_that_count_and_have_the_names_of_their_classes(opened, name):
    dataset = opened(name, False)
    classes, counts = PUBLISHED[name].classes, COUNTS[name][1]
    assert dataset.class_to_idx == dict(zip(classes, range(len(classes)), strict=True))
    assert Counter(dataset.targets) == dict(enumerate(counts))
    assert {0: "a", 1: "b"}.get(dataset.targets[0]) and dataset.targets == [label for _, label in dataset]
    assert sum(label == dataset.class_to_idx[classes[-1]] for label in dataset.targets) == counts[-1]


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_other_labels_can_be_put_into_a_data_set(opened, kind):
    dataset = copy.copy(opened("FRDEEPF", False))
    dataset.targets = kind([1] * 20 + [0] * 29 + [7])
    assert "Classes: FRI 29, FRII 20, others 1" in repr(dataset)
    assert dataset[0][1] == 1 and dataset.labels.tolist()[-1] == 7


@pytest.mark.parametrize(
    "targets",
    [["a"] * 50, np.eye(50), torch.eye(50), {"a": 1}, "text", []],
    ids="words rows tensor dict text empty".split(),
)
def test_a_data_set_is_printed_whatever_is_put_into_it(opened, targets):
    dataset = copy.copy(opened("FRDEEPF", False))
    dataset.targets = targets
    assert "FRI" in repr(dataset) and "Split: test" in repr(dataset)


def test_transforms_are_applied(opened):
    dataset = opened("MBHybrid", False)
    changed = MBFRConfident(
        dataset.root, train=False, transform=lambda image: image.size, target_transform=lambda label: -label
    )
    assert changed[0] == ((150, 150), 0) and changed[103] == ((150, 150), -1)


def test_the_versions_share_all_sources_but_few_test_sources(opened):
    v1, v2 = ({train: set(opened(n, train).names) for train in (True, False)} for n in FULL)
    assert v1[True] | v1[False] == v2[True] | v2[False]
    assert len(v1[False] & v2[False]) == 25
    confident = [set(opened(n, False).names) for n in ("MBFRConfident", "MBFRConfident_v2")]
    assert len(set.intersection(*confident)) == 18


def test_first_galaxies_contain_test_sources_of_mirabest(opened):
    positions = {named_position(name) for name in opened("FIRSTGalaxyData", True).names}
    assert sum(named_position(name) in positions for name in opened("MBFRConfident", False).names) == 82


FULL = ("MiraBest_full", "MiraBest_full_v2")


@pytest.mark.parametrize("name", FULL)
def test_mirabest_labels_are_those_in_the_names(opened, name):
    dataset = opened(name, True)
    codes = [parse_source_name(source)["class_code"] for source in dataset.names]
    assert codes == [dataset.classes[label] for label in dataset.targets]


def test_version_2_is_masked_beyond_75_px(opened):
    y, x = np.mgrid[:150, :150]
    outside = torch.from_numpy(np.hypot(x - 75, y - 75) > 75)
    assert opened("MiraBest_full_v2", True).data[:, outside].max() == 0
    assert opened("MiraBest_full", True).data[:, outside].max() > 0


def test_the_blank_image_of_frdeep_is_there(opened):
    dataset = opened("FRDEEPF", True)
    blank = [name for name, image in zip(dataset.names, dataset.data, strict=True) if image.max() == 0]
    assert blank == ["FRI_13_FRICAT_FR1"]


def test_an_extracted_folder_needs_nothing_else(opened, tmp_path):
    root = opened("FRDEEPF", False).root
    os.symlink(os.path.join(root, "FIRST_PNG_dataset"), tmp_path / "FIRST_PNG_dataset")
    assert len(FRDEEPF(tmp_path, train=True)) == 550


def test_training_does_not_read_the_test_file(real_data, tmp_path):
    MiraBest_full(tmp_path, train=True, mirror=real_data)
    (tmp_path / "batches/test_batch").unlink()
    assert len(MiraBest_full(tmp_path, train=True)) == 1099
    with pytest.raises(UserError, match="test_batch cannot be read"):
        MiraBest_full(tmp_path, train=False)


def test_first_galaxies_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(firstgalaxy.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="(?s)not installed.*pip install firstgalaxydata"):
        FIRSTGalaxyData(tmp_path)


def test_first_galaxies_with_a_damaged_package(monkeypatch, tmp_path):
    (tmp_path / "firstgalaxydata").mkdir()
    (tmp_path / "firstgalaxydata/galaxy_data_h5.zip").write_bytes(b"half of it")
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path / "firstgalaxydata")]})
    monkeypatch.setattr(firstgalaxy.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match="(?s)incomplete or another file.*pip install firstgalaxydata"):
        FIRSTGalaxyData(tmp_path / "data")


def test_first_galaxies_run_none_of_the_package_s_code(opened):
    opened("FIRSTGalaxyData", False)
    assert "firstgalaxydata" not in sys.modules
