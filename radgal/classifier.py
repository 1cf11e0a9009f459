"""A trained network with all that is needed to feed it: the one object that evaluation, prediction and export take.

Legend: N images, S pixels along each side, K classes, T MC-dropout passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from radgal.images.preparation import UPRIGHT, Poses, Preparation, in_words
from radgal.progress import progress
from utils import UserError, float32_in_full


@dataclass(frozen=True, eq=False, kw_only=True)
class Classifier:
    """A network, its classes, and how pixels become its input.

    Args:
        model: on ``device``; its methods leave it in evaluation mode.
        classes: K names.
        preparation: how images become the network's input.
        device: where the network is and images go.
        batch_size: images at a time.
        quiet: whether to show no bars.

    Example:
        >>> import torch
        >>> import models
        >>> from radgal.classifier import Classifier
        >>> from radgal.images.preparation import Preparation
        >>> net = models.build_model("VanillaLeNet", n_classes=2, side=50)
        >>> how = Preparation(mean=0.0031, std=0.035, imsize=50)
        >>> classifier = Classifier(model=net, classes=("FRI", "FRII"), preparation=how)
        >>> classifier.probabilities(torch.zeros(3, 1, 50, 50, dtype=torch.uint8)).shape
        (3, 2)
    """

    model: nn.Module
    classes: tuple[str, ...]
    preparation: Preparation
    device: torch.device = torch.device("cpu")
    batch_size: int = 128
    quiet: bool = True

    def to_input(self, images: Tensor, poses: Poses = UPRIGHT) -> Tensor:
        """Returns what the network reads, on its device, uint8 (N, 1, S, S) -> float32 (N, 1, s, s)."""
        angles, flip = (None if pose is None else pose.to(self.device) for pose in poses)
        return self.preparation.to_input(images.to(self.device), (angles, flip))

    def logits(self, images: Tensor, poses: Poses = UPRIGHT) -> np.ndarray:
        """Returns the logits (N, K) of images uint8 (N, 1, S, S), dropout off.

        Args:
            poses: (angles_deg, flip), each (N,) or None, as in ``transforms.rotate``.

        Raises:
            UserError: if there are no images, or they have another shape or type.
        """
        return self._in_batches(self.model.eval(), images, poses)

    def probabilities(self, images: Tensor, poses: Poses = UPRIGHT) -> np.ndarray:
        """Returns the probabilities (N, K) of images uint8 (N, 1, S, S), dropout off; see :meth:`logits`."""
        return softmax(self.logits(images, poses))

    def features(self, images: Tensor) -> np.ndarray | None:
        """Returns what goes into the first dropout, (N, D), of images uint8 (N, 1, S, S); None without ``embed``."""
        if not hasattr(self.model, "embed"):
            return None
        return self._in_batches(self.model.eval().embed, images, UPRIGHT)

    def dropout_samples(
        self, images: Tensor, mc_samples: int = 100, *, seed: int = 0, poses: Poses = UPRIGHT
    ) -> np.ndarray:
        """Returns the probabilities (T, N, K) of T passes with dropout on and nothing else changed.

        MC dropout, Gal & Ghahramani 2016, arXiv:1506.02142. A network that has ``embed`` and ``classify`` computes
        everything up to the first dropout once per image; any other is run T times whole.

        Args:
            images: uint8 (N, 1, S, S).
            mc_samples: T.
            seed: of the dropout; the global random state is left as it was. The samples of a seed also depend on
                ``batch_size``.
            poses: as in :meth:`logits`.

        Raises:
            UserError: as :meth:`logits`, if T is below 1, or the network's outputs are NaN or infinite.
        """
        if mc_samples < 1:
            raise UserError(f"mc_samples = {mc_samples}: at least one dropout pass is needed")
        model = self.model
        split = hasattr(model, "embed") and hasattr(model, "classify")

        def sample(x: Tensor) -> Tensor:  # (n, 1, s, s) -> (n, T, K)
            if not split:
                return torch.stack([model(x) for _ in range(mc_samples)], dim=1)
            z = model.embed(x)
            logits = model.classify(z.repeat_interleave(mc_samples, dim=0))
            return logits.unflatten(0, (len(z), mc_samples))

        with self.own_random_state():
            torch.manual_seed(seed)
            with only_dropout(model):
                logits = self._in_batches(sample, images, poses, "dropout passes")
        return softmax(logits).swapaxes(0, 1)

    def own_random_state(self):
        """Returns a context in which random numbers are drawn without a trace outside."""
        return torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])

    @torch.inference_mode()
    @float32_in_full()
    def _in_batches(
        self, function: Callable[[Tensor], Tensor], images: Tensor, poses: Poses, what: str = ""
    ) -> np.ndarray:
        if not len(images):
            raise UserError("there are no images to predict; check the sources asked for")
        parts = []
        for rows in progress(torch.arange(len(images)).split(self.batch_size), what, self.quiet or not what):
            posed = tuple(None if pose is None else pose[rows] for pose in poses)
            batch = images[rows]
            if not isinstance(batch, Tensor) or batch.dtype != torch.uint8 or batch.ndim != 4 or batch.shape[1] != 1:
                raise UserError(
                    f"images must be uint8 (N, 1, S, S), not {in_words(batch)}; preparation.crop makes it of (N, H, W)"
                )
            parts.append(function(self.to_input(batch, posed)).cpu())
        return torch.cat(parts).double().numpy()


@contextmanager
def only_dropout(model: nn.Module) -> Iterator[None]:
    """Inside, dropout layers work as in training and all else (batch norm, ...) as in evaluation.

    Afterwards every layer is in the mode that it was in.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.train()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the probabilities of logits, over the last axis, in double precision.

    Raises:
        UserError: if a logit is NaN or infinite.
    """
    from scipy.special import log_softmax

    if not np.isfinite(logits).all():
        raise UserError("the network's outputs are NaN or infinite; use an earlier checkpoint of the run")
    return np.exp(log_softmax(np.asarray(logits, dtype=np.float64), axis=-1))
