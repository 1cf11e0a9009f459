"""The page is a sound one whatever the run's files hold, and whatever is missing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from radgal.evaluation.gallery import read_gallery
from radgal.report.page import write_report
from tests.report.tools import HOSTILE, check_page, report, rewrite, with_few_images


@pytest.fixture
def few(copy: Path) -> Path:
    return with_few_images(copy)


def test_texts_of_the_files_cannot_become_markup(copy: Path) -> None:
    def spoil_rows(rows):
        for row in rows[:60]:
            row["name"] = HOSTILE + row["name"]
            for key in ("label_name", "pred_name", "poses", "model"):
                if key in row:
                    row[key] = HOSTILE

    def spoil_classes(metrics):
        metrics |= {"run": HOSTILE, "dataset": HOSTILE, "version": HOSTILE}

    for name in ("sources.csv", "rotation_sources.csv"):
        rewrite(copy / name, spoil_rows)
    for name in ("equivariance.csv", "equivariance_summary.csv"):
        rewrite(copy / name, lambda rows: [row | {"model": HOSTILE} for row in rows])
    rewrite(copy / "metrics.json", spoil_classes)
    rewrite(copy / "environment.json", lambda content: {HOSTILE: HOSTILE, "packages": {HOSTILE: HOSTILE}, **content})
    (copy / "config.txt").write_text(f"[model]\nbase: {HOSTILE!r}\n[data]\ndataset: {HOSTILE!r}\n")
    images = read_gallery(copy / "gallery.npz")
    with (copy / "gallery.npz").open("wb") as stream:
        np.savez(stream, names=np.array([HOSTILE + name for name in images]), images=np.stack(list(images.values())))
    text = report(copy).read_text(encoding="utf-8")
    check_page(copy / "report.html")
    assert text.count("<script") == 1 and "<img src=http" not in text and "\u202e" not in text
    assert "&lt;script&gt;alert" in text


@pytest.mark.parametrize(
    "gone",
    [
        ["metrics.json", "sources.csv", "gallery.npz"],
        ["gallery.npz", "rotation_figures"],
        ["history.csv", "environment.json"],
        ["rotation_sources.csv", "rotation_poses.csv", "equivariance.csv", "equivariance_summary.csv"],
        ["config.txt", "sources.csv"],
    ],
    ids=lambda gone: gone[0],
)
def test_what_is_missing_is_left_out(few: Path, gone: list[str]) -> None:
    for name in gone:
        path = few / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = check_page(report(few))
    if "metrics.json" in gone:
        assert "main.py evaluate" in page.text and "Confusion" not in page.text and "Training" in page.text
        rewrite(few / "environment.json", lambda content: {**content, "has_test_set": False})
        assert "These data have no test set" in check_page(report(few)).text
    if "gallery.npz" in gone and "metrics.json" not in gone:
        assert "no image saved" in page.text and "Misclassified" in page.text
    if "config.txt" in gone:
        assert "unknown network" in page.text


@pytest.mark.parametrize(
    "name, content",
    [
        ("metrics.json", b"{"),
        ("metrics.json", b'{"upright": {"accuracy": 3}}'),
        ("metrics.json", b"[" * 100_000),
        ("history.csv", b"epoch,train_loss\n1,2,3\n"),
        ("history.csv", b"\xff\xfe\x00"),
        ("history.csv", b"a,b\n1,2\n"),
        ("sources.csv", b"name,correct\nx,True\n"),
        ("gallery.npz", b"not a zip"),
        ("environment.json", b'{"class_counts": {"train": 3}}'),
        ("environment.json", b"[]"),
        ("config.txt", b"no section"),
        ("rotation_sources.csv", b"name,overlap_index\nx,y\n"),
        ("equivariance_summary.csv", b"model\nx\n"),
    ],
)
def test_what_is_damaged_is_named_and_the_rest_is_shown(few: Path, capsys, name: str, content: bytes) -> None:
    (few / name).write_bytes(content)
    page = check_page(report(few))
    assert "Not everything could be shown" in page.text and "note: " in capsys.readouterr().out
    assert "How to cite" in page.text and ("Training" in page.text) == (name != "history.csv")


@pytest.mark.parametrize("name, key", [("metrics.json", "epoch"), ("environment.json", "kept_epoch")])
def test_numbers_that_are_too_large_for_any_use_are_no_traceback(few: Path, name: str, key: str) -> None:
    text = (few / name).read_text()
    (few / name).write_text(re.sub(rf'"{key}": \d+', f'"{key}": 1{"0" * 400}', text, count=1))
    assert (few / name).read_text() != text
    write_report([few])
    check_page(few / "report.html")
