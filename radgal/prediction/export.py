"""Trained networks as plain convolutional ones in a file of their own, with what is done to an image before.

Two formats. TorchScript, because a file of any torch from 2.4 to 2.15 opens in any other of them; the files of its
successor ``torch.export`` do not (2.4 and 2.15 refuse each other's). ONNX by torch's exporter of traced graphs, which
needs the package onnx only.

Legend: N images, K classes, S pixels along each side of an image as the data set has it.
"""

from __future__ import annotations

import inspect
import io
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgal.config.config import Config
from radgal.data.firstgalaxy import FIRSTGalaxyData
from radgal.data.splits import load_training_data
from radgal.images.preparation import Preparation, crop_and_pad
from radgal.layers.plain import to_plain
from radgal.progress import progress
from radgal.runs.checkpoint import TrainedRun
from utils import UserError, atomic_write

OPSET = 17
TOLERANCE = 1e-4
BATCHES = (1, 2, 5, 32)
"""The sizes of the batches that an export is checked with: forty images."""

Predict = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class PlainNet(nn.Module):
    """A trained network made of plain layers, with the preparation of its input.

    Args:
        model: the network; it is not changed.
        how: its images' preparation; S is its ``native_size``.
    """

    def __init__(self, model: nn.Module, how: Preparation):
        super().__init__()
        self.native_size, self.imsize, self.pad, self.downsample = how.native_size, how.imsize, how.pad, how.downsample
        self.start = round((self.native_size - self.imsize) / 2)
        self.mean, self.std = how.mean, how.std
        self.net = to_plain(model).cpu().float().eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns logits and class probabilities, each (N, K) float32.

        Args:
            images: (N, S, S) or (N, 1, S, S), any numeric type, 0-255.
        """
        x = images.reshape(images.shape[0], 1, self.native_size, self.native_size).to(torch.float32)
        end = self.start + self.imsize
        x = x[:, :, self.start : end, self.start : end] * (1.0 / (255.0 * self.std)) - self.mean / self.std
        if self.pad:
            x = F.pad(x, (0, self.pad, 0, self.pad), value=-self.mean / self.std)
        if self.downsample > 1:
            x = F.avg_pool2d(x, self.downsample)
        logits = self.net(x)
        return logits, logits.softmax(1)


def from_run(run: TrainedRun) -> PlainNet:
    """Returns the plain network of a trained run, for images of its data set's size."""
    return PlainNet(run.model, run.preparation)


def describe(run: TrainedRun, plain: PlainNet) -> dict[str, Any]:
    """Returns what is stored in the file besides the network: classes, input, and where it comes from."""
    origin = {key: run.checkpoint.get(key) for key in ("dataset", "version", "checksum")}
    averaged = f"{plain.downsample} x {plain.downsample} pixels averaged, " if plain.downsample > 1 else ""
    return {
        "classes": list(run.classes),
        "input": f"images: pixels from 0 to 255, shape (N, 1, {plain.native_size}, {plain.native_size})",
        "output": f"logits and probs, shape (N, {len(run.classes)}), of {', '.join(run.classes)}",
        "preprocessing": f"in the network: central {plain.imsize} pixels, {plain.pad} of padding, "
        f"{averaged}(pixel / 255 - {plain.mean}) / {plain.std}",
        "native_size": plain.native_size,
        "model": run.config.model.base,
        "nrot": run.config.model.nrot,
        "run": run.config.name,
        "epoch": run.epoch,
        "seed": run.seed,
        **origin,
    }


def export(run: TrainedRun, path: Path, form: str) -> dict[str, Any]:
    """Writes the plain network of a run, after the file has given the run's own predictions on real images.

    Args:
        run: on the CPU.
        path: the file; an earlier one is replaced.
        form: one of ``FORMATS``.

    Returns:
        What :func:`describe` says, with the ``difference`` found, and how many images (``n_images``) of which data
        (``checked_on``) it was found on.

    Raises:
        UserError: if the file would differ by more than ``TOLERANCE``, or what is needed is not there; then nothing
            is written.
    """
    write, load = FORMATS[form]
    plain = from_run(run)
    about = describe(run, plain)
    with atomic_write(path) as temporary:
        write(plain, about, temporary)
        images, whose = real_images(run.config, plain.native_size)
        difference = largest_difference(run, images, load(temporary))
        if not difference <= TOLERANCE:
            raise UserError(
                f"{path} is not kept: on {len(images)} real images it differs by {difference:.1e} from the run, and "
                f"{TOLERANCE:.0e} is allowed; this is a fault of the program or of the run's weights"
            )
    return about | {"difference": difference, "n_images": len(images), "checked_on": whose}


def largest_difference(run: TrainedRun, images: Tensor, predict: Predict) -> float:
    """Returns the largest difference of probabilities, and of logits relative to the largest logit (at least 1).

    Args:
        run: the original.
        images: uint8 (N, 1, S, S).
        predict: what was read back from the file; it gets the images in batches of ``BATCHES``.
    """
    worst = 0.0
    for batch in progress(images.split(_batch_sizes(len(images))), "checking", quiet=False):
        with torch.no_grad():
            logits = run.model(run.to_input(run.preparation.crop(batch[:, 0])))
        found_logits, found_probs = map(torch.from_numpy, predict(batch.numpy()))
        scale = max(1.0, logits.abs().max().item())
        for delta in ((found_logits - logits).abs() / scale, (found_probs - logits.softmax(1)).abs()):
            worst = max(worst, delta.max().item() if delta.isfinite().all() else float("inf"))
    return worst


def _batch_sizes(n_images: int) -> list[int]:
    sizes = []
    for size in BATCHES:
        if n_images:
            sizes.append(min(size, n_images))
            n_images -= sizes[-1]
    return sizes


def real_images(config: Config, native_size: int) -> tuple[Tensor, str]:
    """Returns sum(BATCHES) real images, uint8 (N, 1, S, S), and whose they are, in words.

    They are of the run's validation part (training part, where it has none), or else of FIRSTGalaxyData.

    Raises:
        UserError: if neither is on this machine; nothing is downloaded.
    """
    content = config.to_dict()
    content["data"] |= {"pad": 0, "download": False}
    content["training"] |= {"imsize": native_size}
    try:
        data = load_training_data(Config.from_dict(content))
        images = (data.val or data.train).images
        whose = f"{'validation' if data.val else 'training'} images of {config.data.dataset}"
    except UserError as of_run:
        try:
            images = FIRSTGalaxyData(config.data.datadir).data
        except UserError:
            raise UserError(
                "an export is checked on real images, and there are none here: name the folder of the run's data "
                f"with --datadir, or pip install firstgalaxydata. {of_run}"
            ) from None
        whose = f"FIRSTGalaxyData, because the images of {config.data.dataset} are not at hand"
        images = crop_and_pad(images, min(native_size, images.shape[-1]), max(0, native_size - images.shape[-1]))
    chosen = torch.linspace(0, len(images) - 1, min(sum(BATCHES), len(images))).round().long()
    return images[chosen], whose


def write_torch(plain: PlainNet, about: dict[str, Any], path: Path) -> None:
    """Writes TorchScript, with ``about`` as the extra file info.json."""
    with _quiet():
        traced = torch.jit.trace(plain, _example(plain), check_trace=False)
        torch.jit.save(traced, str(path), _extra_files={"info.json": json.dumps(about)})


def load_torch(path: Path) -> Predict:
    """Returns the predictions of a file of :func:`write_torch`."""
    with _quiet():
        net = torch.jit.load(str(path), map_location="cpu")

    def predict(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            logits, probs = net(torch.from_numpy(images))
        return logits.numpy(), probs.numpy()

    return predict


def write_onnx(plain: PlainNet, about: dict[str, Any], path: Path) -> None:
    """Writes ONNX of opset ``OPSET``, with ``about`` as its metadata: text as it is, all else as JSON.

    Its input is float32 only, because a graph's input has one type.
    """
    onnx, _ = _import_onnx()
    buffer, names = io.BytesIO(), ("images", "logits", "probs")
    with _quiet():
        torch.onnx.export(
            plain,
            (_example(plain),),
            buffer,
            input_names=list(names[:1]),
            output_names=list(names[1:]),
            dynamic_axes={name: {0: "N"} for name in names},
            opset_version=OPSET,
            # torch 2.4 has this exporter only; later ones would otherwise ask for onnxscript as well.
            **({"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}),
        )
    model = onnx.load_from_string(buffer.getvalue())
    model.doc_string = f"{about['model']} for {', '.join(about['classes'])}; {about['input']}"
    onnx.helper.set_model_props(
        model, {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
    )
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def load_onnx(path: Path) -> Predict:
    """Returns the predictions of a file of :func:`write_onnx`, by onnxruntime on the CPU."""
    _, onnxruntime = _import_onnx()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def predict(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return tuple(session.run(["logits", "probs"], {"images": images.astype(np.float32)}))

    return predict


FORMATS = {"torch": (write_torch, load_torch), "onnx": (write_onnx, load_onnx)}


def _example(plain: PlainNet) -> Tensor:
    return torch.zeros(2, 1, plain.native_size, plain.native_size)


def _import_onnx():
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}: pip install -r requirements-export.txt") from None
    return onnx, onnxruntime


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences that both exporters are to be replaced, and that the checks of an image's size are not traced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
