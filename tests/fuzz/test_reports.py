"""Run folders from strangers: whatever their files hold, the page is made and is sound, or there is a UserError."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radgal.report.page import write_report
from radgal.report.savedrun import read_run
from tests.fuzz.tokens import INI, NPY, NUMBERS
from tests.fuzz.tools import DAMAGE, cases_from, damage, derandomized, memory_limit, time_limit
from tests.report.tools import check_page, rewrite, with_few_images

TEXTS = (b"{", b"}", b"[", b"]", b":", b",", b'"', b"\n", b"null", b"true", b"[" * 900, b'{"a":' * 900, b"\xff", b"x")
TEXTS += (b"1e300", b"-1e300", b"9" * 400, b"1e15", b"False", b"True", b"FRI", b"epoch", b"angle_deg", b"0.5")
TEXTS += (b"<script>", b"'><img src=x onerror=alert(1)>", b"\xe2\x80\xae", b"</style>", b"{{ 7 * 7 }}")


@pytest.fixture
def copy(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a run's saved files, to be damaged."""
    left_out = shutil.ignore_patterns("*.pt", "rotation_figures")
    return with_few_images(Path(shutil.copytree(finished_run, tmp_path / "run", ignore=left_out)))


@cases_from(15)
def test_damaged_run_folders(n_cases: int, copy: Path) -> None:
    names = sorted(path.name for path in copy.iterdir() if path.suffix in (".csv", ".json", ".npz", ".txt"))
    assert len(names) >= 9
    whole = {name: (copy / name).read_bytes() for name in names}
    n_told = 0

    @derandomized(n_cases)
    @given(st.sampled_from(names), st.lists(DAMAGE, min_size=1, max_size=4))
    def check(name: str, steps: list[tuple]) -> None:
        nonlocal n_told
        (copy / name).write_bytes(damage(whole[name], steps, TEXTS + NUMBERS + INI + NPY))
        with time_limit():
            n_told += bool(write_report([copy])[1])
            check_page(copy / "report.html")
        (copy / name).write_bytes(whole[name])

    before = sorted(path.name for path in copy.rglob("*"))
    assert write_report([copy])[1] == []
    with memory_limit():
        check()
    assert n_told > n_cases // 20
    assert sorted(path.name for path in copy.rglob("*")) == before


def test_a_gallery_that_is_damaged_anywhere_is_no_traceback(copy: Path) -> None:
    whole = (copy / "gallery.npz").read_bytes()
    n_told = 0
    for place in [*range(0, len(whole), 1 + len(whole) // 100), *range(len(whole) - 250, len(whole), 4)]:
        (copy / "gallery.npz").write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        n_told += bool(read_run(copy).problems)
    assert n_told > 50


def test_a_gallery_that_asks_for_more_than_it_holds_is_told(copy: Path) -> None:
    with zipfile.ZipFile(copy / "gallery.npz") as archive:
        names = archive.read("names.npy")
    for shape in ((10**13, 1, 1), (2, 0, 0), (2, 0, 9)):
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
        with zipfile.ZipFile(copy / "gallery.npz", "w") as archive:
            archive.writestr("names.npy", names)
            archive.writestr("images.npy", head.getvalue())
        with memory_limit():
            assert [problem for problem in write_report([copy])[1] if "gallery.npz cannot be read" in problem]
        check_page(copy / "report.html")


@pytest.mark.parametrize("name", ["equivariance.csv", "rotation_poses.csv"])
def test_angles_that_no_axis_has_room_for_are_no_hang(copy: Path, name: str) -> None:
    rewrite(copy / name, lambda rows: [*rows[:-1], rows[-1] | {"angle_deg": "1e15", "flip": "False"}])
    with time_limit(), memory_limit():
        write_report([copy])
    check_page(copy / "report.html")
