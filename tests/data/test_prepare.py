"""``prepare``: FITS in, images with a table and a contact sheet out, nothing overwritten."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits as pyfits
from PIL import Image as PillowImage

import main
from radgal.data.datasets import DATASETS
from radgal.data.imagetable import ImageTable
from radgal.data.prepare import _new_folder as new_folder
from radgal.images.reading import read_image
from radgal.runs.lock import hold
from tests.images.test_fits import SKY, a_field, write
from utils import UserError, write_json

NAMES = ("100_150.000+020.000_0.1000_0010.00", "200_151.000+020.000_0.1000_9999.00", "mine")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three images, one of them below, one with no word on its class, and a file that is none."""
    (tmp_path / "fits" / "more").mkdir(parents=True)
    for i, name in enumerate(NAMES):
        write(tmp_path / "fits" / ("more" if i == 1 else ".") / f"{name}.fits", a_field((80, 80), seed=i), **SKY)
    (tmp_path / "fits" / "broken.fits").write_text("no image")
    return tmp_path / "fits"


def prepare(folder: Path, out: Path, *more: str) -> list[dict]:
    main.main(["prepare", str(folder), str(out), "--like", "mirabest_v1", "--side", "40", *more])
    with (out / "table.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.usefixtures("drawing")
def test_a_folder_becomes_images_and_a_table_that_is_used_as_it_is(folder, tmp_path, capsys) -> None:
    out = tmp_path / "deep" / "out"
    rows = {row["id"]: row for row in prepare(folder, out)}
    assert set(rows) == {*NAMES, "broken"}
    for name in NAMES:
        source = next(folder.rglob(f"{name}.fits"))
        pixels = np.asarray(PillowImage.open(out / rows[name]["path"]))
        assert np.array_equal(pixels, read_image(source, recipe="mirabest_v1", native_size=40).pixels)
        assert (out / rows[name]["source"]).resolve() == source.resolve()
    assert [rows[name]["label"] for name in NAMES] == ["100", "200", ""]
    assert [rows[name]["flags"] for name in NAMES] == ["", "too_large", ""]
    assert (rows["mine"]["pixel_scale_arcsec"], float(rows["mine"]["ra"])) == ("1.8", pytest.approx(150, abs=0.03))
    assert rows["broken"]["path"] == "" and "cannot be read as a FITS image" in rows["broken"]["error"]
    assert PillowImage.open(out / "contact.png").size[0] > 400
    said = capsys.readouterr().out.splitlines()
    assert "3 images, 1 too_large, 1 unreadable" in said[0] and "1 to be filled in" in said[0]
    assert "fill in the column label" in said[-1] and f"data.table={out.as_posix()}/table.csv" in said[-1]

    table = out / "table.csv"
    with pytest.raises(UserError, match="1 row has no label: images/mine.png"):
        ImageTable(table)
    table.write_text(table.read_text().replace("mine.png,,", "mine.png,100,"))
    data = ImageTable(table, native_size=40)
    assert len(data) == 3 and data.classes == ("100", "200") and "1 row is left out of 4" in data.notes[0]


def test_the_command_that_trains_on_them_lets_new_images_be_prepared_alike(folder, tmp_path, capsys) -> None:
    for scale, rescale in ((1.8, []), (3.6, ["--rescale"])):
        out = tmp_path / f"{scale}"
        for path in (path for path in folder.rglob("*.fits") if path.stem in NAMES):
            path.unlink()
            write(path, a_field((60, 60)), **SKY | {"CDELT1": -scale / 3600, "CDELT2": scale / 3600})
        main.main(["prepare", str(folder), str(out), "--like", "mirabest_v2", *rescale])
        said = capsys.readouterr().out.splitlines()[-1]
        assert "data.recipe=mirabest_v2 data.pixel_scale=1.8 training.imsize=150 " in said
    main.main(["prepare", str(folder), str(tmp_path / "own"), "--like", "mirabest_v2", "--side", "160"])
    said = capsys.readouterr().out.splitlines()[-1]
    assert "data.recipe=mirabest_v2 data.pixel_scale=3.6 training.imsize=160 " in said
    write(folder / "other.fits", a_field((60, 60), seed=7), **SKY)
    main.main(["prepare", str(folder), str(tmp_path / "mixed"), "--like", "mirabest_v1"])
    assert "data.pixel_scale=None " in capsys.readouterr().out.splitlines()[-1]
    # the table of one array names the FITS files, which nothing has resampled
    main.main(["prepare", str(folder), str(tmp_path / "a"), "--like", "mirabest_v1", "--rescale", "--format", "npz"])
    assert "main.py" not in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("image_format", ["npz", "hdf5"])
def test_one_array_holds_what_the_pngs_hold(folder, tmp_path, image_format) -> None:
    rows = prepare(folder, tmp_path / "out", "--format", image_format)
    if image_format == "npz":
        content = np.load(tmp_path / "out" / "images.npz", allow_pickle=False)
        names = content["id"].tolist()
    else:
        content = h5py.File(tmp_path / "out" / "images.h5")
        names = content["id"].asstr()[:].tolist()
    good = [row for row in rows if not row["error"]]
    assert names == [row["id"] for row in good] and len(content["label"]) == 3
    for row, pixels in zip(good, content["images"], strict=True):
        image = read_image(tmp_path / "out" / row["path"], recipe="mirabest_v1", native_size=40)
        assert np.array_equal(image.pixels, pixels)


def test_what_is_there_is_never_overwritten_and_nothing_is_left_of_a_failure(folder, tmp_path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="out is there already, and is left as it is"):
        prepare(folder, out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.fits").touch()
    with pytest.raises(UserError, match="none of 1 file can be read; the first: .*a.fits"):
        prepare(tmp_path / "bad", tmp_path / "other")
    assert {path.name for path in tmp_path.iterdir()} == {"fits", "out", "bad"}
    with pytest.raises(UserError, match="10 to 4096 pixels"):
        prepare(folder, tmp_path / "other", "--side", "9")


def test_files_of_one_name_in_two_folders_stay_apart(tmp_path) -> None:
    for part in ("a", "b"):
        (tmp_path / "fits" / part).mkdir(parents=True)
        write(tmp_path / "fits" / part / "x.fits", a_field((60, 60)), **SKY)
    assert [row["path"] for row in prepare(tmp_path / "fits", tmp_path / "out")] == ["images/a_x.png", "images/b_x.png"]


def test_rescaled_images_have_the_data_set_s_pixel_scale(folder, tmp_path) -> None:
    write(folder / "coarse.fits", a_field((80, 80)), **dict(SKY, CDELT1=-0.001, CDELT2=0.001))
    made = prepare(folder, tmp_path / "as_they_are"), prepare(folder, tmp_path / "rescaled", "--rescale")
    flags = [{row["id"]: row["flags"] for row in rows} for rows in made]
    assert (flags[0]["coarse"], flags[1]["coarse"]) == ("pixel_scale", "")


@pytest.mark.real_data
def test_real_cutouts_become_the_published_images(real_data, tmp_path) -> None:
    main.main(["prepare", f"{real_data / 'fits'}/200_2*.fits.gz", str(tmp_path / "out"), "--like", "mirabest_v2"])
    published = {}
    for train in (True, False):
        data = DATASETS["MiraBest_full_v2"](tmp_path / "data", train=train, mirror=real_data)
        published |= dict(zip(data.names, data.data.numpy(), strict=True))
    made = sorted((tmp_path / "out" / "images").iterdir())
    assert len(made) == 2
    for path in made:
        assert np.array_equal(np.asarray(PillowImage.open(path)), published[path.name.removesuffix(".png")])


def test_names_that_are_no_text_or_mathematics_are_prepared(tmp_path: Path) -> None:
    names = [b"a\xff", b"$\\frac$", b"plain"]
    (tmp_path / "in").mkdir()
    for name in names:
        np.save(tmp_path / "in.npy", np.random.default_rng(0).normal(size=(50, 50)))
        try:
            os.replace(tmp_path / "in.npy", os.fsencode(tmp_path / "in") + b"/" + name + b".npy")
        except OSError:
            pytest.skip("the file system takes UTF-8 only")
    rows = prepare(tmp_path / "in", tmp_path / "out")
    assert [row["id"] for row in rows] == ["$\\frac$", "a\\udcff", "plain"] and all(row["error"] == "" for row in rows)
    assert all((tmp_path / "out" / row["path"]).is_file() for row in rows)


@pytest.mark.skipif(os.name == "nt", reason="there are no such rights")
@pytest.mark.parametrize("umask, rights", [(0o077, 0o600), (0o027, 0o640), (0o002, 0o664)])
def test_all_rights_are_what_the_umask_leaves(umask: int, rights: int, folder: Path, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        prepare(folder, tmp_path / "out")
        write_json(tmp_path / "run" / "metrics.json", {})
        with hold(tmp_path / "run"):
            found = [*(tmp_path / "out").rglob("*"), *(tmp_path / "run").rglob("*"), tmp_path / "out", tmp_path / "run"]
            modes = {path: path.stat().st_mode & 0o777 for path in found}
    finally:
        os.umask(before)
    assert len(modes) > 7 and tmp_path / "run" / "run.lock" in modes
    for path, mode in modes.items():
        assert mode == (rights | rights >> 2 & 0o111 if path.is_dir() else rights), path


def test_what_a_killed_process_left_is_cleared_away_and_one_that_lives_is_not_disturbed(tmp_path) -> None:
    part = tmp_path / ".out.part"
    (part / "images").mkdir(parents=True)
    (part / "images" / "half.png").touch()
    with new_folder(tmp_path / "out") as first:
        assert first == part and list(first.iterdir()) == []
        if hasattr(os, "fork"):  # Windows has no locks of folders
            with pytest.raises(UserError, match="another process is writing"), new_folder(tmp_path / "out"):
                pass
        (first / "table.csv").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and (tmp_path / "out" / "table.csv").exists()


@pytest.mark.parametrize("image_format", ["png", "npz"])
def test_the_hdu_that_is_named_is_prepared_and_what_trains_on_the_table_reads_the_same(tmp_path, image_format) -> None:
    fields = [a_field((80, 80), seed=seed) for seed in (1, 2)]
    for i in range(2):
        header = pyfits.Header(SKY)
        hdus = [pyfits.PrimaryHDU(fields[i], header), pyfits.ImageHDU(fields[1 - i], header, name="SECOND")]
        (tmp_path / "fits").mkdir(exist_ok=True)
        pyfits.HDUList(hdus).writeto(tmp_path / "fits" / f"{i}.fits")
    taken = {}
    for hdu in ((), ("--hdu", "0"), ("--hdu", "second")):
        out = tmp_path / "_".join(("out", *hdu))
        rows = prepare(tmp_path / "fits", out, "--format", image_format, *hdu)
        assert ["several_images" in row["flags"] for row in rows] == [not hdu] * 2
        with (out / "table.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(row | {"label": "ab"[i]} for i, row in enumerate(rows))
        taken[hdu[-1] if hdu else None] = ImageTable(out / "table.csv", native_size=40).data.numpy()
    assert np.array_equal(taken[None], taken["0"]) and np.array_equal(taken["second"], taken["0"][::-1])
    assert not np.array_equal(taken["second"], taken["0"])
