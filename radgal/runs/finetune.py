"""Going on from a trained network with other images: whose weights are taken, what stays frozen, what to beware of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from radgal.config.config import Config
from radgal.data.splits import TrainingData
from radgal.pretrained import registry
from radgal.runs import checkpoint
from radgal.runs.learned import learned_from
from radgal.training.loop import Progress
from utils import UserError, sha256_of


def begin(model: nn.Module, config: Config, data: TrainingData) -> tuple[dict[str, Any], str, TrainingData]:
    """Gives ``model`` the weights of the run that [training] start_from names.

    All layers are taken; the last one only if the classes are the same, otherwise it keeps its fresh weights.

    Returns:
        (facts of that run, for the record; what the user should know, a few lines; ``data`` with what the weights have
        learned from before).

    Raises:
        UserError: if the run cannot be read, its network is another one, or it would be put aside by this one.
    """
    path = checkpoint.find(config.training.start_from)
    if path.parent.resolve() == config.output_dir.resolve():
        raise UserError(
            f"{path.parent} is the run to start from and also the folder to write to; set another [metrics] outputdir"
        )
    content = checkpoint.read(path)
    source = Config.from_dict(content["config"])
    _check_same_network(source, config, path)
    classes = tuple(map(str, content["classes"]))
    has_new_head = classes != data.classes
    load_weights(model, content["model"], has_new_head, path)
    facts = {
        "run": registry.name_of(path) or str(path),
        "sha256": sha256_of(path),
        "epoch": int(content["epoch"]),
        "classes": list(classes),
        "new_head": has_new_head,
        **{key: str(content.get(key)) for key in ("dataset", "version", "checksum")},
    }
    lines = [f"starting from {facts['run']}, epoch {facts['epoch']}, trained on {facts['dataset']} {facts['version']}"]
    if has_new_head:
        lines.append(f"its last layer is new: there the classes were {', '.join(classes)}")
    now = data.preparation
    if (mean_std := (float(content["mean"]), float(content["std"]))) != (now.mean, now.std):
        lines.append(
            f"note: it was trained with mean and std {mean_std[0]:.4g}, {mean_std[1]:.4g}, now they are "
            f"{now.mean:.4g}, {now.std:.4g}"
        )
    learned, unknown = learned_from(content)
    lines += [f"note: whether it was trained on sources of the test set cannot be checked: {text}" for text in unknown]
    return facts, "\n".join(lines), replace(data, inherited=learned, inherited_unknown=tuple(unknown))


def _check_same_network(source: Config, config: Config, path: Path) -> None:
    pairs = {
        f"[model] {key}": (getattr(source.model, key), getattr(config.model, key)) for key in ("base", "nrot", "head")
    }
    sides = (source.training.imsize + source.data.pad, config.training.imsize + config.data.pad)
    pairs["[training] imsize + [data] pad"] = sides
    pairs["[data] downsample"] = (source.data.downsample, config.data.downsample)
    if differ := [f"{key}: {was!r} there, {now!r} here" for key, (was, now) in pairs.items() if was != now]:
        raise UserError(
            f"{path} holds another network than the config asks for, so its weights do not fit:\n  "
            + "\n  ".join(differ)
            + "\nwrite the values of that run into the config"
        )


def head_name(model: nn.Module) -> str:
    """Returns the name of the layer that gives the logits: the last fully connected one.

    Raises:
        UserError: if the network has none.
    """
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise UserError(f"{type(model).__name__} has no fully connected layer, so it cannot be fine-tuned")
    return names[-1]


def load_weights(model: nn.Module, state: Mapping[str, torch.Tensor], has_new_head: bool, path: Path) -> None:
    """Puts weights into ``model``, leaving its last layer as it is if that is to be new."""
    own, state, head = model.state_dict(), dict(state), head_name(model) + "."
    if has_new_head:
        state = {key: value for key, value in state.items() if not key.startswith(head)}
        state |= {key: value for key, value in own.items() if key.startswith(head)}
    try:
        model.load_state_dict(state)
    except (RuntimeError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: its weights do not fit this network: {' '.join(str(error).split())[:300]}") from None


def freeze_trunk(model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, n_epochs: int) -> None:
    """Keeps all layers but the last as they are for the first ``n_epochs`` epochs of a run.

    What is frozen follows from ``progress`` alone, so a resumed run is the same run. Gradients are computed and then
    dropped before each step, which also keeps weight decay away; means and variances of batch normalization stay too.
    """
    if progress.epoch >= n_epochs:
        return
    head = head_name(model) + "."
    trunk = [parameter for name, parameter in model.named_parameters() if not name.startswith(head)]

    def drop_gradients(*_: Any) -> None:
        if progress.epoch < n_epochs:
            for parameter in trunk:
                parameter.grad = None

    def keep_statistics(module: nn.Module, _: Any) -> None:
        if progress.epoch < n_epochs:
            module.training = False  # model.train() at the start of an epoch sets it again

    optimizer.register_step_pre_hook(drop_gradients)
    for module in model.modules():
        if getattr(module, "running_mean", None) is not None:
            module.register_forward_pre_hook(keep_statistics)
