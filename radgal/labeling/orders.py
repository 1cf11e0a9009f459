"""In which order images are shown to a labeler, and what networks think of them beforehand.

Legend: N images, K classes, D activations before the first dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from radgal.data.dividing import RANDOM
from radgal.files.tables import column_name
from radgal.labeling.pictures import FIELD
from radgal.prediction.chunk import columns_of, open_runs, open_settings, predict_batch
from radgal.prediction.inputs import read_ahead
from utils import UserError, float32_in_full

UNCERTAIN, DIFFERENT, DISAGREEMENT = "uncertain", "different", "disagreement"
ORDERS = {
    RANDOM: "as a seed shuffles them",
    UNCERTAIN: "those first of which RUN is least sure (largest predictive entropy)",
    DIFFERENT: "those first that look least like what is labeled (farthest in what RUN sees of them)",
    DISAGREEMENT: "those first on which the networks disagree most (mutual information)",
}
DROPOUT_PASSES = 100  # of one network by itself; of several, each says once what it thinks


@dataclass(frozen=True, eq=False)
class Opinions:
    """What networks say of N images; NaN for those that could not be read."""

    classes: tuple[str, ...]
    probabilities: np.ndarray  # (N, K), dropout off, mean over the networks
    entropy: np.ndarray  # (N,), predictive, nats
    disagreement: np.ndarray  # (N,), mutual information of prediction and network, nats
    embedding: np.ndarray  # float32 (N, D), of the first network
    field: int = FIELD  # pixels along each side of the middle that the networks read


@float32_in_full()
def ask(
    runs: Sequence[str], paths: Sequence[str], device: str = "auto", advance: Callable[[int], object] = lambda n: None
) -> Opinions:
    """Returns what trained networks say of image files.

    Args:
        runs: run folders, checkpoints, or names of networks that come along.
        paths: N images.
        device: as for ``predict``.
        advance: called with the number of images after each batch.

    Raises:
        UserError: if a run cannot be used, or they have different classes.
    """
    settings = open_settings(runs, mc_samples=0 if len(runs) > 1 else DROPOUT_PASSES, device=device)
    opened, columns = open_runs(settings), columns_of(settings)
    names = [column_name("prob", name) for name in settings.classes]
    found: list[tuple[np.ndarray, ...]] = []
    batches = read_ahead(
        list(paths), [member.preparation for member in settings.members], settings.where, batch_size=64, threads=2
    )
    for readings in batches:
        part = predict_batch(settings, opened, columns, readings)
        probabilities = np.stack([part[name] for name in names], axis=1)
        embedded = _embed(opened[0], [reading.images.get(opened[0].preparation.reading) for reading in readings])
        found.append((probabilities, part["predictive_entropy"], part["mutual_information"], embedded))
        advance(len(readings))
    field = max(member.preparation.imsize for member in settings.members)
    return Opinions(settings.classes, *(np.concatenate(values) for values in zip(*found, strict=True)), field)


@torch.inference_mode()
def _embed(run, images: Sequence) -> np.ndarray:
    """Returns the activations before the first dropout (n, D); NaN where there is no image."""
    side = run.preparation.native_size
    pixels = np.stack([np.zeros((side, side), np.uint8) if image is None else image.pixels for image in images])
    z = run.model.eval().embed(run.to_input(run.preparation.crop(torch.from_numpy(pixels)))).float().cpu().numpy()
    z[[image is None for image in images]] = np.nan
    return z


class Order:
    """Which of N images comes next.

    Args:
        name: a key of ``ORDERS``.
        n: N.
        seed: of the random order, and of what comes first among equals.
        opinions: of the networks; all but the random order need them.

    Raises:
        UserError: if it needs opinions and there are none.
    """

    def __init__(self, name: str, n: int, seed: int = 0, opinions: Opinions | None = None):
        if name != RANDOM and opinions is None:
            raise UserError(f"--order {name} asks a network: give it by --run, such as --run fr-d4")
        self.name, shuffled = name, np.random.default_rng(seed).permutation(n)
        self._embedding = None
        if name == RANDOM:
            self._priority = shuffled.astype(float)
        elif name == DIFFERENT:
            self._embedding = opinions.embedding
            middle = np.nanmean(self._embedding, axis=0)
            self._priority = -_distances(self._embedding, middle)  # the most usual one comes first
            self._anything_shown = False
        else:
            self._priority = opinions.entropy if name == UNCERTAIN else opinions.disagreement
        self._priority = np.where(np.isfinite(self._priority), self._priority, -np.inf)

    def labeled(self, row: int) -> None:
        """Tells that an image has been labeled: others like it have become less interesting."""
        if self._embedding is None or not np.isfinite(self._embedding[row]).all():
            return
        distances = np.nan_to_num(_distances(self._embedding, self._embedding[row]), nan=-np.inf)
        self._priority = np.minimum(self._priority, distances) if self._anything_shown else distances
        self._anything_shown = True

    def first(self, allowed: np.ndarray, n: int = 1) -> list[int]:
        """Returns the next n of the images that are allowed, bool (N,); fewer if there are not so many."""
        rows = np.flatnonzero(allowed)
        if len(rows) > n:
            rows = rows[np.argpartition(-self._priority[rows], n - 1)[:n]]
        return rows[np.argsort(-self._priority[rows], kind="stable")].tolist()


def _distances(points: np.ndarray, place: np.ndarray) -> np.ndarray:
    return np.sqrt(((points - place) ** 2).sum(axis=1))
