"""What all image data sets here have in common, and the reader of CIFAR-style batch files.

Legend: N images, H and W pixels.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from radgal.data.crossmatch import Position
from radgal.data.sourcenames import Source, named_position
from radgal.files.archives import Archive, read_files, without_writing
from radgal.files.pickles import read_arrays
from utils import UserError, counted, reason_of

NATIVE_SIZE = 150  # pixels along each side, of every published data set


class GalaxyImages(Dataset):
    """One split of a data set of radio galaxy images, in the manner of torchvision, which need not be loaded for it.

    ``data`` is uint8 (N, H, W), ``targets`` a list of N labels (ints), ``labels`` the same as a tensor, ``names`` the N
    names of the sources; ``checksum`` tells which published file they come from. An item is (8-bit gray PIL image,
    label), each transformed. Other labels may be put into ``targets``.

    Subclasses give the class attributes and ``read``. One whose facts are known only once it is opened, or that takes
    other arguments, gives ``open``, ``reading``, ``n_classes`` and ``sources`` in place of them: these are what the
    program asks a data set for.

    Args:
        root: data folder.
        train: the training part, or the test part.
        transform: applied to the PIL image.
        target_transform: applied to the label.
        download: whether the network may be used where the data are not at hand.
        mirror: folder or http(s) address that is tried before the published addresses.

    Raises:
        UserError: if the data cannot be had or are damaged.
    """

    archive: Archive
    version: str
    classes: tuple[str, ...]  # class k has label k
    mean: float | None  # of pixel / 255; None: to be measured on the training images
    std: float | None
    native_size: int  # H = W, pixels
    recipe: str  # how FITS cutouts become such images, a key of recipes.RECIPES
    pixel_scale_arcsec: float | None  # None: not known
    citation: str
    validation_rows: list[int] | None = None  # of the training part, where the data set says which; None: drawn
    has_test = True
    notes: tuple[str, ...] = ()  # what a user should know before training

    def __init__(self, root="data", train=True, transform=None, target_transform=None, download=False, mirror=None):
        self._set_place(root, transform, target_transform)
        self.train = train
        self.checksum = f"md5:{self.archive.md5}"
        images, labels, names = self.read(download, mirror)
        self.data = torch.from_numpy(images)
        self.targets: Sequence[int] = labels.tolist()
        self.names = tuple(names)

    def _set_place(self, root: str | os.PathLike, transform: Any, target_transform: Any) -> None:
        """Sets what every image data set of torchvision's has, under its names."""
        self.root = os.path.expanduser(str(root))
        self.transform, self.target_transform = transform, target_transform

    @property
    def positions(self) -> tuple[Position | None, ...]:
        """The position of each source, in degrees; None where its name says none."""
        return tuple(map(named_position, self.names))

    @classmethod
    def n_classes(cls) -> int | None:
        """Returns the number of classes; None if a table says them, which the config then names."""
        return len(cls.classes)

    @classmethod
    def open(cls, cfg: Any, train: bool) -> GalaxyImages:
        """Returns the training or test part that a config asks for.

        Raises:
            UserError: if the data cannot be had or do not fit the config.
        """
        name, n_classes, imsize = cfg.data.dataset, cfg.training.num_classes, cfg.training.imsize
        if n_classes != len(cls.classes):
            raise UserError(
                f"[training] num_classes = {n_classes}, but {name} has {len(cls.classes)} classes "
                f"({', '.join(cls.classes)}); set num_classes: {len(cls.classes)}"
            )
        if not 1 <= imsize <= cls.native_size:
            raise UserError(
                f"[training] imsize = {imsize}, but the images of {name} are {cls.native_size} px "
                f"wide; set imsize to at most {cls.native_size} ([data] pad adds rows and columns)"
            )
        with nullcontext() if not cfg.reads_only else without_writing():
            return cls(cfg.data.datadir, train=train, download=cfg.data.download, mirror=cfg.data.mirror)

    @classmethod
    def reading(cls, cfg: Any) -> dict[str, Any]:
        """Returns the arguments of ``images.read_image`` that prepare new images as these were prepared."""
        return dict(recipe=cls.recipe, native_size=cls.native_size, expected_arcsec=cls.pixel_scale_arcsec)

    @classmethod
    def sources(cls, cfg: Any, train: bool) -> list[Source]:
        """Returns the sources of the part that a config asks for.

        Raises:
            UserError: if the data cannot be had or do not fit the config.
        """
        return [(name, named_position(name)) for name in cls.open(cfg, train).names]

    def read(self, download: bool, mirror: str | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Returns images uint8 (N, H, W), labels int64 (N,) and names of this split."""
        raise NotImplementedError

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The label of each class."""
        return {name: label for label, name in enumerate(self.classes)}

    @property
    def labels(self) -> torch.Tensor:
        """``targets`` as int64 (N,)."""
        return torch.tensor([int(label) for label in self.targets], dtype=torch.int64)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image: Any = Image.fromarray(self.data[index].numpy())
        label: Any = int(self.targets[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return image, label

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        lines = [f"Number of datapoints: {len(self)}", f"Root location: {self.root}", *self.extra_repr().splitlines()]
        for name in ("transform", "target_transform"):
            if getattr(self, name) is not None:
                lines += f"{name}: {getattr(self, name)!r}".splitlines()
        return "\n    ".join([f"Dataset {type(self).__name__}", *lines])

    def extra_repr(self) -> str:
        return "\n".join(
            [
                f"Split: {'train' if self.train else 'test'}",
                f"Version: {self.version} ({self.checksum})",
                f"Classes: {self._describe_classes()}",
                f"Image size: {self.native_size} x {self.native_size} px",
            ]
        )

    def _describe_classes(self) -> str:
        """Returns the classes, each with its number of sources where ``targets`` tells."""
        try:
            counts = Counter(self.labels.tolist())
        except (TypeError, ValueError, RuntimeError):  # the user has put something else there
            return ", ".join(self.classes)
        others = len(self.targets) - sum(counts[label] for label in self.class_to_idx.values())
        said = [f"{name} {counts[label]}" for name, label in self.class_to_idx.items()]
        return ", ".join(said + ([f"others {others}"] if others else []))


class BatchedImages(GalaxyImages):
    """A data set published as CIFAR-style batch files ``data_batch_1``, ... and ``test_batch``.

    Subclasses give besides: ``file_labels``, for each class the labels in the files that it gathers.
    Images with any other label are left out; the others stay in the order of the files.
    """

    file_labels: tuple[tuple[int, ...], ...]
    n_file_labels: int  # labels in the files are below this
    native_size = NATIVE_SIZE

    @classmethod
    def source_name(cls, filename: str, file_label: int) -> str:
        """Returns the name of a source from the file name that the batch gives for it."""
        return filename.rsplit("/", 1)[-1].removesuffix(".png")

    def read(self, download, mirror):
        n_train = sum(name.startswith("data_batch_") for name in self.archive.files)
        files = [f"data_batch_{i + 1}" for i in range(n_train)] if self.train else ["test_batch"]
        contents = read_files(self.archive, files, self.root, download, mirror)
        batches = [
            read_batch(content, f"{self.archive.folder}/{file}", self.native_size, self.n_file_labels)
            for file, content in zip(files, contents, strict=True)
        ]
        images = np.concatenate([batch[0] for batch in batches])
        file_labels = np.concatenate([batch[1] for batch in batches])
        filenames = [name for batch in batches for name in batch[2]]

        label_of = np.full(self.n_file_labels, -1, dtype=np.int64)
        for label, members in enumerate(self.file_labels):
            label_of[list(members)] = label
        labels = label_of[file_labels]
        kept = np.flatnonzero(labels >= 0)
        names = [self.source_name(filenames[i], int(file_labels[i])) for i in kept]
        return images[kept], labels[kept], names


def read_batch(content: bytes, source: str, side: int, n_labels: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Returns images uint8 (N, side, side), labels int64 (N,) and file names of one pickled batch.

    The pickle is read without running anything in it, and all that it holds is checked.

    Args:
        content: the file's bytes.
        source: its name, for messages.
        side: pixels along each side; images are (side, side) or flat.
        n_labels: labels are 0 ... n_labels - 1.

    Raises:
        UserError: if it is not such a batch.
    """
    try:
        batch = read_arrays(content)
        arrays, labels, names = (batch[key] for key in ("data", "labels", "filenames"))
        if not (isinstance(arrays, list) and isinstance(labels, list) and isinstance(names, list)):
            raise ValueError("data, labels and filenames are not three lists")
        if not len(arrays) == len(labels) == len(names) > 0:
            raise ValueError(
                f"{counted(len(arrays), 'image')}, {counted(len(labels), 'label')}, {counted(len(names), 'file name')}"
            )
        if not all(type(label) is int and 0 <= label < n_labels for label in labels):
            raise ValueError(f"a label is not an integer from 0 to {n_labels - 1}")
        if not all(isinstance(name, str) for name in names):
            raise ValueError("a file name is not text")
        images = np.stack([array.to_image(side) for array in arrays])
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise UserError(f"{source} is not a batch of images: {reason_of(error)}; delete it and run again") from None
    return images, np.array(labels, dtype=np.int64), names
