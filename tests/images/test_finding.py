"""Which images a folder, a pattern or a name stands for, and what is said of the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from radgal.images.finding import find_images
from utils import UserError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found_in(folder: Path, say=lambda text: None) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_images(folder, say)]


def test_images_are_found_in_folders_and_by_patterns_each_once(tmp_path) -> None:
    touch(tmp_path, "b/2.png", "b/1.FITS.gz", "a.npy", "notes.txt", ".hidden/3.png", "b/.4.png", "odd.dat")
    names = [str(path.relative_to(tmp_path)) for path in find_images([tmp_path, f"{tmp_path}/b/*", tmp_path / "a.npy"])]
    assert names == ["a.npy", "b/1.FITS.gz", "b/2.png"]
    assert find_images(str(tmp_path / "odd.dat")) == [tmp_path / "odd.dat"]
    (tmp_path / "none").mkdir()
    for place, said in (("none", "holds no images"), ("absent", "no file or folder"), ("x*.png", "holds no images")):
        with pytest.raises(UserError, match=said):
            find_images([tmp_path / place])


def test_folders_that_are_links_are_followed_each_once(tmp_path) -> None:
    touch(tmp_path, "elsewhere/deep/1.fits", "elsewhere/2.png", "mine/z/3.png")
    try:
        (tmp_path / "mine" / "a").symlink_to(tmp_path / "mine" / "z")
        (tmp_path / "mine" / "linked").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "mine" / "z" / "up").symlink_to(tmp_path / "mine")
        (tmp_path / "elsewhere" / "deep" / "round").symlink_to(tmp_path / "mine" / "linked")
        (tmp_path / "mine" / "4.png").symlink_to(tmp_path / "absent.png")
    except OSError:
        pytest.skip("this system makes no links")
    assert found_in(tmp_path / "mine") == ["4.png", "linked/2.png", "linked/deep/1.fits", "z/3.png"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["1.fits"], []),
        (["1.fits", "2.tif"], ["1 file is no image that is read (1 .tif)"]),
        (["1.fits", "TERMS.txt", "README", "a/notes.md", "list.csv", "catalog.html"], []),
        (
            ["1.png", "a/2.fits.bz2", "a/3.FITS.BZ2", "b/4.TIFF", "without", "TERMS.txt"],
            ["4 files are no images that are read (2 .fits.bz2, 1 .tiff, 1 without a suffix)"],
        ),
        (["1.png", *(f"2.{end}" for end in "abcdefgh")], ["8 files are no images that are read ("]),
    ],
)
def test_files_of_other_kinds_are_counted_aloud(tmp_path, names, said) -> None:
    touch(tmp_path, *names, ".hidden")
    lines = []
    find_images(tmp_path, lines.append)
    assert [line.startswith(f"{tmp_path}: {start}") for line, start in zip(lines, said, strict=True)] == [True] * len(
        said
    )


def test_a_link_to_nothing_is_called_one(tmp_path) -> None:
    (tmp_path / "a.fits").symlink_to(tmp_path / "gone.fits")
    with pytest.raises(UserError, match="a.fits is a link to .*gone.fits, which is not there"):
        find_images(tmp_path / "a.fits")


def test_a_folder_of_other_kinds_only_says_what_they_are(tmp_path) -> None:
    touch(tmp_path, "1.tif", "2.tif", "a.txt")
    said = r"holds no images \(.*\): 3 files are no images that are read \(2 .tif, 1 .txt\)"
    with pytest.raises(UserError, match=said):
        find_images(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root opens every folder")
def test_a_folder_that_cannot_be_opened_is_named(tmp_path) -> None:
    touch(tmp_path, "1.png", "closed/2.png")
    (tmp_path / "closed").chmod(0)
    lines = []
    try:
        assert found_in(tmp_path, lines.append) == ["1.png"]
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert "1 folder cannot be opened" in lines[0]
