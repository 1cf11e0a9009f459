"""FIRSTGalaxyData: FRI and FRII galaxies from FIRST that come with a Python package, no download needed."""

from __future__ import annotations

import functools
import importlib.util
import io
import logging
import zipfile
from pathlib import Path

import numpy as np

from radgal.data.base import NATIVE_SIZE, GalaxyImages
from radgal.files.archives import Archive, fetch, find_problem
from utils import UserError

log = logging.getLogger(__name__)

PACKAGE = "firstgalaxydata"
H5_BYTES = 201_387_448
TRAIN_SPLITS = (b"train", b"valid")
TEST_SPLITS = (b"test",)


class FIRSTGalaxyData(GalaxyImages):
    """FRI against FRII of Griese et al. 2023: 445 + 874 for training, 50 + 50 for testing.

    Training is the authors' train and valid parts together. Images are the central 150 x 150 px of their
    300 x 300. Sources are named RA_Dec_label_catalog, RA and Dec in degrees.

    Never training data for a result on MiraBest: 745 of the 2158 sources of the whole data set (with its
    compact and bent ones) are MiraBest sources; 82 of the 104 test sources of MBFRConfident (v1) are in
    this training part.

    The normalization is measured on the training part: 0.00191 / 0.02809. The recipe for FITS images is the
    nearest that is known: these images were made from other cutouts, and no recipe gives their very pixels.
    """

    archive = Archive(
        name="galaxy_data_h5.zip",
        size=2_545_839,
        md5="37659bb2d4bf094fe6ccb9c012d3f163",
        sha256="1f9656a9fe2519857a5b7c7498f60087a6af73d8015b85559418ce30cc212c52",
        advice=f"pip install {PACKAGE}==0.2.1 brings it.",
    )
    version = "0.2.1"
    classes = ("FRI", "FRII")
    file_labels = (0, 1)
    mean, std = 0.0019, 0.0281
    native_size = NATIVE_SIZE
    recipe = "mirabest_v1"
    pixel_scale_arcsec = 1.8
    citation = (
        "Griese et al. 2023, Data in Brief 47, 108974, data doi:10.5281/zenodo.7120632; "
        "FIRST: Becker, White & Helfand 1995, ApJ 450, 559"
    )

    def read(self, download, mirror):
        images, labels, names, splits = _read_zip(self._find_zip(download, mirror), self.file_labels)
        rows = np.flatnonzero(np.isin(splits, TRAIN_SPLITS if self.train else TEST_SPLITS))
        return images[rows], labels[rows], [names[i] for i in rows]

    def _find_zip(self, download: bool, mirror: str | None) -> Path:
        """Returns the checked file of the installed package (none of whose code runs), or one lying about."""
        spec = importlib.util.find_spec(PACKAGE)
        folders = list(spec.submodule_search_locations or ()) if spec else []
        troubles = [] if folders else [f"the Python package {PACKAGE}: not installed"]
        for folder in folders:
            path = Path(folder) / self.archive.name
            problem = find_problem(path, self.archive)
            if problem is None:
                return path
            troubles.append(f"{path}: {problem}")
        return fetch(self.archive, self.root, download, mirror, troubles)


class FIRSTGalaxyOthers(FIRSTGalaxyData):
    """The other sources of Griese et al. 2023: 341 compact + 298 bent for training, 50 + 50 for testing.

    Neither FRI nor FRII: they show what a network says of what it does not know.
    """

    classes = ("Compact", "Bent")
    file_labels = (2, 3)


@functools.lru_cache(maxsize=2)
def _read_zip(path: Path, file_labels: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Returns what ``_read_h5`` does of a checked zip, once per process: it holds the training and the test part."""
    return _read_h5(_unzip(path), FIRSTGalaxyData.native_size, file_labels)


def _unzip(path: Path) -> bytes:
    """Returns the one file in the checked zip: 200 MB, mostly zeros, 0.7 s, so nothing is cached on disk."""
    with zipfile.ZipFile(path) as file:
        (member,) = file.infolist()
        if member.file_size != H5_BYTES:
            raise UserError(f"{path} is not the published file: it unpacks to {member.file_size:,} bytes")
        return file.read(member)


def _read_h5(
    content: bytes, side: int, file_labels: tuple[int, ...] = FIRSTGalaxyData.file_labels
) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Returns images uint8 (N, side, side), labels int64 (N,), names and splits (N,) of the sources so labeled.

    Label k is that of ``file_labels[k]`` in the file: 0 FRI, 1 FRII, 2 compact, 3 bent.
    """
    try:
        import h5py
    except ImportError:
        raise UserError("FIRSTGalaxyData is an HDF5 file: pip install h5py") from None

    images, labels, names, splits = [], [], [], []
    with h5py.File(io.BytesIO(content), "r") as file:
        for i in range(len(file)):
            group = file[f"data_{i}"]
            label = int(group["Label_literature"][()])
            if label not in file_labels:
                continue
            image = group["Img"]
            start = (image.shape[0] - side) // 2
            images.append(image[start : start + side, start : start + side])
            labels.append(file_labels.index(label))
            splits.append(group["Split_literature"][()])
            names.append(image.attrs["Filepath_literature"].rsplit("/", 1)[-1].removesuffix(".png"))
    return np.stack(images), np.array(labels, dtype=np.int64), names, np.array(splits)
