"""Further data sets to train on: what of them is left out, and that nothing tested or validated on gets in."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from PIL import Image as PillowImage

import main
from radgal.config.config import load_config
from radgal.data.samesource import Sources, prints_of
from radgal.data.splits import describe, load_test_data, load_training_data
from tests.conftest import ROOT
from tests.data.test_imagetable import CONFIG, make_table, some_pixels
from utils import UserError, counted

N = 24
KINDS = ("FRI", "FRII")


def own_rows() -> list[dict]:
    """Sources 0 to 15 for training, 16 to 19 for validation, 20 to 23 for the test; half a degree apart."""
    splits = ["train"] * 16 + ["val"] * 4 + ["test"] * 4
    return [
        {"id": f"own{i}", "label": KINDS[i % 2], "split": split, "ra": 10 + i / 2, "dec": 0.0, "path": f"own{i}.png"}
        for i, split in enumerate(splits)
    ]


@pytest.fixture
def tables(tmp_path):
    """A table of one's own, and a further one whose images are others, all with a class of the first one's."""
    folder = tmp_path / "tables"
    folder.mkdir()
    for i in range(N):
        PillowImage.fromarray(some_pixels(1000 + i)).save(folder / f"own{i}.png")
    own = make_table(folder, own_rows(), "own.csv")

    def further(changes: dict[int, dict], name: str = "more.csv"):
        rows = [
            {"id": f"{name}{i}", "label": KINDS[i % 2], "split": "test" if i > 8 else "", "ra": "", "dec": ""}
            for i in range(12)
        ]
        rows = [row | {"split": row["split"] or "train", "path": f"{name}{i}.png"} for i, row in enumerate(rows)]
        for i, row in enumerate(rows):
            PillowImage.fromarray(some_pixels(2000 + i + 50 * len(name))).save(folder / row["path"])
            row |= changes.get(i, {})
        return make_table(folder, rows, name)

    return own, further


def config_of(own, tmp_path, *overrides: str):
    path = tmp_path / "own.txt"
    path.write_text(CONFIG.format(table=own.as_posix(), folder=(tmp_path / "out").as_posix()))
    return load_config(path, overrides)


def shifted(path, pixels: tuple[int, int], target) -> None:
    PillowImage.fromarray(np.roll(np.asarray(PillowImage.open(path)), pixels, (0, 1))).save(target)


@pytest.fixture
def overlap(tables):
    """The further table with one source of each part of the own one, by position or by pixels, and a free position."""
    own, further = tables
    more = further(
        {
            0: {"ra": 20.04, "dec": 0.0},  # own20, of the test, 144 arcsec away
            1: {"path": "copy21.png"},  # own21, of the test, moved by 2 px
            2: {"ra": 18.0, "dec": 0.03},  # own16, of the validation
            3: {"ra": 10.0, "dec": 0.0},  # own0, of the training images
            4: {"ra": 10.06, "dec": 0.0},  # 216 arcsec from own0: another source
            9: {"ra": 20.54, "dec": 0.0},  # own21 again, in the further table's test part
        }
    )
    shifted(own.parent / "own21.png", (2, -1), own.parent / "copy21.png")
    return own, more


def test_no_source_of_the_test_or_the_validation_is_trained_on_and_none_twice(overlap, tmp_path) -> None:
    own, more = overlap
    cfg = config_of(own, tmp_path, f"data.also={more.as_posix()}")
    before, data = load_training_data(config_of(own, tmp_path)), load_training_data(cfg)
    record = data.further[more.as_posix()]
    assert (record["sources"], record["trained_on"]) == (12, 7)
    assert record["left_out"] == {"test": 3, "leave_out": 0, "validation": 1, "training": 1}
    assert data.train.names == before.train.names + tuple(f"more.csv{i}" for i in (4, 5, 6, 7, 8, 10, 11))
    assert data.train.labels[-7:].tolist() == [0, 1, 0, 1, 0, 0, 1]
    assert (data.train.images[:16] == before.train.images).all() and data.val.names == before.val.names
    assert data.own_train().names == before.train.names and data.sources.names == data.train.names + data.val.names
    assert (data.preparation.mean, data.preparation.std) == (before.preparation.mean, before.preparation.std)
    said = describe(data)
    assert "also trained on 7 of 12 sources of" in said and "left out: 3 test sources of the run, 1 valid" in said


def test_further_sets_are_not_twice_among_themselves(tables, tmp_path) -> None:
    own, further = tables
    first, second = further({2: {"ra": 90.0, "dec": 1.0}}), further({5: {"ra": 90.0, "dec": 1.0}}, "again.csv")
    cfg = config_of(own, tmp_path, f"data.also=['{first.as_posix()}', '{second.as_posix()}']")
    data = load_training_data(cfg)
    assert [one["trained_on"] for one in data.further.values()] == [12, 11]
    assert len(data.train) == 16 + 23 == len(set(data.train.names))


def test_each_fold_leaves_out_its_own_test_sources(overlap, tmp_path) -> None:
    own, more = overlap
    for k in range(1, 4):
        cfg = config_of(own, tmp_path, f"data.also={more.as_posix()}", f"data.fold={k}/3")
        data, test = load_training_data(cfg), load_test_data(cfg)
        assert len(test) == 8
        counts = data.further[more.as_posix()]["left_out"]
        copies = {"own20": 1, "own21": 2, "own16": 1, "own0": 1}  # of which source how many are in the further table
        for role, part in (("test", test), ("validation", data.val), ("training", data.own_train())):
            assert counts[role] == sum(copies.get(name, 0) for name in part.names)


def test_all_sources_can_be_trained_on_but_for_those_named(overlap, tmp_path) -> None:
    own, more = overlap
    everything = load_training_data(config_of(own, tmp_path, "data.train_on=all"))
    assert len(everything.train) == 20 and not everything.has_test and "without a test" in describe(everything)
    with pytest.raises(UserError, match="train_on = 'all': the run was trained on the test sources"):
        load_test_data(config_of(own, tmp_path, "data.train_on=all"))
    names = {}
    for entry in (f"{more.as_posix()}:test", more.as_posix()):
        cfg = config_of(own, tmp_path, "data.train_on=all", f"data.leave_out=['{entry}']")
        data = load_training_data(cfg)
        names[entry] = set(everything.sources.names) - set(data.sources.names)
        assert data.n_left_out == len(
            names[entry]
        ) and f"{counted(data.n_left_out, 'source', 'are')} left out" in describe(data)
        assert data.val.names == tuple(f"own{i}" for i in range(16, 20) if f"own{i}" not in names[entry])
    assert list(names.values()) == [{"own21"}, {"own0", "own16", "own20", "own21"}]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.also=FIRSTGalaxyDatta"], "'FIRSTGalaxyDatta' is no data set; did you mean 'FIRSTGalaxyData'?"),
        (["data.leave_out=['MBFRConfidnt:test']"], "'MBFRConfidnt' is no data set; did you mean 'MBFRConfident'?"),
        (["data.also=ImageTable"], "write the file of the table in place of 'ImageTable'"),
        (["data.also=missing.csv"], "missing.csv"),
        (["data.also=BENT"], "has the class bent, but the run tells FRI, FRII apart"),
        (["data.leave_out=OWN"], "leaves nothing of ImageTable to train on"),
    ],
)
def test_what_cannot_be_added_is_refused(tables, tmp_path, overrides, said) -> None:
    own, further = tables
    bent = further({0: {"label": "bent"}})
    words = [text.replace("BENT", bent.as_posix()).replace("OWN", own.as_posix()) for text in overrides]
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        load_training_data(config_of(own, tmp_path, *words))


def test_a_run_with_further_sources_says_so_and_goes_on_with_the_same(overlap, tmp_path) -> None:
    own, more = overlap
    config_of(own, tmp_path)
    options = ["--no-test", "--config", str(tmp_path / "own.txt"), "--set", f"data.also={more.as_posix()}"]
    main.main(options)
    about = json.loads((tmp_path / "out" / "environment.json").read_text())
    assert about["also"][more.as_posix()]["left_out"]["test"] == 3
    assert about["class_counts"]["train"] == {"FRI": 12, "FRII": 11}
    make_table(own.parent, [row for row in csv_rows(more) if row["id"] != "more.csv6"], "more.csv")
    with pytest.raises(UserError, match="sources: 27 were trained and validated on, 26 are now"):
        main.main([*options, "training.epochs=2", "--resume"])


def csv_rows(path) -> list[dict]:
    import csv

    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_print_stays_with_its_pixels_wherever_they_lie() -> None:
    image = np.zeros((3, 40, 40), dtype=np.uint8)
    image[0, 10:20, 12:22] = image[1, 13:23, 11:21] = some_pixels(1, 10)
    image[2, 5:15, 5:15] = 200  # too little to be told from others
    first, moved, flat = prints_of(image)
    assert first == moved != 0 == flat
    assert prints_of(255 - image)[0] != first and prints_of(image[:, :5, :5]) == (0, 0, 0)
    sources = [Sources(("a",), (None,), (one,)) for one in (first, moved, flat)]
    assert sources[0].rows_in(Sources(("b",), ((1.0, 1.0),), (first,))) == [0]
    assert sources[2].rows_in(Sources(("b",), (None,), (flat,))) == []


def test_twins_are_found_by_position_and_by_pixels_and_come_in_groups() -> None:
    places = ((10.0, 0.0), (10.003, 0.0), (10.006, 0.0), None, (50.0, 0.0), (50.0, 0.005))  # 10.8 and 18 arcsec apart
    sources = Sources(tuple("abcdef"), places, (0, 7, 0, 7, 0, 0))
    assert sources.pairs() == [(0, 1), (1, 2), (1, 3)] and sources.groups() == [[0, 1, 2, 3]]
    assert Sources().pairs() == Sources().groups() == []


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("dataset", "n_pairs", "pair"),
    [
        ("MBFRConfident", 2, {"100_169.641+031.255_0.2181_0081.13", "102_169.640+031.253_0.2198_0060.00"}),
        pytest.param("FRDEEPF", 4, {"FRII_134", "FRII_182"}, marks=pytest.mark.slow),
    ],
)
def test_the_twins_of_published_sets_are_said_and_kept_together(real_data, tmp_path, dataset, n_pairs, pair) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"[model]\nbase: 'VanillaLeNet'\n[data]\ndataset: '{dataset}'\nmirror: '{real_data}'\n")
    cfg = load_config(path, [f"data.datadir={tmp_path.as_posix()}", "training.seed=2"])
    data, apart = load_training_data(cfg), load_training_data(cfg, together=False)
    pairs = [{data.sources.names[row] for row in rows} for rows in data.sources.pairs()]
    assert pair in pairs and len(pairs) == n_pairs
    train, val = set(data.train.names), set(data.val.names)
    assert all(one <= train or one <= val for one in pairs) and all(name in describe(data) for name in pair)
    assert any(one & set(apart.val.names) and one & set(apart.train.names) for one in pairs)


def test_check_data_lists_twins_and_counts_what_is_in_both(overlap, tmp_path, capsys) -> None:
    own, more = overlap
    main.main(["check-data", own.as_posix(), more.as_posix()])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{own.as_posix()}: 24 sources (20 train, 4 test), 0 pairs of twins"
    assert lines[1] == f"{more.as_posix()}: 12 sources (9 train, 3 test), 0 pairs of twins"
    assert f"| {own.as_posix()} | 24 | 0 | 2 |" in lines and f"| {more.as_posix()} | 12 | 2 | 0 |" in lines
    rows = [row | ({"ra": 10.002, "dec": 0.0} if row["id"] == "own1" else {}) for row in own_rows()]
    main.main(["check-data", make_table(own.parent, rows, "twice.csv").as_posix()])
    assert "own0 (train) and own1 (train): 7.2 arcsec apart" in capsys.readouterr().out
    with pytest.raises(UserError, match="is no data set; did you mean 'FRDEEP"):
        main.main(["check-data", "FRDEEP"])


@pytest.mark.real_data
@pytest.mark.slow
def test_the_tables_of_the_page_are_those_of_the_command(real_data, tmp_path, capsys) -> None:
    """``RADGAL_WRITE_DOCS=1`` makes them anew."""
    main.main(["check-data", "--datadir", tmp_path.as_posix(), "--mirror", str(real_data)])
    made = iter(re.findall(r"(?:^\|.*\n)+", capsys.readouterr().out, flags=re.MULTILINE))
    page = ROOT / "docs" / "data_sets.md"
    before = page.read_text(encoding="utf-8")
    anew = re.sub(r"(?:^\| (?:test )?sources of.*\n(?:\|.*\n)+)", lambda _: next(made), before, flags=re.MULTILINE)
    assert next(made, None) is None
    if os.environ.get("RADGAL_WRITE_DOCS"):
        page.write_text(anew, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == anew, f"RADGAL_WRITE_DOCS=1 python -m pytest -m slow {__file__} does it"


def test_sources_survive_a_checkpoint_and_a_hostile_list_is_refused() -> None:
    sources = Sources(("a", "b"), (None, (1.5, -2.0)), (0, -(2**63)))
    packed = sources.pack()
    again = Sources.unpack(packed)
    assert (again.names, again.positions, again.prints) == (sources.names, sources.positions, sources.prints)
    for key, value in (("names", ["a"]), ("names", [1, 2]), ("prints", packed["prints"][:1]), ("positions", None)):
        with pytest.raises(ValueError, match="sources"):
            Sources.unpack(packed | {key: value})


@pytest.mark.slow
@pytest.mark.real_data
def test_the_further_sources_of_the_recipe(real_data, tmp_path) -> None:
    """653 sources of FIRSTGalaxyData, 191 + 462, lie more than 180 arcsec from every source of MiraBest."""
    path = tmp_path / "a.txt"
    path.write_text(f"[model]\nbase: 'VanillaLeNet'\n[data]\ndataset: 'FIRSTGalaxyData'\nmirror: '{real_data}'\n")
    how = [f"data.datadir={tmp_path.as_posix()}", "training.frac_val=0", "data.train_on=all"]
    alone = load_training_data(load_config(path, [*how, "data.leave_out=MiraBest_full"]))
    assert alone.train.labels.bincount().tolist() == [191, 462] and alone.n_left_out == 1419 - 653
    beside = [*how, "data.dataset=MBFRConfident", "data.also=FIRSTGalaxyData"]
    tests = "data.leave_out=['MBFRConfident:test', 'MBFRConfident_v2:test']"
    data = load_training_data(load_config(path, [*beside, tests]))
    assert data.n_left_out == 104 + 104 - 18 and len(data.own_train()) == 833 - 190
    for version in ("", "_v2"):
        other = [f"data.dataset=MBFRConfident{version}", *how[:1]]
        test = set(load_test_data(load_config(path, other)).names)
        assert len(test) == 104 and not test & set(data.sources.names)
