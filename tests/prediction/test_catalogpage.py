"""The page beside a catalog: what it holds, that a resumed job ends in the same, and that nothing foreign is lost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from radgal.prediction import catalogpage
from radgal.prediction import job as predictjob
from radgal.prediction.summary import describe_calibration
from radgal.prediction.thumbnails import extent_of, path_beside, read_sheets
from tests.prediction.test_interrupted import stop_after
from tests.prediction.tools import go, make_mosaic, save_images, sky
from utils import UserError


def data_of(page: Path) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*)</script>', page.read_text(encoding="utf-8"))
    return json.loads(text)


def without_time(page: Path) -> str:
    return re.sub(r"made \d{4}-.*? UTC", "", page.read_text(encoding="utf-8"))


def test_the_page_holds_what_the_catalog_does_and_its_text_can_do_nothing(run_folder, tmp_path) -> None:
    images = save_images(tmp_path / "images", 28)
    (images / "s0000.npy").rename(images / "<script>alert(1)<-script>.npy")
    (images / "s0027.npy").write_bytes(b"no image")
    rows = go(run_folder, images, "--mc-samples", 2, out=tmp_path / "c.csv")
    data = data_of(tmp_path / "c.html")
    assert data["columns"]["id"] == [row["id"] for row in rows]
    assert "<script>alert" not in (tmp_path / "c.html").read_text(encoding="utf-8")
    names = [data["classes"][k] if k >= 0 else "" for k in data["columns"]["class"]]
    assert names == [row["pred_name"] for row in rows] and names[-1] == ""
    shown, written = data["columns"]["p0"][:-1], [float(row["prob_FRI"]) for row in rows[:-1]]
    assert shown == pytest.approx(written, abs=5.1e-5) and data["columns"]["p0"][-1] is None
    text = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "not calibrated: it has no temperature" in text and "c0" not in data["columns"]
    assert "cannot be read" in data["texts"]["error"][data["columns"]["error"][-1]]
    assert len(data["sheets"]["embedded"]) == 2 and not (tmp_path / "c_files").exists()
    assert data["start"] + data["columns"]["path"][5] == rows[5]["path"] and "field_arcsec" not in data["columns"]
    for row in rows[:-1]:  # with the digits that they mean
        assert len(row["prob_FRI"].lstrip("0.").replace(".", "")) <= 6


def test_the_page_says_whether_probabilities_are_calibrated() -> None:
    assert "not calibrated" in describe_calibration(None)
    assert "over the temperatures 1.500, 0.913 (" in describe_calibration([1.5, 0.91349])


def test_scale_and_beam_come_from_the_header(run_folder, tmp_path) -> None:
    from astropy.io import fits

    mosaic = make_mosaic(tmp_path, sky(199.5, 199.5))
    with fits.open(mosaic, mode="update") as hdus:
        hdus[0].header.update(BMAJ=5.4 / 3600, BMIN=5.0 / 3600, BPA=30.0)
    (tmp_path / "list.csv").write_text("id,ra,dec\na,150.0,20.0\n")
    go(run_folder, "--mosaic", mosaic, "--catalog", tmp_path / "list.csv", out=tmp_path / "c.csv")
    columns = data_of(tmp_path / "c.html")["columns"]
    assert columns["field_arcsec"] == [270] and columns["ra"] == [150]
    assert [columns[f"beam_{key}"] for key in ("major", "minor", "angle")] == [[5.4], [5], [30]]
    assert columns["extent_arcsec"][0] == pytest.approx(1.8 * columns["extent_px"][0], abs=1)
    assert 20 <= columns["extent_px"][0] <= 60  # a square of 20 x 20 pixels


def test_the_extent_is_the_largest_distance_of_bright_pixels() -> None:
    pixels = np.zeros((50, 50), dtype=np.uint8)
    assert extent_of(pixels) == 0
    pixels[10, 10], pixels[40, 0] = 25, 20  # faint
    assert extent_of(pixels) == 0
    pixels[10, 10], pixels[13, 14] = 200, 26
    assert extent_of(pixels) == pytest.approx(6)


@pytest.mark.parametrize("most_in_one_file", [2000, 5])
def test_a_resumed_job_ends_in_the_same_page(run_folder, tmp_path, monkeypatch, most_in_one_file) -> None:
    monkeypatch.setattr(catalogpage, "MOST_IN_ONE_FILE", most_in_one_file)
    options = (save_images(tmp_path / "images", 9), "--mc-samples", 2, "--part-rows", 3)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    go(run_folder, *options, out=tmp_path / "a" / "c.csv")
    out = tmp_path / "b" / "c.csv"
    with monkeypatch.context() as broken:
        stop_after(broken, 2)
        with pytest.raises(UserError, match="no space left"):
            go(run_folder, *options, out=out)
    sheets = path_beside(out.with_name("c.csv.parts") / "part-000001.npz")
    assert len(read_sheets(sheets, 3).pngs) == 1
    sheets.write_bytes(sheets.read_bytes()[:-100])  # damaged: that part is made again
    go(run_folder, *options, "--resume", out=out)
    assert without_time(tmp_path / "a" / "c.html") == without_time(tmp_path / "b" / "c.html")
    files = [sorted(path.name for path in (tmp_path / one).rglob("*")) for one in ("a", "b")]
    assert files[0] == files[1] and ("c_files" in files[0]) == (most_in_one_file == 5)
    for path in (tmp_path / "a" / "c_files").glob("*"):
        assert path.read_bytes() == (tmp_path / "b" / "c_files" / path.name).read_bytes()


def test_a_page_is_kept_with_its_catalog_and_nothing_else_is_overwritten(run_folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(catalogpage, "MOST_IN_ONE_FILE", 1)
    images, out = save_images(tmp_path / "images", 2), tmp_path / "c.csv"
    go(run_folder, images, out=out)
    first = (tmp_path / "c.html").read_text(), (tmp_path / "c_files" / "000000-000.png").read_bytes()
    put = predictjob.put
    with monkeypatch.context() as killed:  # between the catalog and its page
        killed.setattr(predictjob, "put", lambda made, place: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            go(run_folder, images, "--seed", 1, out=out)
    assert predictjob.put is put
    go(run_folder, images, "--seed", 1, "--resume", out=out)
    kept = (tmp_path / "c.1.html").read_text(), (tmp_path / "c.1_files" / "000000-000.png").read_bytes()
    assert kept == first and (tmp_path / "c.html").exists() and (tmp_path / "c_files").is_dir()
    assert not (tmp_path / "c.csv.parts").exists()
    (tmp_path / "own.html").write_text("mine")
    with pytest.raises(UserError, match="is no page of a catalog.*--no-page"):
        go(run_folder, images, out=tmp_path / "own.csv")
    go(run_folder, images, "--no-page", out=tmp_path / "own.csv")
    assert (tmp_path / "own.html").read_text() == "mine"
