"""The table of data sets, and the one that a config names."""

from __future__ import annotations

from typing import Any

from radgal.data.base import GalaxyImages
from radgal.data.firstgalaxy import FIRSTGalaxyData
from radgal.data.frdeep import FRDEEPF, FRDEEPN
from radgal.data.imagetable import ImageTable
from radgal.data.mirabest import (
    MBFRConfident,
    MBFRConfident_v2,
    MBFRFull,
    MBFRFull_v2,
    MBFRUncertain,
    MBFRUncertain_v2,
    MBHybrid,
    MBHybrid_v2,
    MiraBest_full,
    MiraBest_full_v2,
)
from radgal.images.preparation import Preparation
from utils import UserError, nearest

DATASETS: dict[str, type[GalaxyImages]] = {
    "MBFRConfident": MBFRConfident,
    "MBFRUncertain": MBFRUncertain,
    "MBFRFull": MBFRFull,
    "MBHybrid": MBHybrid,
    "MiraBest_full": MiraBest_full,
    "MBFRConfident_v2": MBFRConfident_v2,
    "MBFRUncertain_v2": MBFRUncertain_v2,
    "MBFRFull_v2": MBFRFull_v2,
    "MBHybrid_v2": MBHybrid_v2,
    "MiraBest_full_v2": MiraBest_full_v2,
    "FRDEEPF": FRDEEPF,
    "FRDEEPN": FRDEEPN,
    "FIRSTGalaxyData": FIRSTGalaxyData,
    "ImageTable": ImageTable,
}
PUBLISHED = {name: kind for name, kind in DATASETS.items() if kind.n_classes() is not None}
"""Those that are not the user's own."""


def class_counts() -> dict[str, int | None]:
    """Returns for each name that a config may give as data set its number of classes; None: any number."""
    return {name: kind.n_classes() for name, kind in DATASETS.items()}


def kind_of(cfg: Any) -> type[GalaxyImages]:
    """Returns the data set that a config names, not opened; a UserError if there is none of that name."""
    name = cfg.data.dataset
    if name not in DATASETS:
        like = nearest(name, DATASETS)
        hint = f"; did you mean {like!r}?" if like else ""
        raise UserError(f"[data] dataset = {name!r} is not known{hint} (known: {', '.join(DATASETS)})")
    return DATASETS[name]


def preparation_of(cfg: Any, normalization: tuple[float, float]) -> Preparation:
    """Returns how the images that a config trains on are made.

    Args:
        cfg: of the run.
        normalization: mean and standard deviation of pixel / 255 over its training data.

    Raises:
        UserError: if this version of the program does not know the data set.
    """
    if cfg.data.dataset not in DATASETS:
        raise UserError(
            f"the run was trained on {cfg.data.dataset!r}, which this program does not know, so neither how new "
            "images must be prepared; use the version of the program that trained it"
        )
    facts = DATASETS[cfg.data.dataset].reading(cfg)
    return Preparation(
        *normalization,
        imsize=cfg.training.imsize,
        pad=cfg.data.pad,
        downsample=cfg.data.downsample,
        recipe=facts["recipe"],
        native_size=facts["native_size"],
        pixel_scale_arcsec=facts["expected_arcsec"],
    )


def preprocessing(cfg: Any) -> dict[str, Any]:
    """Returns the arguments of ``images.read_image`` that prepare new images as those of a run were prepared."""
    return kind_of(cfg).reading(cfg)


def open_dataset(cfg: Any, train: bool) -> GalaxyImages:
    """Returns the training or test part of the data set that a config names, at its native size.

    Raises:
        UserError: if the data cannot be had or do not fit the config.
    """
    return kind_of(cfg).open(cfg, train)
