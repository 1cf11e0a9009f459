"""Predictions on new images: the same numbers by every way in, nothing lost when it breaks, bad input in words."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.coordinates import SkyCoord
from astropy.io import fits as pyfits
from astropy.table import Table
from astropy.wcs import WCS

import main
import models
from radgal.config.config import Config, load_config
from radgal.data.datasets import MiraBest_full, preparation_of
from radgal.data.splits import Split
from radgal.evaluation.probabilities import log_softmax
from radgal.evaluation.rotation import sample_rotations
from radgal.images.preparation import Preparation, crop_and_pad
from radgal.prediction import chunk
from radgal.prediction import job as predictjob
from radgal.runs import checkpoint
from tests.conftest import ROOT
from tests.images.test_fits import a_field
from tests.images.test_fits import write as write_fits
from utils import UserError

CLASSES = ("FRI", "FRII")
PIXEL_DEG = 0.0005  # 1.8 arcsec
CONFIG = """
[model]
base: '{base}'
[data]
dataset: 'MBFRConfident'
[training]
imsize: {imsize}
"""


def make_run(folder: Path, *, seed=0, imsize=18, base="VanillaLeNet", classes=CLASSES, std=0.035, **changes) -> Path:
    """A run folder whose network is not trained; ``changes`` are of the checkpoint."""
    folder.mkdir(parents=True)
    path = folder / "small.txt"
    path.write_text(CONFIG.format(base=base, imsize=imsize))
    config = load_config(path)
    torch.manual_seed(seed)
    model = models.build_from_config(config, classes, preparation_of(config, (0.0031, std)))
    content = {"format": checkpoint.FORMAT, "config": config.to_dict(), "classes": list(classes), "mean": 0.0031}
    content |= {"std": std, "model": model.state_dict(), "epoch": 1, "seed": seed, "history": []}
    checkpoint.save(folder / "best.pt", content | changes)
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "r")


def save_images(folder: Path, n: int, seed: int = 0) -> Path:
    """A folder of n small images with a bright middle, which NPY holds as pixels."""
    folder.mkdir()
    generator = np.random.default_rng(seed)
    for i in range(n):
        image = np.zeros((30, 30), dtype=np.uint8)
        image[10:20, 10:20] = generator.integers(0, 256, (10, 10))
        np.save(folder / f"s{i:04d}.npy", image)
    return folder


def sky(x: float, y: float, **changes) -> WCS:
    """A tangent plane with its reference pixel at (x, y), from 0."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 20.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [x + 1, y + 1], [-PIXEL_DEG, PIXEL_DEG]
    for key, value in changes.items():
        setattr(wcs.wcs, key, value)
    return wcs


def rows_of(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def go(run: Path, *words: object, out: Path) -> list[dict]:
    main.main(["predict", str(run), *map(str, words), "--out", str(out), "--device", "cpu"])
    return rows_of(out)


def numbers(rows: list[dict], *names: str) -> np.ndarray:
    names = names or tuple(name for name in rows[0] if name.startswith(("prob", "predictive", "expected", "mutual")))
    return np.array([[float(row[name]) for name in names] for row in rows])


# The same numbers by every way in


@pytest.fixture(scope="module")
def mirabest(real_data, tmp_path_factory):
    """(run trained on MiraBest for an epoch, the 22 cutouts, their images in the data set)."""
    folder = tmp_path_factory.mktemp("mirabest")
    config = folder / "config.txt"
    config.write_text(
        f"[model]\nbase: 'VanillaLeNet'\nquiet: True\n"
        f"[data]\ndataset: 'MBFRConfident'\ndatadir: '{folder.as_posix()}'\nmirror: '{real_data.as_posix()}'\n"
        f"[training]\nepochs: 1\nlr0: 1e-3\n[metrics]\noutputdir: '{(folder / 'run').as_posix()}'\n"
    )
    main.main(["--config", str(config), "--no-test"])
    paths = sorted((real_data / "fits").glob("*.fits.gz"))
    images = {}
    for train in (True, False):
        data = MiraBest_full(folder, train=train, mirror=str(real_data))
        images |= dict(zip(data.names, data.data, strict=True))
    pixels = torch.stack([images[path.name.removesuffix(".fits.gz")] for path in paths])
    return folder / "run", paths, pixels


@pytest.mark.real_data
def test_fits_cutouts_give_what_the_data_set_gives(mirabest, real_data, tmp_path) -> None:
    run, paths, pixels = mirabest
    rows = go(run, real_data / "fits", "--mc-samples", 20, out=tmp_path / "c.csv")
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    trained = checkpoint.load_run(run, torch.device("cpu"))
    logits = trained.logits(crop_and_pad(pixels, 150))
    probs = np.exp(log_softmax(logits))
    np.testing.assert_allclose(numbers(rows, "prob_FRI", "prob_FRII"), probs, atol=1e-6, rtol=0)
    assert len(np.unique(probs.round(4), axis=0)) > 15
    for row in rows:
        where = row["id"].split("_")[1]
        assert float(row["ra_deg"]) == pytest.approx(float(where[:7]), abs=1e-3)
        assert float(row["pixel_scale_arcsec"]) == pytest.approx(1.8, abs=1e-3) and row["error"] == ""
        # 150 px of 1.8 arcsec are 270 arcsec; no source of the 22 is larger
        assert "too_large" not in row["flags"] and "pixel_scale" not in row["flags"]


@pytest.mark.real_data
def test_sources_pasted_into_a_mosaic_give_the_same_again(mirabest, real_data, tmp_path) -> None:
    run, paths, _ = mirabest
    mosaic = np.random.default_rng(0).normal(scale=1e-4, size=(1, 1, 1700, 1810)).astype(">f4")
    wcs, lines = sky(700.3, 850.9), ["name,RA_J2000,Dec_J2000"]
    for i, path in enumerate(paths):
        y, x = 11 + 330 * (i // 5), 17 + 350 * (i % 5)
        mosaic[0, 0, y : y + 300, x : x + 300] = pyfits.getdata(path)
        # a position is seldom known to the pixel's middle
        ra, dec = wcs.all_pix2world(x + 149.5 + 0.3, y + 149.5 - 0.3, 0)
        lines.append(f"{path.name},{float(ra)!r},{float(dec)!r}")
    header = wcs.to_header()
    header.update(CTYPE3="FREQ", CTYPE4="STOKES")
    pyfits.PrimaryHDU(mosaic, header).writeto(tmp_path / "mosaic.fits")
    (tmp_path / "positions.csv").write_text("\n".join(lines))
    names = ("--ra-column", "RA_J2000", "--dec-column", "Dec_J2000", "--id-column", "name")
    where = ("--mosaic", tmp_path / "mosaic.fits", "--catalog", tmp_path / "positions.csv", *names)
    from_files = go(run, real_data / "fits", "--mc-samples", 20, out=tmp_path / "files.csv")
    from_mosaic = go(run, *where, "--mc-samples", 20, out=tmp_path / "mosaic.csv")
    assert [row["id"] for row in from_mosaic] == [path.name for path in paths]
    np.testing.assert_array_equal(numbers(from_mosaic), numbers(from_files))
    assert all(row["error"] == "" for row in from_mosaic)


def test_numbers_do_not_depend_on_batches_parts_or_neighbors(run_folder, tmp_path) -> None:
    images = save_images(tmp_path / "images", 23)
    options = ("--mc-samples", 30, "--rotations", 3)
    whole = go(run_folder, images, *options, out=tmp_path / "whole.csv")
    parts = go(
        run_folder, images, *options, "--batch-size", 4, "--part-rows", 5, "--threads", 3, out=tmp_path / "p.csv"
    )
    some = go(run_folder, *sorted(images.glob("*7.npy")), *options, out=tmp_path / "some.csv")
    assert [row["id"] for row in whole] == [row["id"] for row in parts] == [f"s{i:04d}" for i in range(23)]
    np.testing.assert_allclose(numbers(parts), numbers(whole), atol=1e-6)
    np.testing.assert_allclose(numbers(some), numbers(whole)[[7, 17]], atol=1e-6)
    other = go(run_folder, images, *options, "--seed", 1, out=tmp_path / "other.csv")
    np.testing.assert_array_equal(numbers(other, "prob_FRI"), numbers(whole, "prob_FRI"))
    assert (numbers(other, "prob_sd_FRI") != numbers(whole, "prob_sd_FRI")).all()


def test_dropout_passes_are_those_of_the_evaluation(run_folder, tmp_path) -> None:
    images = save_images(tmp_path / "images", 3)
    rows = go(run_folder, images, "--mc-samples", 3000, out=tmp_path / "c.csv")
    trained = checkpoint.load_run(run_folder, torch.device("cpu"))
    pixels = torch.from_numpy(np.stack([np.load(path) for path in sorted(images.glob("*.npy"))]))
    passes = trained.dropout_samples(crop_and_pad(pixels, 18), 3000)
    found = numbers(rows, "prob_mean_FRI", "prob_sd_FRI")
    standard_error = passes[..., 0].std(0) * (2 / 3000) ** 0.5
    assert (np.abs(found[:, 0] - passes[..., 0].mean(0)) < 5 * standard_error).all()
    np.testing.assert_allclose(found[:, 1], passes[..., 0].std(0), rtol=0.1)
    entropies = numbers(rows, "predictive_entropy", "expected_entropy", "mutual_information")
    np.testing.assert_allclose(entropies[:, 0], entropies[:, 1] + entropies[:, 2], atol=1e-12)
    assert (entropies[:, 2] > 0).all()


def test_runs_and_rotations_are_averaged(run_folder, tmp_path) -> None:
    images, second = save_images(tmp_path / "images", 4), make_run(tmp_path / "second", seed=1, imsize=22)
    none = ("--mc-samples", 0)
    a, b = (go(one, images, *none, out=tmp_path / f"{one.name}.csv") for one in (run_folder, second))
    both = go(run_folder, images, *none, "--ensemble", second, out=tmp_path / "both.csv")
    mean = (numbers(a, "prob_FRI") + numbers(b, "prob_FRI")) / 2
    np.testing.assert_allclose(numbers(both, "prob_FRI"), mean, atol=1e-12)
    spread = np.abs(numbers(a, "prob_FRI") - numbers(b, "prob_FRI")) / 2
    np.testing.assert_allclose(numbers(both, "prob_sd_FRI"), spread, atol=1e-12)
    assert "prob_sd_FRI" not in a[0] and "mutual_information" not in a[0]
    turned = go(run_folder, images, *none, "--rotations", 4, out=tmp_path / "turned.csv")
    by_hand = []
    for k in range(4):
        folder = tmp_path / f"quarter{k}"
        folder.mkdir()
        for path in images.glob("*.npy"):
            np.save(folder / path.name, np.rot90(np.load(path), k))
        by_hand.append(numbers(go(run_folder, folder, *none, out=tmp_path / f"q{k}.csv"), "prob_FRI"))
    np.testing.assert_allclose(numbers(turned, "prob_FRI"), np.mean(by_hand, axis=0), atol=1e-5)


def test_the_overlap_index_is_that_of_the_rotation_test(run_folder, tmp_path) -> None:
    images = save_images(tmp_path / "images", 2)
    rows = go(run_folder, images, "--mc-samples", 2000, "--overlap", out=tmp_path / "c.csv")
    trained = checkpoint.load_run(run_folder, torch.device("cpu"))
    pixels = torch.from_numpy(np.stack([np.load(path) for path in sorted(images.glob("*.npy"))]))
    split = Split(crop_and_pad(pixels, 18), torch.zeros(2, dtype=torch.int64), ("a", "b"))
    test = sample_rotations(trained, split, mc_samples=2000)
    np.testing.assert_allclose(numbers(rows, "overlap_index")[:, 0], test.overlap.mean(1), atol=0.03)
    np.testing.assert_allclose(
        numbers(rows, "overlap_index_reflected")[:, 0], test.overlap_reflected.mean(1), atol=0.05
    )


# Formats


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".fits", ".vot", ".xml", ".parquet"])
def test_every_format_holds_the_same_table(run_folder, tmp_path, suffix) -> None:
    if suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    images = save_images(tmp_path / "images", 5)
    (images / "s0002.npy").write_bytes(b"no image")
    (images / "s0004.npy").rename(images / "s0004 é,\t\udcff.npy")
    rows = go(run_folder, images, "--mc-samples", 5, "--part-rows", 2, out=tmp_path / "c.csv")
    main.main(
        [
            "predict",
            str(run_folder),
            str(images),
            "--mc-samples",
            "5",
            "--part-rows",
            "2",
            "--out",
            str(tmp_path / f"d{suffix}"),
        ]
    )
    kinds = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits"}
    if suffix == ".parquet":
        table = parquet.read_table(tmp_path / "d.parquet")
        assert table["prob_FRI"].null_count == 1 and table["error"].null_count == 4
        read = {name: table[name].to_pylist() for name in table.column_names}
    else:
        table = Table.read(tmp_path / f"d{suffix}", format=kinds.get(suffix, "votable"))
        read = {name: table[name].tolist() for name in table.colnames}
        if suffix != ".csv":
            assert str(table["ra_deg"].unit) == "deg"
    assert list(read) == list(rows[0])
    for name in ("prob_FRI", "mutual_information"):
        assert [x for x in read[name] if x is not None and x == x] == [float(row[name]) for row in rows if row[name]]
    assert len(read["prob_FRI"]) == 5 and str(read["id"][1]) == "s0001" and "s0002" in str(read["error"][2])
    assert "\\udcff" in rows[4]["id"] and "é" in rows[4]["id"]


def test_what_cannot_be_written_is_said_before_anything_is_computed(run_folder, tmp_path, monkeypatch) -> None:
    images = save_images(tmp_path / "images", 1)
    with pytest.raises(UserError, match=r"\.csv, \.ecsv, \.fits"):
        go(run_folder, images, out=tmp_path / "c.txt")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match="pip install pyarrow"):
        go(run_folder, images, out=tmp_path / "c.parquet")


# Nothing is lost


def wait_for_parts(process: subprocess.Popen, folder: Path, n: int) -> None:
    deadline = time.monotonic() + 120
    while len(list(folder.glob("part-*"))) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("n_images", "part_rows", "batch_size"), [(200, 5, 5), pytest.param(10_000, 250, 64, marks=pytest.mark.slow)]
)
def test_killed_half_way_and_resumed_no_row_is_lost_or_doubled(
    run_folder, tmp_path, n_images, part_rows, batch_size
) -> None:
    images = save_images(tmp_path / "images", n_images)
    words = [str(run_folder), str(images), "--mc-samples", "20", "--part-rows", str(part_rows)]
    words += ["--batch-size", str(batch_size), "--device", "cpu"]
    out = tmp_path / "killed.csv"
    command = [sys.executable, str(ROOT / "main.py"), "predict", *words, "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_parts(process, tmp_path / "killed.csv.parts", 8)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    parts = sorted((tmp_path / "killed.csv.parts").glob("part-*"))
    assert 8 <= len(parts) < 40 and not out.exists()
    times = {path.name: path.stat().st_mtime_ns for path in parts}
    with pytest.raises(UserError, match="--resume goes on"):
        main.main(["predict", *words, "--out", str(out)])
    kept = {}
    written = predictjob.remove_parts
    predictjob.remove_parts = lambda folder: kept.update({p.name: p.stat().st_mtime_ns for p in folder.glob("part-*")})
    try:
        main.main(["predict", *words, "--out", str(out), "--resume"])
    finally:
        predictjob.remove_parts = written
    assert len(kept) == 40 and {name: kept[name] for name in times} == times
    main.main(["predict", *words, "--out", str(tmp_path / "whole.csv")])
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert [row["id"] for row in rows_of(out)] == [f"s{i:04d}" for i in range(n_images)]
    assert not (tmp_path / "whole.csv.parts").exists()


def stop_after(monkeypatch, n_parts: int) -> None:
    """Makes the prediction fail once n parts are written."""
    done = []
    write = chunk.write_part

    def write_some(path, columns, part):
        if len(done) == n_parts:
            raise UserError("no space left")
        done.append(path)
        write(path, columns, part)

    monkeypatch.setattr(chunk, "write_part", write_some)


def test_parts_of_another_request_are_refused(run_folder, tmp_path, monkeypatch) -> None:
    images, out = save_images(tmp_path / "images", 9), tmp_path / "c.csv"
    options = (images, "--mc-samples", 2, "--part-rows", 3)
    with monkeypatch.context() as broken:
        stop_after(broken, 2)
        with pytest.raises(UserError, match="no space left"):
            go(run_folder, *options, out=out)
    assert len(list((tmp_path / "c.csv.parts").glob("part-*"))) == 2
    with pytest.raises(UserError, match="mc_samples: 2 then, 3 now"):
        go(run_folder, images, "--mc-samples", 3, "--part-rows", 3, "--resume", out=out)
    with pytest.raises(UserError, match="runs: "):
        go(make_run(tmp_path / "other", seed=5), *options, "--resume", out=out)
    content = (images / "s0001.npy").read_bytes()
    (images / "s0001.npy").write_bytes(content + b"x")
    with pytest.raises(UserError, match="images_checksum"):
        go(run_folder, *options, "--resume", out=out)
    damaged = tmp_path / "c.csv.parts" / "part-000000.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    state = os.stat(images / "s0001.npy")
    (images / "s0001.npy").write_bytes(content)
    request = json.loads((tmp_path / "c.csv.parts" / "request.json").read_text())
    os.utime(images / "s0001.npy", ns=(state.st_atime_ns, state.st_mtime_ns))
    monkeypatch.setattr(predictjob, "_checksum", lambda sources: request["images_checksum"])
    with pytest.raises(UserError, match="part-000000.npz is damaged"):
        go(run_folder, *options, "--resume", out=out)
    damaged.unlink()
    assert len(go(run_folder, *options, "--resume", out=out)) == 9


def test_a_catalog_that_is_there_is_kept_and_a_finished_one_is_not_made_again(run_folder, tmp_path, capsys) -> None:
    images, out = save_images(tmp_path / "images", 2), tmp_path / "c.csv"
    out.write_text("mine")
    first = go(run_folder, images, "--mc-samples", 2, out=out)
    assert (tmp_path / "c.1.csv").read_text() == "mine"
    before = out.stat().st_mtime_ns
    assert go(run_folder, images, "--mc-samples", 2, "--resume", out=out) == first
    assert out.stat().st_mtime_ns == before and "finished already" in capsys.readouterr().out
    with pytest.raises(UserError, match="finished catalog"):
        go(run_folder, images, "--mc-samples", 4, "--resume", out=out)
    go(run_folder, images, "--mc-samples", 4, out=out)
    assert rows_of(tmp_path / "c.2.csv") == first
    assert json.loads((tmp_path / "c.2.csv.json").read_text())["mc_samples"] == 2
    assert json.loads((tmp_path / "c.csv.json").read_text())["mc_samples"] == 4


def test_a_folder_is_no_catalog_and_is_left_alone(run_folder, tmp_path) -> None:
    images, out = save_images(tmp_path / "images", 1), tmp_path / "c.csv"
    out.mkdir()
    with pytest.raises(UserError, match="c.csv is a folder"):
        go(run_folder, images, out=out)
    assert out.is_dir() and not (tmp_path / "c.csv.parts").exists()


def test_parts_are_known_by_their_request_until_the_last_is_removed(tmp_path, monkeypatch) -> None:
    """Otherwise parts that a killed removal left would pass for those of any later request."""
    folder = tmp_path / "c.csv.parts"
    folder.mkdir()
    for name in ("part-000000.npz", "request.json", "part-000001.npz"):
        (folder / name).touch()
    parts_at_the_end = []
    remove = os.unlink

    def watched(path, *args, **options):
        if Path(path).name == "request.json":
            parts_at_the_end.extend(folder.glob("part-*"))
        remove(path, *args, **options)

    monkeypatch.setattr(os, "unlink", watched)
    predictjob.remove_parts(folder)
    assert parts_at_the_end == [] and not folder.exists()


def test_a_chunk_is_a_task_of_plain_arguments_that_may_be_run_twice(run_folder, tmp_path) -> None:
    images = [str(path) for path in sorted(save_images(tmp_path / "images", 5).glob("*"))]
    settings = chunk.open_settings([str(run_folder)], mc_samples=3, device="cpu")
    job = predictjob.plan(settings, images, tmp_path / "c.csv", part_rows=2)
    predictjob.begin(job, resume=False)
    tasks = [pickle.dumps((settings, chunk)) for chunk in job.chunks()]
    for task in [*reversed(tasks), tasks[0]]:
        chunk.predict_chunk(*pickle.loads(task))
    before = {path: path.stat().st_mtime_ns for path in job.folder.glob("part-*")}
    chunk.predict_chunk(*pickle.loads(tasks[1]))
    assert len(before) == 3 and all(path.stat().st_mtime_ns == old for path, old in before.items())
    predictjob.assemble(job)
    assert [row["path"] for row in rows_of(tmp_path / "c.csv")] == images
    changed = dataclasses.replace(settings.members[0], sha256="0")
    with pytest.raises(UserError, match="has changed"):
        chunk.predict_chunk(dataclasses.replace(settings, members=(changed,)), next(job.chunks()))


# Bad input


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


def make_mosaic(folder: Path, wcs: WCS | None = None, side: int = 400) -> Path:
    data = np.random.default_rng(0).normal(size=(side, side))
    data[190:210, 190:210] = 100 + np.arange(400.0).reshape(20, 20)
    path = folder / "mosaic.fits"
    pyfits.PrimaryHDU(data, None if wcs is None else wcs.to_header()).writeto(path)
    return path


def test_positions_on_and_off_the_mosaic(run_folder, tmp_path) -> None:
    wcs = sky(199.5, 199.5)
    mosaic = make_mosaic(tmp_path, wcs)
    at = {"middle": (199.5, 199.5), "edge": (20, 200), "outside": (-30, 200)}
    lines = ["id,ra,dec,las"]
    for name, (x, y) in at.items():
        ra, dec = wcs.all_pix2world(x, y, 0)
        lines.append(f"00{name},{float(ra)!r},{float(dec)!r},{40 if name == 'middle' else ''}")
    lines += ["antipode,330,-20,", "no number,,20,1", "pole,10,95,"]
    (tmp_path / "p.csv").write_text("\n".join(lines))
    words = ("--mosaic", mosaic, "--catalog", tmp_path / "p.csv", "--mc-samples", 2)
    rows = {row["id"]: row for row in go(run_folder, *words, out=tmp_path / "c.csv")}
    assert list(rows) == ["00middle", "00edge", "00outside", "antipode", "no number", "pole"]
    # 18 px of 1.8 arcsec are 32.4 arcsec
    assert rows["00middle"]["flags"] == "too_large" and rows["00middle"]["pred_name"] in CLASSES
    assert rows["00edge"]["pred_name"] in CLASSES and "off_edge" in rows["00edge"]["flags"].split(";")
    assert float(rows["00edge"]["nan_fraction"]) == pytest.approx(130 / 300, abs=0.01)
    for name in ("00outside", "antipode"):
        assert rows[name]["flags"] == "off_edge" and rows[name]["prob_FRI"] == ""
        assert "outside the mosaic" in rows[name]["error"]
    for name in ("no number", "pole"):
        assert "no position on the sky" in rows[name]["error"] and rows[name]["prob_FRI"] == ""


def test_packed_mosaics_and_other_coordinates_give_the_same(run_folder, tmp_path) -> None:
    plain = make_mosaic(tmp_path, sky(199.5, 199.5))
    data, header = pyfits.getdata(plain, header=True)
    (tmp_path / "packed.fits.gz").write_bytes(gzip.compress(plain.read_bytes()))
    tiled = pyfits.CompImageHDU(data, header, compression_type="GZIP_1", quantize_level=0)
    pyfits.HDUList([pyfits.PrimaryHDU(), tiled]).writeto(tmp_path / "tiled.fits.fz")
    center = SkyCoord(150, 20, unit="deg").galactic
    turned = sky(199.5, 199.5, ctype=["GLON-TAN", "GLAT-TAN"], crval=[center.l.deg, center.b.deg])
    pyfits.PrimaryHDU(data[None], turned.to_header()).writeto(tmp_path / "galactic.fits")
    (tmp_path / "p.csv").write_text("ra,dec\n150,20\n")
    found = [
        go(run_folder, "--mosaic", path, "--catalog", tmp_path / "p.csv", "--mc-samples", 2, out=tmp_path / f"{i}.csv")
        for i, path in enumerate([plain, *sorted(tmp_path.glob("[pgt]*.fits*"))])
    ]
    assert len(found) == 4 and all(rows == found[0] and rows[0]["error"] == "" for rows in found)


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".fits", ".vot"])
def test_positions_are_read_from_every_table_with_its_units(run_folder, tmp_path, suffix) -> None:
    mosaic = make_mosaic(tmp_path, sky(199.5, 199.5))
    table = Table({"Name": ["a", "b"], "RA": [150.0, 150.01], "DEC": [20.0, 20.01]})
    if suffix != ".csv":
        table["RA"], table["RA"].unit = table["RA"] / 15, "hourangle" if suffix == ".ecsv" else None
        if suffix != ".ecsv":
            table["RA"] = np.deg2rad(table["RA"] * 15)
            table["RA"].unit = "rad"
    kinds = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".vot": "votable"}
    table.write(tmp_path / f"p{suffix}", format=kinds[suffix])
    words = ("--mosaic", mosaic, "--catalog", tmp_path / f"p{suffix}", "--id-column", "Name", "--mc-samples", 0)
    rows = go(run_folder, *words, out=tmp_path / "c.csv")
    assert [row["id"] for row in rows] == ["a", "b"]
    np.testing.assert_allclose(numbers(rows, "ra_deg", "dec_deg"), [[150.0, 20.0], [150.01, 20.01]], rtol=1e-9)
    assert all(row["error"] == "" for row in rows)


@pytest.mark.parametrize(
    "catalog, words, message",
    [
        ("ra,dec\n", (), "empty catalog"),
        ("RAJ2000,dec\n1,2\n", (), "no column 'ra'; did you mean 'RAJ2000'"),
        ("ra,dec\n1,2\n", ("--id-column", "Ra_"), "no column 'Ra_'; did you mean 'ra'.*--id-column"),
        ("ra,dec\n10h20m,2\n", (), "column 'ra' cannot be read as numbers in deg .*; name another with --ra-column"),
        ("RA,Ra,dec\n1,2,3\n", (), "no column 'ra'; did you mean 'RA'"),
        ("", (), "cannot be read as a catalog"),
        (None, (), "cannot be read as a catalog: No such file"),
    ],
)
def test_catalogs_that_cannot_be_used(run_folder, tmp_path, catalog, words, message) -> None:
    mosaic = make_mosaic(tmp_path, sky(199.5, 199.5))
    if catalog is not None:
        (tmp_path / "p.csv").write_text(catalog)
    with pytest.raises(UserError, match=message):
        go(run_folder, "--mosaic", mosaic, "--catalog", tmp_path / "p.csv", *words, out=tmp_path / "c.csv")
    assert not list(tmp_path.glob("c.csv*"))


def test_a_column_of_the_very_name_comes_before_one_of_other_case(run_folder, tmp_path) -> None:
    mosaic = make_mosaic(tmp_path, sky(199.5, 199.5))
    (tmp_path / "p.csv").write_text("RA,ra,dec\n10:00:00,150,20\n")
    words = ("--mosaic", mosaic, "--catalog", tmp_path / "p.csv", "--mc-samples", 0)
    assert go(run_folder, *words, out=tmp_path / "c.csv")[0]["ra_deg"] == "150.0"


def test_mosaics_that_cannot_be_used(run_folder, tmp_path) -> None:
    (tmp_path / "p.csv").write_text("ra,dec\n150,20\n")

    def use(path: Path) -> None:
        go(run_folder, "--mosaic", path, "--catalog", tmp_path / "p.csv", out=tmp_path / "c.csv")

    with pytest.raises(UserError, match="no celestial WCS"):
        use(make_mosaic(tmp_path))
    with pytest.raises(UserError, match="3 x 400 x 400"):
        use(write_fits(tmp_path / "cube.fits", np.zeros((3, 400, 400))))
    whole = write_fits(tmp_path / "whole.fits", np.zeros((100, 100)), **dict(sky(50, 50).to_header()))
    (tmp_path / "cut.fits").write_bytes(whole.read_bytes()[:50000])
    with pytest.raises(UserError, match="cut off"):
        use(tmp_path / "cut.fits")
    (tmp_path / "text.fits").write_text("not a mosaic")
    with pytest.raises(UserError, match="text.fits"):
        use(tmp_path / "text.fits")
    with pytest.raises(UserError, match="No such file"):
        use(tmp_path / "none.fits")


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
def test_arguments_that_do_not_go_together(run_folder, tmp_path, words, message) -> None:
    with pytest.raises(UserError, match=message):
        go(run_folder, *words, out=tmp_path / "c.csv")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "xpu", ""])
def test_a_device_that_is_none_is_named(run_folder, tmp_path, device) -> None:
    words = ["predict", str(run_folder), str(run_folder), "--out", str(tmp_path / "c.csv"), "--device", device]
    with pytest.raises(UserError, match=f"device: '{device}' must be auto, cpu, cuda, cuda:N or mps"):
        main.main(words)


# By workers


@pytest.mark.slow
def test_workers_make_the_same_catalog(run_folder, tmp_path) -> None:
    pytest.importorskip("distributed", reason="dask is an optional requirement")
    images = save_images(tmp_path / "many", 30)
    options = ("--mc-samples", 3, "--part-rows", 4)
    alone = go(run_folder, images, *options, out=tmp_path / "alone.csv")
    assert go(run_folder, images, *options, "--workers", 2, out=tmp_path / "shared.csv") == alone
    assert len(alone) == 30 and not (tmp_path / "shared.csv.parts").exists()


@pytest.mark.slow
def test_a_worker_that_is_killed_half_way_changes_no_row(run_folder, tmp_path) -> None:
    pytest.importorskip("distributed", reason="dask is an optional requirement")
    import psutil  # which dask brings

    images = save_images(tmp_path / "many", 60)
    options = ("--mc-samples", 3, "--part-rows", 2)
    parts, killed = tmp_path / "shared.csv.parts", []

    def kill_a_worker() -> None:
        while len(list(parts.glob("part-*"))) < 3:
            time.sleep(0.02)
        children = psutil.Process().children(recursive=True)
        killed.append(next(child for child in children if "spawn_main" in " ".join(child.cmdline())))
        killed[0].kill()

    killer = threading.Thread(target=kill_a_worker, daemon=True)
    killer.start()
    shared = go(run_folder, images, *options, "--workers", 2, out=tmp_path / "shared.csv")
    assert killed and not killer.is_alive()
    assert shared == go(run_folder, images, *options, out=tmp_path / "alone.csv") and len(shared) == 60
