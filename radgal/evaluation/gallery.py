"""Images of the test sources that deserve a look: those that were misclassified, and the most uncertain ones.

Legend: N sources, S pixels along each side.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radgal.runs.files import RunFile
from utils import atomic_write

N_MISCLASSIFIED = 24  # more than any published network misses of MiraBest's 104
N_UNCERTAIN = 12
N_SAVED = 100  # misclassified: another run may be right on one that its own page has no room for
MAX_BYTES = 64 * 2**20  # of the file once unpacked: far above 36 images of 1000 px


def choose_sources(
    correct: Sequence[bool], confidence: Sequence[float], entropy: Sequence[float], n_wrong: int = N_MISCLASSIFIED
) -> tuple[list[int], list[int]]:
    """Returns the rows of the misclassified sources, surest first, and of the most uncertain, most uncertain first.

    Args:
        correct: (N,) whether the upright image was classified rightly.
        confidence: (N,) probability of the predicted class.
        entropy: (N,) predictive entropy over dropout passes, nats.
        n_wrong: misclassified sources at most.
    """
    wrong = np.flatnonzero(~np.asarray(correct, dtype=bool))
    surest = wrong[np.argsort(-np.asarray(confidence, dtype=float)[wrong], kind="stable")]
    uncertain = np.argsort(-np.asarray(entropy, dtype=float), kind="stable")
    return surest[:n_wrong].tolist(), uncertain[:N_UNCERTAIN].tolist()


def save_gallery(folder: str | Path, table: Mapping[str, Any], confidence: np.ndarray, images: np.ndarray) -> None:
    """Writes gallery.npz: ``names`` and ``images`` of sources that :func:`choose_sources` chooses, of mistakes 100.

    Args:
        folder: of the run.
        table: with ``name``, ``correct`` and ``predictive_entropy``, a row per test source.
        confidence: (N,) probability of the predicted class.
        images: uint8 (N, S, S).
    """
    wrong, uncertain = choose_sources(table["correct"], confidence, table["predictive_entropy"], N_SAVED)
    rows = sorted({*wrong, *uncertain})
    with atomic_write(RunFile.GALLERY.at(folder)) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, names=np.asarray(table["name"], dtype=str)[rows], images=images[rows])


def read_gallery(path: str | Path) -> dict[str, np.ndarray]:
    """Returns the images uint8 (S, S) by name; a file from elsewhere can neither run code nor fill the memory.

    Raises:
        ValueError: if it holds something else.
        Exception: of any kind that zipfile, zlib and NumPy raise on a damaged file.
    """
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
            raise ValueError(f"unpacks to more than {MAX_BYTES // 2**20} MiB")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"its {damaged} is not what was written")
    with np.load(path, allow_pickle=False) as content:
        if not {"names", "images"} <= set(content.files):
            raise ValueError("holds no names and images")
        names, images = content["names"], content["images"]
    is_images = images.dtype == np.uint8 and images.ndim == 3 and min(images.shape[1:]) > 0
    if not is_images or names.shape != images.shape[:1] or names.dtype.kind != "U":
        raise ValueError("holds no uint8 images with their names")
    return dict(zip(names.tolist(), images, strict=True))
