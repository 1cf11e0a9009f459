"""Images, runs and arguments that are bad, or of another pixel scale: told in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.io import fits as pyfits
from astropy.table import Table

import main
from radgal.config.config import Config, load_config
from radgal.data.datasets import preparation_of
from radgal.images.preparation import Preparation
from radgal.prediction import inputs
from radgal.prediction.job import list_sources
from radgal.runs import checkpoint
from tests.images.test_fits import a_field
from tests.images.test_fits import write as write_fits
from tests.prediction.tools import CLASSES, go, make_mosaic, make_run, numbers, save_images, sky
from utils import UserError


def test_files_that_cannot_be_read_are_rows_with_their_error(run_folder, tmp_path) -> None:
    folder = save_images(tmp_path / "images", 2)
    field = a_field((60, 60))
    write_fits(folder / "a_good.fits", field)
    write_fits(folder / "b_cube.fits", np.zeros((3, 60, 60)))
    write_fits(folder / "c_nan.fits", np.full((60, 60), np.nan))
    whole = (folder / "a_good.fits").read_bytes()
    (folder / "d_cut.fits").write_bytes(whole[:10000])
    (folder / "e_empty.png").write_bytes(b"")
    holes = field.copy()
    holes[:15] = np.nan
    write_fits(folder / "f_holes.fits", holes)
    (folder / "g.fits").write_text("SIMPLE is this not")
    rows = {row["id"]: row for row in go(run_folder, folder, "--mc-samples", 2, out=tmp_path / "c.csv")}
    assert len(rows) == 9
    for name, message in {
        "b_cube": "3 x 60 x 60",
        "c_nan": "no pixel has a value",
        "d_cut": "damaged, cut off",
        "e_empty": "e_empty.png",
        "g": "g.fits",
    }.items():
        assert message in rows[name]["error"], rows[name]
        assert rows[name]["prob_FRI"] == rows[name]["pred_name"] == rows[name]["prob_sd_FRI"] == ""
    for name in ("a_good", "f_holes", "s0000", "s0001"):
        assert rows[name]["error"] == "" and rows[name]["pred_name"] in CLASSES
        assert "padded" in rows[name]["flags"].split(";")
    assert float(rows["f_holes"]["nan_fraction"]) == 0.25 and "nan" in rows["f_holes"]["flags"].split(";")
    assert rows["c_nan"]["flags"] == "nan;blank;padded"


def test_what_was_taken_of_several_images_is_said_once_and_another_can_be_named(run_folder, tmp_path, capsys) -> None:
    folder, header = tmp_path / "images", dict(sky(29.5, 29.5).to_header())
    folder.mkdir()
    for i in range(2):
        write_fits(folder / f"{i}.fits", a_field((300, 300), seed=i), a_field((300, 300), seed=i)[::-1])
        with pyfits.open(folder / f"{i}.fits", mode="update") as hdus:
            for hdu in hdus:
                hdu.header.update(header)
    none = ("--mc-samples", 0, "--part-rows", 1)
    first = go(run_folder, folder, *none, out=tmp_path / "a.csv")
    said = capsys.readouterr().out
    assert said.count("holds several images, of which HDU 0 (300 x 300) was taken and not HDU 1 (300 x 300)") == 1
    assert [row["flags"] for row in first] == ["several_images"] * 2
    second = go(run_folder, folder, *none, "--hdu", 1, out=tmp_path / "b.csv")
    assert [row["flags"] for row in second] == ["", ""] and "holds several" not in capsys.readouterr().out
    assert (numbers(first, "prob_FRI") != numbers(second, "prob_FRI")).all()
    (tmp_path / "p.csv").write_text("ra,dec\n150,20\n")
    where = ("--mosaic", folder / "0.fits", "--catalog", tmp_path / "p.csv", "--mc-samples", 0)
    cut = go(run_folder, *where, "--hdu", 1, out=tmp_path / "c.csv")
    assert cut[0]["error"] == "" and "several_images" not in cut[0]["flags"]
    with pytest.raises(UserError, match="has no image SCI .*HDU 0"):
        go(run_folder, *where, "--hdu", "SCI", out=tmp_path / "d.csv")


@pytest.mark.parametrize("images", [5, None, np.zeros((2, 2)), Table({"ra": [1.0]}), ["a.png", 3]], ids=str)
def test_what_is_no_name_of_a_file_is_called_so(images) -> None:
    with pytest.raises(UserError, match="images are given by the names of files, not as "):
        list_sources(images, None, Path("catalog.csv"))
    with pytest.raises(UserError, match="the catalog of positions is given by the names of files, not as "):
        list_sources(images, "mosaic.fits", Path("catalog.csv"))


def test_images_may_be_any_list_of_names(tmp_path) -> None:
    (tmp_path / "a.png").touch()
    for images in (tmp_path, str(tmp_path), (tmp_path / "a.png" for _ in range(2)), np.array([str(tmp_path)])):
        assert list_sources(images, None, Path("catalog.csv")) == [str(tmp_path / "a.png")]


def test_an_error_is_told_in_words_whatever_it_is(monkeypatch) -> None:
    def fail(*args, **how):
        raise KeyError("hdu")

    monkeypatch.setattr(inputs, "read_image", fail)
    error = inputs.read("a.fits", [Preparation(0.1, 0.2, imsize=18)], inputs.Where()).error
    assert error == "a.fits cannot be used: reading it failed ('hdu')"


def test_another_pixel_scale_is_warned_of_once_and_resampled_when_asked(run_folder, tmp_path, capsys) -> None:
    folder, wcs = tmp_path / "images", sky(29.5, 29.5, cdelt=[-0.001, 0.001])
    folder.mkdir()
    for i in range(3):
        write_fits(folder / f"{i}.fits", a_field((160, 160), seed=i), **dict(wcs.to_header()))
    rows = go(run_folder, folder, "--mc-samples", 2, "--part-rows", 1, out=tmp_path / "c.csv")
    said = capsys.readouterr().out
    assert said.count("warning: images of 3.6 arcsec per pixel are given to networks trained on 1.8") == 1
    assert all("pixel_scale" in row["flags"].split(";") for row in rows)
    resampled = go(run_folder, folder, "--mc-samples", 2, "--rescale", out=tmp_path / "d.csv")
    assert "warning" not in capsys.readouterr().out
    assert not any("pixel_scale" in row["flags"] for row in resampled)
    assert (numbers(resampled, "prob_FRI") != numbers(rows, "prob_FRI")).all()
    mosaic = make_mosaic(tmp_path, sky(199.5, 199.5, cdelt=[-0.001, 0.001]))
    (tmp_path / "p.csv").write_text("ra,dec\n150,20\n")
    words = ("--mosaic", mosaic, "--catalog", tmp_path / "p.csv", "--mc-samples", 0)
    assert go(run_folder, *words, out=tmp_path / "e.csv")[0]["flags"] == "pixel_scale"
    assert go(run_folder, *words, "--rescale", out=tmp_path / "f.csv")[0]["flags"] == ""


def test_a_run_on_own_images_says_how_its_images_were_made(tmp_path) -> None:
    own = load_config(make_run(tmp_path / "r") / "small.txt").to_dict()
    own["data"] |= {"dataset": "ImageTable", "table": "mine.csv", "recipe": "mirabest_v2", "pixel_scale": 5.0}
    own["training"] |= {"imsize": 200}
    how = Preparation(0.1, 0.2, imsize=200, recipe="mirabest_v2", native_size=200, pixel_scale_arcsec=5.0)
    assert preparation_of(Config.from_dict(own), (0.1, 0.2)) == how


def test_resampling_to_a_scale_that_the_run_does_not_know_is_refused_at_once(run_folder, tmp_path) -> None:
    own = load_config(run_folder / "small.txt").to_dict()
    own["data"] |= {"dataset": "ImageTable", "table": "mine.csv"}
    unknown = make_run(tmp_path / "r", config=own)
    words = (save_images(tmp_path / "images", 1), "--ensemble", unknown, "--rescale")
    with pytest.raises(UserError, match="--rescale: the pixel scale of the training images of .*r is not known"):
        go(run_folder, *words, out=tmp_path / "c.csv")
    assert not list(tmp_path.glob("c.csv*"))


def test_runs_that_cannot_be_used(run_folder, tmp_path) -> None:
    images = save_images(tmp_path / "images", 1)
    (tmp_path / "theirs.pt").write_bytes(b"PK\x03\x04 theirs")
    torch.save({"state_dict": {}}, tmp_path / "foreign.pt")
    for path, message in (("theirs.pt", "theirs.pt"), ("foreign.pt", "not a checkpoint of this program")):
        with pytest.raises(UserError, match=message):
            go(tmp_path / path, images, out=tmp_path / "c.csv")
    three = make_run(tmp_path / "three", classes=("A", "B", "C"))
    with pytest.raises(UserError, match="same classes.*FRI, FRII.*A, B, C"):
        go(run_folder, images, "--ensemble", three, out=tmp_path / "c.csv")
    content = checkpoint.read(run_folder / "best.pt")
    content["model"]["fc3.bias"] = torch.full((2,), float("nan"))
    spoiled = make_run(tmp_path / "spoiled", model=content["model"])
    with pytest.raises(UserError, match="NaN or infinite"):
        go(spoiled, images, out=tmp_path / "c.csv")
    content["config"]["data"]["dataset"] = "Elsewhere"
    with pytest.raises(UserError, match="'Elsewhere', which this program does not know"):
        go(make_run(tmp_path / "unknown", config=content["config"]), images, out=tmp_path / "d.csv")


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "nothing to predict"),
        (("nowhere",), "no file or folder nowhere"),
        (("--mosaic", "m.fits"), "--mosaic needs --catalog"),
        (("--catalog", "c.csv"), "--catalog needs --mosaic"),
        (("a.fits", "--mosaic", "m.fits", "--catalog", "c.csv"), "not both"),
        (("a.fits", "--ra-column", "RA"), "--ra-column names a column of --catalog"),
        (("a.fits", "--rotations", "0"), "--rotations 0: at least 1"),
        (("a.fits", "--overlap", "--mc-samples", "0"), "--overlap"),
    ],
)
def test_arguments_that_do_not_go_together(run_folder, tmp_path, words, message, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.fits", "m.fits", "c.csv"):
        Path(name).touch()
    with pytest.raises(UserError, match=message):
        go(run_folder, *words, out=tmp_path / "catalog.csv")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "xpu", ""])
def test_a_device_that_is_none_is_named(run_folder, tmp_path, device) -> None:
    images = str(save_images(tmp_path / "images", 1))
    words = ["predict", str(run_folder), images, "--out", str(tmp_path / "c.csv"), "--device", device]
    with pytest.raises(UserError, match=f"device: '{device}' must be auto, cpu, cuda, cuda:N or mps"):
        main.main(words)
