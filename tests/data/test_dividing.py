"""`prepare --split` divides a table reproducibly, class by class, and keeps each source in one part."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import main
from radgal.data.imagetable import ImageTable
from utils import UserError

HEAD = "path,label,ra,dec,answer,order,labeler,labeled_at"


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """60 images; the first two are one image shifted, which is one source."""
    folder, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(60):
        image = np.zeros((60, 60), dtype=np.uint8)
        image[20:35, 20:40] = generator.integers(1, 256, (15, 20))
        np.save(folder / f"s{i:02d}.npy", image)
    np.save(folder / "s01.npy", np.roll(np.load(folder / "s00.npy"), 5, axis=0))
    return folder


def write(folder: Path, lines: list[str]) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join([HEAD, *lines]) + "\n")
    return path


def line(i: int, label: str, order: str = "random", answer: str = "class", ra: float | None = None) -> str:
    place = f"{10 + i if ra is None else ra},1"
    return f"s{i:02d}.npy,{label},{place},{answer},{order},me,2026-01-01T00:00:00Z"


def split_of(path: Path) -> dict[str, str]:
    with path.open(newline="") as stream:
        return {Path(row["path"]).name: row["split"] for row in csv.DictReader(stream)}


def divide(table: Path, out: Path, *words: str) -> dict[str, str]:
    main.main(["prepare", str(table), str(out), "--split", "0.2", *words])
    return split_of(out)


def test_the_split_is_reproducible_stratified_and_keeps_sources_together(images: Path, tmp_path, capsys) -> None:
    lines = [line(i, "FRI" if i < 20 else "FRII", ra=100.001 if i in (30, 31) else 10 + i) for i in range(60)]
    table = write(images, lines)
    (tmp_path / "deeper").mkdir()
    split = divide(table, tmp_path / "deeper" / "a.csv")
    assert "train: 16 FRI, 32 FRII; test: 4 FRI, 8 FRII" in capsys.readouterr().out
    assert split["s00.npy"] == split["s01.npy"] and split["s30.npy"] == split["s31.npy"]
    assert len(ImageTable(tmp_path / "deeper" / "a.csv", train=False)) == 12  # its paths lead to the images
    again = divide(write(images, lines[::-1]), tmp_path / "b.csv")
    assert again == split
    assert divide(table, tmp_path / "c.csv", "--seed", "2") != split


def test_only_what_was_shown_at_random_is_tested_and_stays_so(images: Path, tmp_path, capsys) -> None:
    random = [line(i, "FRI" if i % 2 else "FRII") for i in range(2, 32)]
    first = divide(write(images, random), tmp_path / "a.csv")
    more = [line(i, "FRI" if i % 3 else "FRII", order="uncertain") for i in range(32, 60)]
    second = divide(write(images, random + more), tmp_path / "b.csv")
    assert {name: second[name] for name in first} == first and "test" in first.values()
    assert {second[f"s{i:02d}.npy"] for i in range(32, 60)} == {"train"}
    assert "28 of the training images were labeled in an order that a network chose" in capsys.readouterr().out


def test_unsure_and_undone_images_are_in_no_part(images: Path, tmp_path) -> None:
    lines = [line(i, "FRI" if i % 2 else "FRII") for i in range(20)]
    lines += [line(0, "", answer="unsure"), line(1, "", answer="undo"), line(2, "FRI")]
    table = write(images, lines)
    split = divide(table, tmp_path / "a.csv")
    assert len(split) == 18 and not {"s00.npy", "s01.npy"} & set(split)
    read = ImageTable(table)
    assert len(read) == 18 and read.targets[read.names.index("s02")] == 0  # the later answer
    assert any("2 images are left out of 20, whose last answer is no class" in note for note in read.notes)


def test_mistakes_of_a_split_are_said(images: Path, tmp_path) -> None:
    table = write(images, [line(i, "FRI" if i % 2 else "FRII") for i in range(10)])
    for words, message in (
        ([str(table), str(tmp_path / "a.csv"), "--split", "2"], "a fraction between 0 and 1"),
        ([str(table), str(table), "--split", "0.2"], "name a csv that is not there yet"),
        ([str(images), str(tmp_path / "a.csv"), "--split", "0.2"], "divides a table"),
        ([str(images), str(tmp_path / "a")], "--like is needed"),
    ):
        with pytest.raises(UserError, match=message):
            main.main(["prepare", *words])
    divide(table, tmp_path / "a.csv")
    with pytest.raises(UserError, match="has a column split that says something"):
        divide(tmp_path / "a.csv", tmp_path / "b.csv")
