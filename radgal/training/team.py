"""Several processes, started by torchrun, that train one network: each takes its share of every batch.

The result is that of one process up to rounding: the batches, poses and dropout masks are those of one process,
gradients are the mean over the whole batch however it is shared out, and sums run over all images. Files and the
screen are rank 0's alone.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from radgal.training.signals import ignore_sigterm
from utils import UserError, pick_device, reason_of

T = TypeVar("T")
TIMEOUT = timedelta(minutes=30)
"""How long to wait for the others: longer than the first one's download; a dead process is noticed at once."""


class Team:
    """The processes that share the work; made without arguments, this process alone."""

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0):
        self.rank, self.size, self.local_rank = rank, size, local_rank
        self.n_batch, self.own = 0, slice(None)
        self._wrapped: nn.Module | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and to the screen."""
        return self.rank == 0

    def pick_device(self, name: str) -> torch.device:
        """Returns this process's device: a GPU of its own if there are any.

        Raises:
            UserError: if the processes of this machine cannot each have such a device.
        """
        if self.size == 1:
            return pick_device(name)
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name not in ("cpu", "cuda"):
            raise UserError(f"[training] device: '{name}' is one device; for several processes use 'auto' or 'cpu'")
        return pick_device("cpu" if name == "cpu" else f"cuda:{self.local_rank}")

    def share_model(self, model: nn.Module, *, compiled: bool = False) -> None:
        """Makes ``forward`` train ``model`` on all processes: equal weights now, averaged gradients from now on.

        Raises:
            UserError: for what does not work, or not as in one process, when shared.
        """
        if self.size == 1:
            return
        if compiled:
            raise UserError("[training] compile: True is for one process; set compile: False, or leave torchrun out")
        device = next(model.parameters()).device
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
            if device.type != "cuda":
                raise UserError(
                    f"{type(model).__name__} has batch normalization, which PyTorch can share between GPUs only; "
                    "train it in one process, without torchrun"
                )
            nn.SyncBatchNorm.convert_sync_batchnorm(model)  # in place
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.modules.dropout._DropoutNd):
                    setattr(parent, name, SharedDropout(child, self))
        self._wrapped = nn.parallel.DistributedDataParallel(
            model, device_ids=[device] if device.type == "cuda" else None
        )

    def forward(self, model: nn.Module, x: Tensor) -> Tensor:
        """Returns the logits of a training batch's own share."""
        return model(x) if self._wrapped is None else self._wrapped(x)

    def release_model(self) -> None:
        """Lets go of what ``share_model`` made: it holds threads of the group, which must end before the process."""
        self._wrapped = None
        gc.collect()

    def share(self, n_batch: int) -> tuple[slice, float]:
        """Returns this process's rows of a batch of ``n_batch`` images, and the weight of their mean loss.

        With the weights, the mean of the processes' losses is the mean over the batch. Every row is some process's,
        and only one's; a process that gets none computes the first one's with weight 0, so as to keep in step.
        """
        if self.size == 1:
            return slice(None), 1.0
        start, end = (n_batch * rank // self.size for rank in (self.rank, self.rank + 1))
        self.n_batch, self.own = n_batch, slice(start, end) if end > start else slice(0, 1)
        return self.own, self.size * (end - start) / n_batch

    def sum(self, values: Tensor) -> Tensor:
        """Returns the sums over all processes of a tensor on the CPU."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Returns when all processes have come here."""
        self.sum(torch.zeros(1))

    def any(self, flag: bool) -> bool:
        """Returns whether the flag is set in any process."""
        return flag if self.size == 1 else bool(self.sum(torch.tensor(int(flag))))

    def from_first(self, make: Callable[[], T]) -> T:
        """Returns on every process what ``make`` returns on the first; a UserError there is raised on all."""
        if self.size == 1:
            return make()
        said: list = [None, None]
        if self.is_first:
            try:
                said = [make(), None]
            except UserError as error:
                said = [None, str(error)]
        distributed.broadcast_object_list(said, src=0, device=torch.device("cpu"))
        if said[1] is not None:
            raise UserError(said[1])
        return said[0]

    def first_goes_first(self, make: Callable[[], T]) -> T:
        """Returns what ``make`` returns in each process; one process, then one per machine, then the rest.

        So what the first one downloads is there for all, on shared and on separate disks.
        """
        turn = 0 if self.is_first else 1 if self.local_rank == 0 else 2
        result = None
        for now in range(3 if self.size > 1 else 1):
            if now == turn:
                result = make()
            self.wait()
        return result


class SharedDropout(nn.Module):
    """Dropout whose mask is drawn for the whole batch, the same in every process; each applies its own rows.

    So every image has a mask of its own, and the one that it has in a run of one process.
    """

    def __init__(self, inner: nn.Module, team: Team):
        super().__init__()
        self.inner, self._team = inner, team

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        whole = self.inner(x.new_ones(self._team.n_batch, *x.shape[1:]))
        return x * whole[self._team.own]


@contextmanager
def join() -> Iterator[Team]:
    """Yields the team that torchrun has started this process in, or this process alone.

    Raises:
        UserError: if another process of the team died, or cannot be reached.
    """
    size = int(os.environ.get("WORLD_SIZE", 1)) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    if size == 1:
        yield Team()
        return
    team = Team(int(os.environ["RANK"]), size, int(os.environ["LOCAL_RANK"]))
    backend = "gloo"
    if torch.cuda.is_available() and team.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(team.local_rank)
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield team
        team.wait()
    except RuntimeError as error:
        if not _is_about_others(error):
            raise
        ignore_sigterm()  # torchrun's, which must not hide this message
        reason = reason_of(error)
        raise UserError(
            f"process {team.rank} of {size} lost the others, since one of them ended ({reason}); its own message "
            "says why; every finished epoch is on disk, and the same torchrun line with --resume goes on"
        ) from None
    finally:
        team.release_model()
        with suppress(RuntimeError):
            distributed.destroy_process_group()


def _is_about_others(error: RuntimeError) -> bool:
    kinds = tuple(
        getattr(distributed, name) for name in ("DistError", "DistBackendError") if hasattr(distributed, name)
    )
    return isinstance(error, kinds) or any(word in str(error).lower() for word in ("gloo", "nccl", "connection"))
