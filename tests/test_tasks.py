"""Lists of tasks: in this process, and on dask workers of which one is killed."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from radgal.tasks import _unpack_and_run, run_tasks, share_gpus, visible_gpus
from tests.conftest import ROOT
from utils import UserError, atomic_write


@dataclass(frozen=True)
class Task:
    number: int
    folder: Path

    def __str__(self) -> str:
        return f"task {self.number}"


def work(task: Task) -> None:
    """Writes a number; task 3 kills its worker the first time; every start is noted."""
    with (task.folder / f"started_{task.number}").open("a") as stream:
        stream.write("x")
    killed = task.folder / "killed"
    if task.number == 3 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    with atomic_write(task.folder / f"result_{task.number}") as temporary:
        temporary.write_text(str(task.number**2))


def fail(task: Task) -> None:
    if task.number == 2:
        raise UserError("the file is not there")
    (task.folder / f"result_{task.number}").touch()


def results(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("result_*"))


def test_without_workers_tasks_run_here_in_order(tmp_path: Path) -> None:
    done = []
    run_tasks(done.append, [3, 1, 2])
    assert done == [3, 1, 2]


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="dask is an optional requirement")
    tasks = [Task(i, tmp_path) for i in range(8)]
    run_tasks(work, tasks, workers=2)
    assert results(tmp_path) == [f"result_{i}" for i in range(8)]
    assert [(tmp_path / f"result_{i}").read_text() for i in range(8)] == [str(i**2) for i in range(8)]
    assert len((tmp_path / "started_3").read_text()) == 2
    assert sum(len(path.read_text()) for path in tmp_path.glob("started_*")) <= 10  # the killed worker's queue at most


@pytest.mark.slow
def test_failures_are_named_after_the_others_are_done(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="dask is an optional requirement")
    with pytest.raises(UserError, match=r"1 of 4 tasks failed[^\n]*\n  task 2: the file is not there$"):
        run_tasks(fail, [Task(i, tmp_path) for i in range(4)], workers=1)
    assert results(tmp_path) == ["result_0", "result_1", "result_3"]


RUNNING: list[int] = []


def alone(number: int) -> None:
    """Fails if another task is run by this process at the same time."""
    assert RUNNING == []
    RUNNING.append(number)
    time.sleep(0.2)
    RUNNING.remove(number)


def test_tasks_of_a_worker_with_several_threads_take_turns(monkeypatch) -> None:
    """They would share one set of random generators, so that no run were the one that its seed names."""
    monkeypatch.setenv("TQDM_DISABLE", "1")
    run_packed = _unpack_and_run()
    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(run_packed, pickle.dumps((alone, i))) for i in range(3)]
    assert [future.exception() for future in done] == [None] * 3


def sleep(task: Task) -> None:
    """Tells that it has begun, and takes a minute."""
    (task.folder / "begun").touch()
    time.sleep(60)


@pytest.fixture
def scheduler(tmp_path: Path):
    """A dask scheduler and a worker of this machine, as somebody else would start them: (its file, both processes)."""
    pytest.importorskip("distributed", reason="dask is an optional requirement")
    file = tmp_path / "scheduler.json"
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    start += ["--scheduler-file", str(file), "--port", "0", "--no-dashboard", "--host", "127.0.0.1"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), "--no-dashboard"]
    worker += ["--nthreads", "1", "--local-directory", str(tmp_path)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    running = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in (start, worker)
    ]
    try:
        deadline = time.monotonic() + 60
        while not file.is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        yield file, running
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=30)


@pytest.mark.slow
def test_a_scheduler_of_ones_own(scheduler, tmp_path: Path) -> None:
    run_tasks(fail, [Task(i, tmp_path) for i in (0, 1)], scheduler=str(scheduler[0]))
    assert results(tmp_path) == ["result_0", "result_1"]


@pytest.mark.slow
def test_a_scheduler_that_dies_is_said(scheduler, tmp_path: Path) -> None:
    file, (process, _) = scheduler

    def kill_it() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.1)
        process.kill()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(kill_it)
        with pytest.raises(UserError, match="lost the scheduler.*the same command"):
            run_tasks(sleep, [Task(i, tmp_path) for i in range(3)], scheduler=str(file))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "--workers 0"),
        ({"scheduler": "tcp://127.0.0.1:1"}, "no dask scheduler answers there"),
        ({"scheduler": "tcp://127.0.0.1:1", "workers": 2}, "has its own"),
        ({"scheduler": "nowhere.json"}, "no dask scheduler answers there"),
    ],
)
def test_schedulers_that_cannot_be_used(options: dict, message: str, monkeypatch) -> None:
    pytest.importorskip("distributed", reason="dask is an optional requirement")
    monkeypatch.setattr("radgal.tasks.WAIT_SECONDS", 1)
    with pytest.raises(UserError, match=message):
        run_tasks(print, [1], **options)


def test_without_dask_the_pip_line_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match="pip install -r requirements-scale.txt"):
        run_tasks(print, [1], workers=2)
    assert (ROOT / "requirements-scale.txt").is_file()


def test_local_workers_take_turns_with_the_gpus(monkeypatch) -> None:
    pytest.importorskip("distributed", reason="dask is an optional requirement")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-abc")
    assert visible_gpus() == ["2", "GPU-abc"]
    plugin, seen = share_gpus(visible_gpus()), []
    for name in (0, 1, 2):
        plugin.setup(SimpleNamespace(name=name))
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert seen == ["2", "GPU-abc", "2"]
