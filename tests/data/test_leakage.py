"""Which sources are trained on and tested on: by position, by name, over published data sets and one's own tables."""

from __future__ import annotations

import pytest
import torch

from radgal.config.config import load_config
from radgal.data import crossmatch
from radgal.data.labeltable import read_labels
from radgal.data.leakage import describe_leak, forbid_overlap, trained_on
from radgal.data.samesource import Sources
from radgal.data.splits import Split, load_test_data, load_training_data
from tests.data.test_imagetable import labeled, make_table, problems_of
from utils import UserError


def test_positions_match_across_the_zero_of_right_ascension_and_at_the_poles() -> None:
    one = [(359.9995, 0.0), None, (10.0, 89.9999), (50.0, 20.0)]
    other = [(0.0005, 0.0), (190.0, 89.9999), (50.0, 20.0014), (50.0, 20.002)]
    assert crossmatch.match(one, other) == [(0, 0), (2, 1)]
    assert crossmatch.match(one, [None]) == crossmatch.match([], other) == []
    same = [(1.0, 1.0), (1.0, 1.0), (2.0, 2.0)]
    assert crossmatch.match(same, same) == [(0, 1), (1, 0)]


def test_positions_count_before_names() -> None:
    learned = Sources(tuple("abcd"), ((10.0, 5.0), None, (50.0, 5.0), None), (0, 0, 0, 0))
    tested = Sources(tuple("xbcde"), ((10.001, 5.0), None, (70.0, 5.0), (80.0, 5.0), None), (0, 0, 0, 0, 0))
    assert trained_on(tested, learned) == {"count": 2, "of": 5, "names": ["x", "b"]}
    assert "trained on 2 of the 5 test sources (x; b)" in describe_leak(trained_on(tested, learned))
    assert trained_on(Sources(), learned)["names"] == [] and describe_leak(trained_on(tested, Sources())) is None


def test_a_test_source_that_took_part_in_training_is_refused() -> None:
    test = Split(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64), ("b", "a", "c", "d"))
    with pytest.raises(UserError, match="2 sources are in both the training and the test set, such as a;"):
        forbid_overlap(test, test.take([0, 1]), "training")
    forbid_overlap(test, None, "validation")
    forbid_overlap(test.take([0, 1]), test.take([2, 3]), "training")


def test_the_names_in_a_table_say_positions_that_its_columns_do_not(tmp_path) -> None:
    names = [f"100_{10 + i}.000+05.000_0.1000_0020.00" for i in range(12)]
    rows = [row | {"split": "train", "id": name} for row, name in zip(labeled(), names, strict=True)]
    rows[0]["ra"], rows[0]["dec"] = "200", "1"
    table = make_table(tmp_path, rows)
    assert [row.position for row in read_labels(table)[0]][:2] == [(200.0, 1.0), (11.0, 5.0)]
    rows[5] |= {"split": "test", "id": "same", "ra": "11.0001", "dec": "5.0"}
    said = problems_of(make_table(tmp_path, rows))
    assert f"positions within 5 arcsec: {names[1]} (train) and same (test)" in said


@pytest.mark.slow
@pytest.mark.real_data
def test_what_networks_of_other_data_sets_have_learned_from_is_found(real_data, tmp_path) -> None:
    path, configs = tmp_path / "a.txt", {}
    for dataset in ("FIRSTGalaxyData", "MBFRConfident", "FRDEEPF"):
        path.write_text(f"[model]\nbase: 'VanillaLeNet'\n[data]\ndataset: '{dataset}'\nmirror: '{real_data}'\n")
        configs[dataset] = load_config(path, [f"data.datadir={tmp_path.as_posix()}"])
    tested = {name: load_test_data(cfg).sources for name, cfg in configs.items()}
    learned = {name: load_training_data(cfg).sources for name, cfg in configs.items()}
    found = {(one, other): trained_on(tested[one], learned[other])["count"] for one in tested for other in learned}
    assert found["MBFRConfident", "FIRSTGalaxyData"] == 82 and found["MBFRConfident", "FRDEEPF"] == 10
    assert found["MBFRConfident", "MBFRConfident"] == 0
    assert trained_on(tested["FRDEEPF"], learned["FRDEEPF"])["names"] == ["FRI_30"]
