"""The catalog as a file: its formats, and what becomes of one that is there."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
from astropy.table import Table

import main
from radgal.files.tables import ASTROPY_NAMES, FORMATS
from radgal.prediction.catalog import Column, write_catalog
from tests.conftest import ROOT
from tests.prediction.tools import go, rows_of, save_images
from utils import UserError


@pytest.mark.parametrize("suffix", FORMATS)
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
    if suffix == ".parquet":
        table = parquet.read_table(tmp_path / "d.parquet")
        assert table["prob_FRI"].null_count == 1 and table["error"].null_count == 4
        read = {name: table[name].to_pylist() for name in table.column_names}
    else:
        table = Table.read(tmp_path / f"d{suffix}", format=ASTROPY_NAMES[FORMATS[suffix]])
        read = {name: table[name].tolist() for name in table.colnames}
        if suffix != ".csv":
            assert str(table["ra_deg"].unit) == "deg"
    assert list(read) == list(rows[0])
    for name in ("prob_FRI", "mutual_information"):
        assert [x for x in read[name] if x is not None and x == x] == [float(row[name]) for row in rows if row[name]]
    assert len(read["prob_FRI"]) == 5 and str(read["id"][1]) == "s0001" and "s0002" in str(read["error"][2])
    assert "\\udcff" in rows[4]["id"] and "é" in rows[4]["id"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_flag_is_a_whole_number_in_every_format(tmp_path, suffix) -> None:
    if suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / f"c{suffix}"
    columns = [Column("id", "text", None, "name"), Column("learned", "flag", None, "0 or 1")]
    parts = [
        {"id": np.array([*names]), "learned": np.array(flags)}
        for names, flags in (("ab", (1.0, 0.0)), ("cd", (np.nan, 1.0)))
    ]
    write_catalog(path, columns, lambda: iter(parts), 4)
    if suffix == ".parquet":
        read = parquet.read_table(path)["learned"].to_pylist()
    else:
        read = Table.read(path, format=ASTROPY_NAMES[FORMATS[suffix]])["learned"].tolist()
    assert read == [1, 0, None, 1] and {type(one) for one in read} == {int, type(None)}
    if suffix in (".csv", ".ecsv"):
        assert path.read_text().splitlines()[-4:] == ["a,1", "b,0", "c,", "d,1"]


def test_every_format_is_named_where_a_user_looks(capsys) -> None:
    with pytest.raises(SystemExit):
        main.main(["predict", "--help"])
    said = " ".join(capsys.readouterr().out.split()).split("says the format:")[1].split("--ensemble")[0]
    page = (ROOT / "docs" / "predict.md").read_text(encoding="utf-8").split("**Format**")[1].split("\n\n")[0]
    for text in (said, page):
        named = {FORMATS[suffix] for suffix in re.findall(r"\.[a-z]+", text) if suffix in FORMATS}
        assert named == set(FORMATS.values())


def test_what_cannot_be_written_is_said_before_anything_is_computed(run_folder, tmp_path, monkeypatch) -> None:
    images = save_images(tmp_path / "images", 1)
    with pytest.raises(UserError, match=r"\.csv, \.ecsv, \.fits"):
        go(run_folder, images, out=tmp_path / "c.txt")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match="pip install pyarrow"):
        go(run_folder, images, out=tmp_path / "c.parquet")


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
