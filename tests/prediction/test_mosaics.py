"""Positions cut out of a mosaic: those on it and off it, and what cannot be used."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits as pyfits
from astropy.table import Table

from tests.images.test_fits import write as write_fits
from tests.prediction.tools import CLASSES, go, make_mosaic, numbers, sky
from utils import UserError


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
        ("RA_1,dec\n1,2\n", (), "no column 'ra'; did you mean 'RA_1'"),
        ("ra,dec\n1,2\n", ("--id-column", "Ra_"), "no column 'Ra_'; did you mean 'ra'.*--id-column"),
        ("ra,dec\n10h61m,2\n", (), "column 'ra' cannot be read as numbers in deg .*; name another with --ra-column"),
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
