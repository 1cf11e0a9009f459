"""The images of the report: which sources are shown, and a file of images that is not ours."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from radgal.evaluation.gallery import N_MISCLASSIFIED, choose_sources, read_gallery, save_gallery
from radgal.report.sourceviews import sexagesimal
from tests.report.tools import check_page, report


def test_the_gallery_shows_the_sources_that_the_table_says(run: Path) -> None:
    page = check_page(run / "report.html")
    with (run / "sources.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    wrong = sum(row["correct"] == "False" for row in rows)
    assert f"{wrong} of {len(rows)} test sources are misclassified" in page.text
    lists = [attrs["data-list"] for attrs in page.all("button") if "data-list" in attrs]
    assert lists.count("r0-Misclassified") == min(wrong, N_MISCLASSIFIED) and lists.count("r0-Most uncertain") == 12
    saved = set(read_gallery(run / "gallery.npz"))
    dialogs = page.all("dialog")
    assert len(dialogs) == len([a for a in page.all("img") if a.get("class") == "large"])
    assert min(wrong, 24) <= len(dialogs) <= 36
    surest = max(
        (row for row in rows if row["correct"] == "False"), key=lambda row: float(row[f"prob_{row['pred_name']}"])
    )
    assert surest["name"] in saved and surest["name"] in page.text
    assert sexagesimal(float(surest["ra_deg"]), float(surest["dec_deg"])) in page.text


def test_a_gallery_from_elsewhere_runs_nothing_and_fills_no_memory(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    with (tmp_path / "a.npz").open("wb") as stream:
        np.savez(stream, names=np.array([Bomb()], dtype=object), images=np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(ValueError):
        read_gallery(tmp_path / "a.npz")
    assert not (tmp_path / "ran").exists()
    with (tmp_path / "b.npz").open("wb") as stream:
        np.savez_compressed(stream, names=np.array(["x"]), images=np.zeros((1, 9000, 9000), np.uint8))
    assert (tmp_path / "b.npz").stat().st_size < 200_000
    with pytest.raises(ValueError, match="64 MiB"):
        read_gallery(tmp_path / "b.npz")


def test_images_that_have_no_room_are_left_out_and_it_is_said(copy: Path, monkeypatch) -> None:
    monkeypatch.setattr("radgal.report.page.MAX_IMAGE_BYTES", 300_000)
    names = list(read_gallery(copy / "gallery.npz"))
    noise = np.random.default_rng(0).integers(0, 256, (len(names), 100, 100), dtype=np.uint8)
    with (copy / "gallery.npz").open("wb") as stream:
        np.savez(stream, names=np.array(names), images=noise)
    page = check_page(report(copy))
    assert "to keep the page under 5 MB" in page.text
    large = sum(attrs.get("class") == "large" for attrs in page.all("img"))
    assert 10 < large < min(len(names), 36)
    assert sum(len(attrs["src"]) for attrs in page.all("img")) <= 300_000


def test_positions_are_written_as_astronomers_do() -> None:
    assert sexagesimal(162.947, 55.386) == "10h51m47.3s +55°23′10″"
    assert sexagesimal(359.99999, -0.5) == "00h00m00.0s −00°30′00″"


def test_gallery_takes_the_surest_mistakes_and_the_most_uncertain(tmp_path: Path) -> None:
    correct, confidence, entropy = [True, False, False, True], [0.9, 0.6, 0.8, 0.5], [0.1, 0.2, 0.7, 0.3]
    assert choose_sources(correct, confidence, entropy) == ([2, 1], [2, 3, 1, 0])
    table = {"name": list("abcd"), "correct": correct, "predictive_entropy": entropy}
    images = np.arange(16, dtype=np.uint8).reshape(4, 2, 2)
    save_gallery(tmp_path, table, np.array(confidence), images)
    assert {name: image.tolist() for name, image in read_gallery(tmp_path / "gallery.npz").items()} == {
        name: image.tolist() for name, image in zip("abcd", images, strict=True)
    }
