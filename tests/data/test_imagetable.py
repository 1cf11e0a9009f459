"""Training on one's own images: what the table may hold, what is found before training, and the same csv as FRDEEPF."""

from __future__ import annotations

import csv
import re
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image as PillowImage

import main
from radgal.data.datasets import DATASETS, PUBLISHED, class_counts, open_dataset, preprocessing
from radgal.data.frdeep import FRDEEPF
from radgal.data.imagetable import ImageTable, Use
from radgal.data.labeltable import read_labels
from radgal.data.splits import load_test_data, load_training_data
from radgal.files.tables import column_name
from radgal.images.preparation import measure_normalization
from tests.conftest import ROOT
from tests.images.test_fits import SKY, a_field, write
from utils import UserError

CONFIG = """
[model]
base: 'VanillaLeNet'
[data]
dataset: 'ImageTable'
table: '{table}'
[training]
imsize: 30
epochs: 1
[metrics]
outputdir: '{folder}'
"""


def some_pixels(seed: int, side: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 200, (side, side), dtype=np.uint8)


def make_table(folder: Path, rows: list[dict], name: str = "mine.csv", seed: int = 0) -> Path:
    """A csv with one image for each row that names none; columns are those of the first row."""
    folder.mkdir(exist_ok=True)
    for i, row in enumerate(rows):
        if "path" not in row:
            row["path"] = f"{i}.png"
            PillowImage.fromarray(some_pixels(seed + i)).save(folder / row["path"])
    with (folder / name).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def labeled(n: int = 12, **more) -> list[dict]:
    return [{"label": ("bent", "compact", "FRII")[i % 3], **more} for i in range(n)]


def problems_of(table: Path, train: bool = True, **use) -> str:
    with pytest.raises(UserError) as caught:
        ImageTable(table, train, use=Use(**use))
    return str(caught.value)


def load(table: Path, tmp_path: Path, *overrides: str):
    from radgal.config.config import load_config

    path = tmp_path / "mine.txt"
    path.write_text(CONFIG.format(table=table.as_posix(), folder=(tmp_path / "out").as_posix()))
    return load_config(path, ["training.num_classes=3", *overrides])


@pytest.mark.real_data
def test_a_table_made_of_frdeep_trains_to_the_same_csv(real_data, tmp_path) -> None:
    rows = []
    for split in ("train", "test"):
        data = FRDEEPF(tmp_path / "data", train=split == "train", mirror=real_data)
        for image, label, name in zip(data.data, data.targets, data.names, strict=True):
            path = tmp_path / f"{name}.png"
            PillowImage.fromarray(image.numpy()).save(path)
            rows.append(dict(path=path.name, label=data.classes[label], split=split, id=name))
    table = make_table(tmp_path, rows)
    same = [f"data.mirror={real_data}", f"data.datadir={tmp_path / 'data'}", "training.imsize=50", "training.epochs=1"]
    same += ["data.datamean=0.0019", "data.datastd=0.0270"]
    config = tmp_path / "mine.txt"
    histories, tests = [], []
    for dataset in ("ImageTable", "FRDEEPF"):
        folder = tmp_path / dataset
        text = CONFIG.replace("ImageTable", dataset).format(table=table.as_posix(), folder=folder.as_posix())
        config.write_text(text if dataset == "ImageTable" else text.replace("table:", "# table:"))
        run = main.main(["--config", str(config), "--no-test", "--set", *same])
        with (folder / "history.csv").open(newline="") as stream:
            histories.append([{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)])
        tests.append(load_test_data(run.config))
    assert len(histories[0]) == 1 and histories[0] == histories[1]
    assert tests[0].names == tests[1].names and tests[0].images.equal(tests[1].images)
    assert tests[0].labels.equal(tests[1].labels)


def test_classes_are_sorted_and_normalization_is_measured_on_what_is_trained_on(tmp_path) -> None:
    table = make_table(tmp_path / "t", labeled(30))
    data = load_training_data(load(table, tmp_path))
    assert data.classes == ("FRII", "bent", "compact") and data.version == "mine.csv"
    pixels = data.train.images.numpy() / 255
    assert (data.preparation.mean, data.preparation.std) == pytest.approx((pixels.mean(), pixels.std()))
    assert len(data.val) == 6 and not data.has_test and "no test rows" in " ".join(data.notes)
    given = load_training_data(load(table, tmp_path, "data.datamean=0.5", "data.datastd=2.0"))
    assert (given.preparation.mean, given.preparation.std) == (0.5, 2.0)
    numbers = make_table(tmp_path / "n", [{"label": str(label)} for label in (10, 2, 10, 2)])
    assert ImageTable(numbers).classes == ("2", "10")
    with pytest.raises(UserError, match="all pixels .* are equal"):
        measure_normalization(data.train.images * 0)


def test_a_table_is_a_data_set_as_torchvision_has_them(tmp_path) -> None:
    data = ImageTable(make_table(tmp_path, labeled(12)))
    assert data.class_to_idx == {"FRII": 0, "bent": 1, "compact": 2}
    assert Counter(data.targets) == {0: 4, 1: 4, 2: 4} and data.targets == [label for _, label in data]
    assert "ImageTable" in repr(data) and "Classes: FRII 4, bent 4, compact 4" in repr(data)


def test_splits_of_the_table_are_used_as_they_are(tmp_path) -> None:
    rows = [
        row | {"split": ("train", "train", "Val", "test")[i // 6], "id": f"s{i}"} for i, row in enumerate(labeled(24))
    ]
    cfg = load(make_table(tmp_path / "t", rows), tmp_path)
    data, test = load_training_data(cfg), load_test_data(cfg)
    assert data.train.names == tuple(f"s{i}" for i in range(12))
    assert data.val.names == tuple(f"s{i}" for i in range(12, 18)) and test.names == tuple(
        f"s{i}" for i in range(18, 24)
    )
    assert np.array_equal(test.images[0, 0].numpy(), some_pixels(18))
    assert "frac_val and split are not used" in " ".join(data.notes)


def test_the_checksum_is_that_of_all_rows(tmp_path) -> None:
    rows = [row | {"split": "test" if i > 8 else "train"} for i, row in enumerate(labeled())]
    table = make_table(tmp_path, rows)
    before = ImageTable(table).checksum
    assert before == ImageTable(table, train=False).checksum and before.startswith("sha256:")
    PillowImage.fromarray(some_pixels(99)).save(tmp_path / "11.png")
    assert ImageTable(table).checksum != before


def test_any_kind_of_image_and_of_table(tmp_path) -> None:
    rows = labeled(6)
    table = make_table(tmp_path, rows)
    np.save(tmp_path / "5.npy", some_pixels(5))
    write(tmp_path / "4.fits", a_field((200, 200)))
    rows[4]["path"], rows[5]["path"] = "4.fits", "5.npy"
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    expected = ImageTable(make_table(tmp_path, rows))
    assert expected.data.shape == (6, 150, 150) and expected.names[4:] == ("4", "5")
    for name in ("mine.ecsv", "mine.fits", "mine.vot"):
        Table(columns).write(tmp_path / name, format={"mine.ecsv": "ascii.ecsv", "mine.vot": "votable"}.get(name))
        assert ImageTable(tmp_path / name).checksum == expected.checksum
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert ImageTable(tmp_path / "bom.csv").names == expected.names


def test_everything_that_spoils_training_is_said_at_once(tmp_path) -> None:
    rows = [row | {"split": "train", "ra": "", "dec": ""} for row in labeled(24)]
    for i in (20, 21, 22):
        rows[i]["split"] = "test"
    rows[1] |= {"ra": "150.0", "dec": "2.0"}
    rows[22] |= {"ra": "150.001", "dec": "2.0"}
    rows[23] |= {"label": "rare", "split": "test"}
    table = make_table(tmp_path, rows)
    (tmp_path / "21.png").write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "3.png").unlink()
    (tmp_path / "5.png").write_bytes(b"half of")
    said = problems_of(table, num_classes=3)
    assert said.startswith(f"{table}: 5 problems")
    for words in (
        "2 of 24 images cannot be read",
        "3.png cannot be read: No such file",
        "0 (train) and 21 (test)",
        "1 (train) and 22 (test)",
        "within 5 arcsec",
        "no training row (split train) has the label rare",
        "set num_classes: 4",
    ):
        assert words in said, words


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split": "trian"}, "split must be train, val or test, not 'trian' (1 row)"),
        ({"label": ""}, "1 row has no label"),
        ({"id": "s1"}, "1 id is there more than once: s1"),
        (
            {"ra": "12:61:01", "dec": "4"},
            "ra and dec must be degrees, 0 to 360 and -90 to 90, or sexagesimal: row 1 (12:61",
        ),
        ({"ra": "361", "dec": "4"}, "row 1 (361, 4)"),
        ({"label": "lonely"}, "only one training row has the label lonely"),
        ({"path": "1.png"}, "1 pair of equal images with different labels: s0 (bent) and s1 (compact)"),
    ],
)
def test_each_problem_has_its_words(tmp_path, change, said) -> None:
    rows = [row | {"split": "train", "id": f"s{i}", "ra": "", "dec": ""} for i, row in enumerate(labeled())]
    make_table(tmp_path, rows)
    rows[0] |= change
    assert said in problems_of(make_table(tmp_path, rows), drawn_validation=True)


@pytest.mark.parametrize(
    "ways",
    [
        ("FRI", "FR-I"),
        ("FRI", "FR I", "FR_I"),
        ("FRII", "frii"),
        ("\u2160", "I"),
        ("\u00e9", "e\u0301"),
        ("\u0391", "\u03b1"),
        ("1", "1.0"),
        ("FRI", "FRI."),
        ("FRI", "FR\N{MINUS SIGN}I", "FR\N{EN DASH}I"),
        ("FRI", "FR|I", "FR~I", "FR^I", "FR`I"),
        ("-", "\N{MINUS SIGN}"),
        ("-1", "\N{MINUS SIGN}1"),
    ],
)
def test_one_class_written_in_several_ways_is_refused_without_advice_to_have_more_classes(tmp_path, ways) -> None:
    table = make_table(tmp_path, [{"label": label} for label in (*ways, "other") * 3])
    said = problems_of(table, num_classes=2)
    assert f"are one class, written in {len(ways)} ways" in said and "num_classes" not in said


@pytest.mark.parametrize(
    "labels",
    [
        ("\u03b1", "\u03b2"),
        ("\u4e00", "\u4e8c", "\u4e09"),
        ("\u2160", "\u2161"),
        ("I", "II", "III"),
        ("+", "-"),
        ("-1", "1"),
        ("1.5", "15"),
        ("FRI", "FRII", "FR0"),
        ("\u0915\u093f", "\u0915\u0940"),
    ],
)
def test_classes_may_be_of_any_script(tmp_path, labels) -> None:
    table = make_table(tmp_path, [{"label": label} for label in labels * 3])
    assert set(ImageTable(table, use=Use(num_classes=len(labels))).classes) == set(labels)
    assert len({column_name("prob", label) for label in labels}) == len(labels)


def test_classes_that_would_share_a_column_are_refused(tmp_path) -> None:
    assert "the labels 'FRI+', 'FRI<' would share the column prob_FRI_ of tables" in problems_of(
        make_table(tmp_path, [{"label": label} for label in ("FRI+", "FRI<") * 3])
    )


def test_what_is_only_worth_knowing_is_noted(tmp_path) -> None:
    rows = [row | {"split": "test" if i > 8 else "train"} for i, row in enumerate(labeled(11))]
    table = make_table(tmp_path, rows)
    (tmp_path / "3.png").write_bytes((tmp_path / "0.png").read_bytes())
    PillowImage.fromarray(np.zeros((20, 20), dtype=np.uint8)).save(tmp_path / "1.png")
    notes = " | ".join(ImageTable(table, use=Use(imsize=25)).notes)
    for words in (
        "1 image is blank: 1",
        "1 image is smaller than imsize, 25 px, and padded: 1",
        "1 pair of rows in one split with the same pixels: 0 and 3 (train)",
        "no row of the split test has the label FRII",
        "test rows: FRII 0, bent 1, compact 1",
        "fewer than 10 training sources",
    ):
        assert words in notes, notes


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "the images have 1.8 arcsec per pixel; with pixel_scale: 1.8 in [data] new images of another scale are"),
        (["data.pixel_scale=2.5"], "[data] pixel_scale = 2.5, but the images have 1.8 arcsec per pixel"),
        (["data.pixel_scale=1.81"], None),
    ],
)
def test_a_pixel_scale_that_the_config_does_not_say_is_noted(tmp_path, overrides, said) -> None:
    rows = labeled(12)
    table = make_table(tmp_path / "t", rows)
    for i, row in enumerate(rows):
        row["path"] = f"{i}.fits"
        write(tmp_path / "t" / row["path"], a_field((60, 60), seed=i), **SKY)
    notes = " | ".join(load_training_data(load(make_table(tmp_path / "t", rows), tmp_path, *overrides)).notes)
    assert said in notes if said else "arcsec" not in notes
    assert table.exists()


def test_blank_images_and_equal_positions_do_not_stop_the_search(tmp_path) -> None:
    rows = [row | {"split": ("train", "test")[i % 2], "ra": "0", "dec": "0"} for i, row in enumerate(labeled(300))]
    table = make_table(tmp_path, [row | {"path": "0.png"} for row in rows])
    PillowImage.fromarray(np.zeros((30, 30), dtype=np.uint8)).save(tmp_path / "0.png")
    said = problems_of(table)
    assert re.search(r"[23]\d\d pairs of rows in different splits with positions within 5 arcsec", said)
    assert "same pixels" not in said


def test_tables_that_are_none_are_refused(tmp_path) -> None:
    cases = {
        "empty.csv": ("", "it is empty"),
        "head.csv": ("path,label\n", "has no rows"),
        "other.csv": ("file_path,class\na,b\n", "has no column 'path' and no column 'label'; is path 'file_path'"),
        "one.csv": ("file_path,label\na,b\n", "has no column 'path'; is it 'file_path'"),
        "ragged.csv": ("path,label\na,b\na\n", "row 2 has 1 cells, its head 2"),
        "twice.csv": ("path,label,label\na,b,c\n", "two columns 'label'"),
        "text.fits": ("no table", "cannot be read"),
        "failed.csv": ("path,label,error\na,b,unreadable\n", "has no rows to train on"),
    }
    for name, (content, said) in cases.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=f"{name}.*{said}"):
            read_labels(tmp_path / name)
    with pytest.raises(UserError, match="absent.csv cannot be read as a table of images: No such file"):
        read_labels(tmp_path / "absent.csv")


def test_a_run_without_test_rows_ends_without_a_test_and_says_so(tmp_path, capsys) -> None:
    load(make_table(tmp_path / "t", labeled(18)), tmp_path)
    words = ["--config", str(tmp_path / "mine.txt"), "--set", "training.num_classes=3"]
    run = main.main(words)
    said = capsys.readouterr().out
    assert run.metrics is None and "no test rows: the run will end without a test" in said
    with pytest.raises(UserError, match="has no test rows: write test into its column split"):
        main.main(["evaluate", str(tmp_path / "out")])
    with pytest.raises(UserError, match="repeat compares test results"):
        main.main(["repeat", *words[:2], "--seeds", "1", "--out", str(tmp_path / "rep"), *words[2:]])


def test_resuming_with_a_changed_table_is_refused(tmp_path) -> None:
    table = make_table(tmp_path / "t", labeled(18))
    load(table, tmp_path)
    words = ["--config", str(tmp_path / "mine.txt"), "--set", "training.num_classes=3"]
    main.main([*words, "--no-test"])
    PillowImage.fromarray(some_pixels(99)).save(tmp_path / "t" / "0.png")
    with pytest.raises(UserError, match=r"images: were mine.csv \(sha256:"):
        main.main([*words, "training.epochs=2", "--no-test", "--resume"])


def test_a_config_names_a_table_exactly_where_one_is_read(tmp_path) -> None:
    from radgal.config.config import load_config

    path = tmp_path / "a.txt"
    for data, said in (
        ("dataset: 'ImageTable'", "ImageTable needs it: a csv with the columns path and label"),
        ("dataset: 'FRDEEPF'\ntable: 'a.csv'", "only 'ImageTable' reads a table"),
    ):
        path.write_text(f"[model]\nbase: 'VanillaLeNet'\n[data]\n{data}\n")
        with pytest.raises(UserError, match=said):
            load_config(path, datasets=class_counts())
    path.write_text("[model]\nbase: 'VanillaLeNet'\n[data]\ndataset: 'ImageTable'\n")
    with pytest.raises(UserError, match="ImageTable needs a csv with the columns path and label"):
        load_training_data(load_config(path))


def test_a_table_stands_in_the_list_of_data_sets_as_any_other_does(tmp_path) -> None:
    table = make_table(tmp_path / "t", labeled(12))
    cfg = load(table, tmp_path)
    assert set(DATASETS) - set(PUBLISHED) == {"ImageTable"} and class_counts()["ImageTable"] is None
    for part in (True, False):
        kind = DATASETS["ImageTable"]
        assert kind.sources(cfg, part) == [(str(i), None) for i in range(12) if part]
    assert isinstance(open_dataset(cfg, train=True), kind) and kind.open(cfg, True).names == tuple(map(str, range(12)))


def test_new_images_are_prepared_as_those_of_the_run(tmp_path) -> None:
    table = make_table(tmp_path / "t", labeled(6))
    cfg = load(table, tmp_path, "data.recipe=mirabest_v2", "data.pixel_scale=2.5", "training.imsize=200")
    assert preprocessing(cfg) == dict(recipe="mirabest_v2", native_size=200, expected_arcsec=2.5)
    cfg = load(table, tmp_path, "data.dataset=FRDEEPN", "data.table=None")
    assert preprocessing(cfg) == dict(recipe="frdeep", native_size=150, expected_arcsec=15.0)


def test_the_guide_s_config_and_python_run(tmp_path, monkeypatch) -> None:
    from radgal.config.config import load_config

    guide = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```ini\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "mine.txt").write_text(text)
    rows = labeled(30, split="", id="", ra="", dec="")
    make_table(tmp_path / "prepared", rows, "table.csv")
    (tmp_path / "my_cutouts").mkdir()
    write(tmp_path / "my_cutouts" / "a.fits", a_field((300, 300)))
    monkeypatch.chdir(tmp_path)
    (division,) = re.findall(r"main.py (prepare .* --split .*)", guide)
    main.main(shlex.split(division))
    found = {}
    for code in re.findall(r"```python\n(.*?)```", guide, re.DOTALL):
        exec(code, found)
    assert found["pixels"].shape == (150, 150) and len(found["images"]) == 24
    data = load_training_data(load_config(tmp_path / "mine.txt", models={"DNSteerableLeNet": True}))
    assert len(data.classes) == 3 and data.has_test
