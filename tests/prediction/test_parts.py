"""The parts of a catalog: each is known by its rows, or made again; the catalog is put together whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from radgal.prediction import job as predictjob
from radgal.prediction.catalog import read_part, write_part
from radgal.prediction.chunk import open_settings, predict_chunk
from radgal.prediction.job import Job
from tests.prediction.tools import rows_of, save_images
from utils import UserError


@pytest.fixture(params=[".csv", ".parquet"])
def job(request, run_folder, tmp_path: Path) -> Job:
    """A job of 8 images in parts of 4, both made."""
    if request.param == ".parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is an optional requirement")
    images = [str(path) for path in sorted(save_images(tmp_path / "images", 8).glob("*"))]
    settings = open_settings([str(run_folder)], mc_samples=0, device="cpu")
    job = predictjob.plan(settings, images, tmp_path / f"c{request.param}", part_rows=4)
    predictjob.begin(job, resume=False)
    for chunk in job.chunks():
        predict_chunk(job.settings, chunk)
    return job


def parts_of(job: Job) -> list[Path]:
    return [Path(chunk.part) for chunk in job.chunks()]


def take(job: Job, rows: list[int]) -> None:
    path = parts_of(job)[0]
    write_part(path, job.columns, {name: values[rows] for name, values in read_part(path, job.columns).items()})


def swap(job: Job) -> None:
    first, second = parts_of(job)
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)


def rename_a_row(job: Job) -> None:
    path = parts_of(job)[0]
    part = read_part(path, job.columns)
    part["path"] = np.array(["elsewhere", *part["path"][1:].tolist()])
    write_part(path, job.columns, part)


SPOILED: dict[str, Callable[[Job], object]] = {
    "short": lambda job: take(job, [0, 1, 2]),
    "long": lambda job: take(job, [0, 1, 2, 3, 3]),
    "empty": lambda job: take(job, []),
    "turned": lambda job: take(job, [1, 0, 2, 3]),
    "swapped": swap,
    "of another folder": rename_a_row,
    "cut off": lambda job: parts_of(job)[0].write_bytes(parts_of(job)[0].read_bytes()[:100]),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_part_of_other_rows_is_made_again_and_no_catalog_is_made_of_it(how: str, job: Job) -> None:
    said = []
    SPOILED[how](job)
    with pytest.raises(UserError, match="does not hold the 4 rows from s0000 to s0003|is damaged"):
        predictjob.assemble(job)
    assert not job.out.exists()
    assert predictjob.begin(job, resume=True, say=said.append)
    assert len(said) == (2 if how == "swapped" else 1) and all(text.startswith("made again: ") for text in said)
    predictjob.run_job(job, resume=True, say=said.append)
    assert not job.folder.exists()
    if job.out.suffix == ".csv":
        assert [row["id"] for row in rows_of(job.out)] == [f"s{i:04d}" for i in range(8)]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("job", [".csv"], indirect=True)
@pytest.mark.parametrize("count", range(1, 15))
def test_killed_while_a_catalog_is_put_together_it_ends_as_if_never_touched(count: int, job: Job, monkeypatch) -> None:
    """Whatever step it was killed after: the catalog that was there is kept once, the new one is there once."""
    job.out.write_text("the catalog of before")
    job.record.write_text("{}")
    left = [count]

    def killing(function: Callable) -> Callable:
        def step(*args, **options):
            result = function(*args, **options)
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return result

        return step

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killing(os.replace))
        patch.setattr(Path, "unlink", killing(Path.unlink))
        try:
            predictjob.assemble(job, say=lambda *_: None)
        except Killed:
            pass
        else:
            assert left[0] > 0
    predictjob.run_job(job, resume=True, say=lambda *_: None)
    kept = job.out.with_name(f"c.1{job.out.suffix}")
    names = {job.out.name, job.record.name, kept.name, f"{kept.name}.json"}
    assert {path.name for path in job.out.parent.iterdir() if path.name.startswith("c.")} == names
    assert kept.read_text() == "the catalog of before" and kept.with_name(f"{kept.name}.json").read_text() == "{}"
    assert job.out.stat().st_size > 100


def test_a_folder_that_a_killed_process_left_empty_is_no_obstacle(job: Job) -> None:
    for path in [*parts_of(job), job.folder / "request.json"]:
        path.unlink()
    (job.folder / ".request.json.x.part").touch()
    assert predictjob.begin(job, resume=False)
