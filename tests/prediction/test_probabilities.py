"""The same probabilities by every way in, and those of the evaluation."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from astropy.io import fits as pyfits

import main
from benchmarks import ways_in
from radgal.data.datasets import MiraBest_full
from radgal.data.splits import Split
from radgal.evaluation.probabilities import log_softmax
from radgal.evaluation.rotation import sample_rotations
from radgal.images.preparation import crop_and_pad
from radgal.runs import checkpoint
from tests.conftest import ROOT
from tests.prediction.tools import go, make_run, numbers, save_images, sky
from utils import UserError


@pytest.fixture(scope="module")
def mirabest(real_data, tmp_path_factory):
    """(run trained on MiraBest for an epoch, the 22 cutouts, their images in the data set)."""
    folder = tmp_path_factory.mktemp("mirabest")
    config = folder / "config.txt"
    config.write_text(
        f"[model]\nbase: 'VanillaLeNet'\nquiet: True\n"
        f"[data]\ndataset: 'MBFRConfident'\ndatadir: '{folder.as_posix()}'\nmirror: '{real_data.as_posix()}'\n"
        f"train_size: 200\n"
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
    listed = set(trained.checkpoint["sources"]["names"])
    assert [float(row["in_training"]) for row in rows] == [float(row["id"] in listed) for row in rows]
    assert 0 < len(listed.intersection(row["id"] for row in rows)) < len(rows)
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


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("name", ["of one epoch", "fr-lenet", "fr-d4"])
def test_every_way_in_gives_the_same(name: str, mirabest, real_data) -> None:
    """Fills, NaN, packings, axes, projections and pictures: the table of docs/predict.md, and two other networks."""
    run = checkpoint.find(name if name.startswith("fr-") else mirabest[0])
    rows = ways_in.measure(checkpoint.load_run(run, torch.device("cpu")), real_data / "fits")
    assert sum("fill" in row[-1] for row in rows) == 8
    for what, _, apart, _, changes, _ in rows:
        loses = next((most for steps, most in ways_in.LOSES.items() if steps in what), ways_in.ALLOWED)
        assert apart <= loses and changes <= ("left" in what), what
    if name == "fr-lenet":
        page = (ROOT / "docs" / "predict.md").read_text(encoding="utf-8")
        table = page.split("<!-- ways in: begin -->")[1].split("<!-- ways in: end")[0]
        told = [line.strip("| ").split(" | ") for line in table.splitlines()[3:]]
        assert [(row[0], row[1], row[4]) for row in told] == [(row[0], row[1], str(row[4])) for row in rows]
        assert all(abs(float(row[2]) - found[2]) <= 1e-3 for row, found in zip(told, rows, strict=True))


def test_numbers_do_not_depend_on_batches_parts_or_neighbors(run_folder, tmp_path) -> None:
    images = save_images(tmp_path / "images", 23)
    options = ("--mc-samples", 30, "--rotations", 3)
    whole = go(run_folder, images, *options, out=tmp_path / "whole.csv")
    parts = go(
        run_folder, images, *options, "--batch-size", 4, "--part-rows", 5, "--threads", 3, out=tmp_path / "p.csv"
    )
    some = go(run_folder, *sorted(images.glob("*7.npy")), *options, out=tmp_path / "some.csv")
    assert [row["id"] for row in whole] == [row["id"] for row in parts] == [f"s{i:04d}" for i in range(23)]
    np.testing.assert_allclose(numbers(parts), numbers(whole), atol=2e-6)
    np.testing.assert_allclose(numbers(some), numbers(whole)[[7, 17]], atol=2e-6)
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
    np.testing.assert_allclose(entropies[:, 0], entropies[:, 1] + entropies[:, 2], atol=2e-6)
    assert (entropies[:, 2] > 0).all()


def test_runs_and_rotations_are_averaged(run_folder, tmp_path) -> None:
    images, second = save_images(tmp_path / "images", 4), make_run(tmp_path / "second", seed=1, imsize=22)
    none = ("--mc-samples", 0)
    a, b = (go(one, images, *none, out=tmp_path / f"{one.name}.csv") for one in (run_folder, second))
    both = go(run_folder, images, *none, "--ensemble", second, out=tmp_path / "both.csv")
    mean = (numbers(a, "prob_FRI") + numbers(b, "prob_FRI")) / 2
    np.testing.assert_allclose(numbers(both, "prob_FRI"), mean, atol=2e-6)
    spread = np.abs(numbers(a, "prob_FRI") - numbers(b, "prob_FRI")) / np.sqrt(2)  # of two runs: M - 1 is 1
    np.testing.assert_allclose(numbers(both, "prob_sd_FRI"), spread, atol=2e-6)
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


def test_catalogs_of_a_run_with_a_temperature_have_calibrated_probabilities(run_folder, tmp_path) -> None:
    images = save_images(tmp_path / "images", 3)
    hot = make_run(tmp_path / "hot", temperature=2.5)
    rows = go(hot, images, "--mc-samples", 0, out=tmp_path / "c.csv")
    margin = np.log(numbers(rows, "prob_FRI") / numbers(rows, "prob_FRII"))
    calibrated = numbers(rows, "prob_calibrated_FRI", "prob_calibrated_FRII")
    np.testing.assert_allclose(np.log(calibrated[:, :1] / calibrated[:, 1:]), margin / 2.5, rtol=1e-4)
    assert json.loads((tmp_path / "c.csv.json").read_text())["temperatures"] == [2.5]
    both = go(hot, images, "--mc-samples", 0, "--ensemble", run_folder, out=tmp_path / "both.csv")
    assert "prob_calibrated_FRI" not in both[0]  # one of the two has none
    spoiled = make_run(tmp_path / "spoiled", temperature=float("nan"))
    with pytest.raises(UserError, match="its temperature is no number from 0.01 to 100"):
        go(spoiled, images, out=tmp_path / "n.csv")
