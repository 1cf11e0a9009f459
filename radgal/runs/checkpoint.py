"""Checkpoints that rebuild their own network: saved atomically, read without running any code in them."""

from __future__ import annotations

import io
import logging
import os
import pickle
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch

import models
from radgal.classifier import Classifier
from radgal.config.config import Config
from radgal.data.datasets import preparation_of
from radgal.data.samesource import Sources
from radgal.data.splits import TrainingData
from radgal.files.pickles import open_archive
from radgal.pretrained import registry
from radgal.runs.files import RunFile
from radgal.training.learner import Learner
from radgal.training.loop import Progress
from radgal.training.precision import Precision
from utils import UserError, atomic_write, float32_in_full, random_states, reason_of

log = logging.getLogger(__name__)

FORMAT = "e2cnn-radgal-1"
LARGEST_TEMPERATURE = 100.0  # of the softmax; the smallest is its inverse
REQUIRED = ("config", "classes", "mean", "std", "model", "epoch", "seed", "history")


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedRun(Classifier):
    """A classifier read back from a checkpoint, with where it comes from."""

    config: Config
    epoch: int
    seed: int
    history: list[dict]
    path: Path  # of the checkpoint
    checkpoint: dict[str, Any]  # its content

    @property
    def temperature(self) -> float | None:
        """What its logits are divided by to be calibrated; None if it was never fitted."""
        return self.checkpoint.get("temperature")

    @property
    def calibration(self) -> dict[str, Any] | None:
        """What its temperature is from ("on"), its interval, and the scores of conformal sets; None: an older run."""
        return self.checkpoint.get("calibration")

    @property
    def keeps_together(self) -> bool:
        """Whether twins were kept together where its sources were divided; older runs did not."""
        return bool(self.checkpoint.get("together", False))

    @property
    def folder(self) -> Path:
        """The run's folder; of a network that comes along, the one in runs/ for what the commands make of it."""
        name = registry.name_of(self.path)
        return Path("runs", name) if name else self.path.parent


def pack(
    learner: Learner, progress: Progress, config: Config, data: TrainingData, precision: Precision
) -> dict[str, Any]:
    """Returns everything a run needs to be used or gone on with, in types that ``weights_only`` loading reads."""
    return {
        "format": FORMAT,
        "finished_by": RunFile.FINISHED.file,  # what says that the run is finished; older versions left nothing
        "epoch": progress.epoch,
        "best_epoch": progress.best_epoch,
        "best_score": list(progress.best_score),
        "history": progress.history,
        "started_from": progress.started_from,
        "config": config.to_dict(),
        "seed": config.training.seed,
        "classes": list(data.classes),
        "mean": data.preparation.mean,
        "std": data.preparation.std,
        "dataset": data.dataset,
        "version": data.version,
        "checksum": data.checksum,
        "sources": data.sources.pack(),
        "together": data.together,
        "inherited": data.inherited.pack(),
        "inherited_unknown": list(data.inherited_unknown),
        **learner.state(),
        "random": random_states(data.train.images.device),
        "precision": precision.name,
        "scaler": None if precision.scaler is None else precision.scaler.state_dict(),
    }


def save(path: Path, content: Any) -> None:
    """Writes ``content`` with torch.save; a file that was there stays whole if this is cut off."""
    whole = io.BytesIO()  # since torch, writing to a full disk itself, does not say what is wrong
    torch.save(content, whole)
    with atomic_write(path) as temporary:
        temporary.write_bytes(whole.getbuffer())


def read(path: Path) -> dict[str, Any]:
    """Returns a checkpoint's content, on the CPU.

    Raises:
        UserError: if it is not there, is damaged, holds more than plain data, or is not from this program.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a device or a pipe might never end
        raise UserError(f"{path} is not a file")
    try:
        content = torch.load(open_archive(path), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}") from None
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is refused: it is damaged or holds more than plain data ({reason_of(error)})"
        ) from None
    except Exception as error:  # whatever else a hostile or cut-off file makes the reader raise
        raise UserError(f"{path} cannot be read as a checkpoint: {reason_of(error)}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        hint = "it holds no record of its config"
        if isinstance(content, dict) and all(isinstance(v, torch.Tensor) for v in content.values()):
            hint = "it is a plain state dict, which does not say what network it is for"
        raise UserError(
            f"{path} is not a checkpoint of this program: {hint}; give the run's folder, its best.pt or its last.pt"
        )
    if missing := [key for key in REQUIRED if key not in content]:
        raise UserError(f"{path} lacks {', '.join(missing)}; train again, or use another checkpoint of the run")
    if mistake := _find_mistake(content):
        raise UserError(f"{path} is refused: {mistake}, so this program did not write it")
    return content


def _find_mistake(content: dict[str, Any]) -> str | None:
    """Returns what is not as this program writes it among the parts that are used before they are compared."""
    classes, history = content["classes"], content["history"]
    numbers = [content["mean"], content["std"]]
    counts = [content["epoch"], content["seed"]]
    if not isinstance(classes, list) or not 2 <= len(classes) <= 10_000:
        return "its classes are no list of 2 to 10,000"
    if not all(isinstance(name, str) and name.isprintable() and 0 < len(name) <= 400 for name in classes):
        return "the name of a class is no short text"
    if not all(type(number) in (int, float) and isfinite(number) for number in numbers) or numbers[1] <= 0:
        return "its mean and std are no numbers to normalize with"
    if not all(type(count) is int and 0 <= count < 2**63 for count in counts):
        return "its epoch and seed are no whole numbers"
    if not isinstance(history, list) or not all(isinstance(row, dict) for row in history):
        return "its history is no list of epochs"
    weights = content["model"]
    if not isinstance(weights, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()
    ):
        return "its weights are no tensors"
    temperature = content.get("temperature", 1.0)
    if type(temperature) is not float or not 1 / LARGEST_TEMPERATURE <= temperature <= LARGEST_TEMPERATURE:
        return "its temperature is no number from 0.01 to 100"
    if "calibration" in content and not _is_calibration(content["calibration"], len(classes)):
        return "its calibration is no list of scores for each class"
    try:
        for key in ("sources", "inherited"):
            Sources.unpack(content.get(key, Sources().pack()))
    except ValueError as error:
        return str(error)
    unknown = content.get("inherited_unknown", [])
    if not isinstance(unknown, list) or not all(isinstance(text, str) for text in unknown):
        return "what it does not know of its sources is no list of texts"
    return None


def _is_calibration(found: Any, n_classes: int) -> bool:
    if not isinstance(found, dict) or not isinstance(found.get("on"), str) or not found["on"].isprintable():
        return False
    ends, scores = [found.get("low"), found.get("high")], found.get("scores")
    if not isinstance(scores, list) or len(scores) != n_classes or not all(isinstance(one, list) for one in scores):
        return False
    return all(type(x) is float and isfinite(x) for one in (ends, *scores) for x in one)


def holds_weights(path: Path, weights: dict[str, torch.Tensor]) -> bool:
    """Returns whether a file is a plain state dict with these very numbers; any other file is not."""
    try:
        content = torch.load(open_archive(path), map_location="cpu", weights_only=True)
        return content.keys() == weights.keys() and all(
            content[key].shape == value.shape and torch.equal(_bytes_of(content[key]), _bytes_of(value))
            for key, value in weights.items()
        )
    except Exception:  # whatever a file that is none makes the reader raise
        return False


def _bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def find(run: str | Path) -> Path:
    """Returns the checkpoint meant by a run folder (its best.pt), a checkpoint file, or a name.

    A name is that of a network that comes along. A file or folder of that name here goes before it, so that a path
    means what it meant before a network of that name came along, and says so aloud.

    Raises:
        UserError: if there is none of these; the text has the nearest names.
    """
    name, run = os.fspath(run), Path(run).expanduser()
    if run.exists() and name in registry.names():
        log.warning("%s is taken from here, not the network of that name that comes along", run.absolute())
    if run.is_dir():
        if (best := RunFile.BEST.at(run)).is_file():
            return best
        there = ", ".join(sorted(p.name for p in run.iterdir())[:8]) or "nothing"
        raise UserError(f"{run} holds no best.pt, so it is not the folder of a training run; it holds {there}")
    if run.exists():
        if not run.is_file():  # a device or a pipe might never end
            raise UserError(f"{run} is not a file")
        return run
    if name in registry.names():
        return registry.file_of(name)
    raise registry.no_such_run(run)


@float32_in_full()
def load_run(run: str | Path, device: torch.device) -> TrainedRun:
    """Returns the network of a run folder or checkpoint, ready to use.

    Args:
        run: run folder (the best epoch is taken), checkpoint file, or name of a network that comes along.
        device: where the network goes.

    Raises:
        UserError: if it cannot be read, or its weights do not fit the network that its config describes.
    """
    path = find(run)
    content = read(path)
    config = Config.from_dict(content["config"])
    classes = tuple(map(str, content["classes"]))
    preparation = preparation_of(config, (float(content["mean"]), float(content["std"])))
    model = models.build_from_config(config, classes, preparation)
    try:
        model.load_state_dict(content["model"])
    except (RuntimeError, KeyError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: the weights do not fit the network its config describes: {reason}") from None
    return TrainedRun(
        model=model.to(device).eval(),
        classes=classes,
        preparation=preparation,
        device=device,
        batch_size=config.training.batch_size,
        quiet=config.model.quiet,
        config=config,
        epoch=int(content["epoch"]),
        seed=int(content["seed"]),
        history=list(content["history"]),
        path=path,
        checkpoint=content,
    )
