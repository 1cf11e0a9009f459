"""A list of independent tasks, run one after the other here or, with dask.distributed, by many workers.

A task must be idempotent: whoever runs it finds finished results and leaves them alone, and results appear whole or
not at all. A worker that dies then loses nothing but the task it had, which is tried again elsewhere.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

from radgal.progress import bar, working
from utils import UserError

N_RETRIES = 3  # of a task whose worker died
WAIT_SECONDS = 60  # for a scheduler to answer
ONE_AT_A_TIME = Lock()  # the threads of one worker share its random generators, and thereby would spoil their results


def run_tasks(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    unit: str = "task",
    quiet: bool = False,
) -> None:
    """Runs ``function(task)`` for every task.

    Args:
        function: of a module, so that workers can import it, with results in files.
        tasks: each picklable, and named by ``str(task)``.
        workers: how many processes to start on this machine; each gets its share of the cores and, where there are
            GPUs, one of them. None, without a ``scheduler``: everything in this process, one after the other.
        scheduler: 'local' (the same as ``workers``), the address of a dask scheduler (tcp://host:port), or its
            scheduler file; its workers must see the same files under the same paths as this process.
        unit: what the progress bar counts.
        quiet: no progress bar over the tasks, which is shown where there are workers.

    Raises:
        UserError: if dask is asked for and not installed, no scheduler answers, or tasks failed: the others are
            finished first, and all failures are named.
    """
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: at least one is needed")
    if workers is None and scheduler is None:
        for task in tasks:
            function(task)
        return
    failures: dict[str, BaseException] = {}
    with _client(workers, scheduler) as client, bar(len(tasks), f"{unit}s done", quiet) as shown:
        packed = [pickle.dumps((function, task)) for task in tasks]
        futures = client.map(_unpack_and_run(), packed, pure=False)
        names = {future.key: str(task) for future, task in zip(futures, tasks, strict=True)}
        for n_done, future in enumerate(_as_completed(futures)):
            if future.status == "error":
                failures[names[future.key]] = future.exception()
            elif future.status != "finished":
                raise UserError(
                    f"lost the scheduler after {n_done} of {len(tasks)} tasks; start it and its workers again, and the "
                    "same command goes on with the others"
                )
            future.release()
            shown.update()
    if failures:
        raise UserError(_describe(failures, len(tasks)))


def _as_completed(futures: Iterable) -> Iterable:
    from distributed import as_completed

    return as_completed(futures, raise_errors=False)


def _describe(failures: dict[str, BaseException], n_tasks: int) -> str:
    from distributed import KilledWorker

    lines = [f"{len(failures)} of {n_tasks} tasks failed; the same command tries only those again:"]
    for name, error in failures.items():
        if isinstance(error, KilledWorker):
            why = f"{N_RETRIES + 1} workers died on it (out of memory?)"
        else:
            why = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        lines.append(f"  {name}: {why}")
    return "\n".join(lines)


@contextmanager
def _client(workers: int | None, scheduler: str | None):
    """Yields a client of the cluster asked for, whose workers can import this program; closes what it started."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise UserError(
            "--workers and --scheduler need dask: pip install -r requirements-scale.txt (without them everything "
            "runs in this process)"
        ) from None
    dask.config.set({"distributed.scheduler.allowed-failures": N_RETRIES})
    if scheduler in (None, "local"):
        n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        n_workers = workers or n_cores
        threads = str(max(1, n_cores // n_workers))
        with ExitStack() as stack:
            with working("starting the workers"):
                cluster = LocalCluster(
                    n_workers=n_workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    memory_limit=0,  # a worker near some share of the memory must not be paused or killed
                    env={"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
                )
                client = stack.enter_context(Client(stack.enter_context(cluster)))
                if gpus := visible_gpus():
                    client.register_plugin(share_gpus(gpus))
            yield client
        return
    if workers is not None:
        raise UserError("--workers is for workers started here; a --scheduler elsewhere has its own")
    try:
        where = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": scheduler}
        client = Client(timeout=WAIT_SECONDS, **where)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(
            f"--scheduler {scheduler}: no dask scheduler answers there ({error}); give 'local', tcp://host:port or a "
            "scheduler file that exists"
        ) from None
    with client:
        yield client


def _unpack_and_run() -> Callable[[bytes], Any]:
    """Returns a function that runs a pickled task on any worker that sees this program's folder.

    Defined in here it travels by value: neither the scheduler nor the workers need to import this program before.
    """
    folder, cwd = str(Path(__file__).resolve().parent.parent), os.getcwd()

    def unpack_and_run(packed: bytes) -> Any:
        for path in (folder, cwd):
            if not os.path.isdir(path):
                raise RuntimeError(f"{path} is not there: the workers must share the file system with who asks")
        if folder not in sys.path:
            sys.path.insert(0, folder)
        os.chdir(cwd)
        os.environ["TQDM_DISABLE"] = "1"  # one bar for the whole list, where it was asked for
        return import_module("radgal.tasks").run_packed(packed)

    return unpack_and_run


def run_packed(packed: bytes) -> Any:
    """Returns what a pickled (function, task) returns, once no other task is running in this process."""
    with ONE_AT_A_TIME:
        function, task = pickle.loads(packed)
        return function(task)


def share_gpus(visible: Sequence[str]):
    """Returns a plugin that lets each local worker see one GPU, in turn. Defined in here, it travels by value.

    The choice is by environment, before the worker loads CUDA: a device set from one thread would not hold in others.

    Args:
        visible: the GPUs to share, as CUDA_VISIBLE_DEVICES names them.
    """
    from distributed import WorkerPlugin

    class ShareGpus(WorkerPlugin):
        name = "radgal-share-gpus"

        def setup(self, worker):
            os.environ["CUDA_VISIBLE_DEVICES"] = visible[int(worker.name) % len(visible)]

    return ShareGpus()


def visible_gpus() -> list[str]:
    """Returns the GPUs of this machine that may be used, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named or [str(i) for i in range(torch.cuda.device_count())]
