"""Nothing is lost of a prediction that breaks, and nothing done twice, by one process or by workers."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import main
from radgal.prediction import chunk
from radgal.prediction import job as predictjob
from tests.conftest import ROOT
from tests.prediction.tools import go, make_run, rows_of, save_images
from utils import UserError


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
    state = os.stat(images / "s0001.npy")
    (images / "s0001.npy").write_bytes(content)
    request = json.loads((tmp_path / "c.csv.parts" / "request.json").read_text())
    os.utime(images / "s0001.npy", ns=(state.st_atime_ns, state.st_mtime_ns))
    monkeypatch.setattr(predictjob, "_checksum", lambda sources: request["images_checksum"])
    assert len(go(run_folder, *options, "--resume", out=out)) == 9


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
