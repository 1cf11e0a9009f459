"""The table of data sets, and the one that a config names."""

from __future__ import annotations

from typing import Any

from radgal.config.checker import IMAGE_TABLE
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
}

NATIVE_SIZE = 150  # of every published data set; the recipes for FITS images see at least so many pixels


def class_counts() -> dict[str, int | None]:
    """Returns for each name that a config may give as data set its number of classes; None: any number."""
    return {name: len(dataset.classes) for name, dataset in DATASETS.items()} | {IMAGE_TABLE: None}


def preparation_of(cfg: Any, mean: float, std: float) -> Preparation:
    """Returns how the images that a config trains on are made, with the mean and std of pixel / 255 that it uses.

    Raises:
        UserError: if this version of the program does not know the data set.
    """
    if cfg.data.dataset not in class_counts():
        raise UserError(
            f"the run was trained on {cfg.data.dataset!r}, which this program does not know, so neither how new "
            "images must be prepared; use the version of the program that trained it"
        )
    facts = preprocessing(cfg)
    return Preparation(
        mean=mean,
        std=std,
        imsize=cfg.training.imsize,
        pad=cfg.data.pad,
        downsample=cfg.data.downsample,
        recipe=facts["recipe"],
        native_size=facts["native_size"],
        pixel_scale_arcsec=facts["expected_arcsec"],
    )


def preprocessing(cfg: Any) -> dict[str, Any]:
    """Returns the arguments of ``images.read_image`` that prepare new images as those of a run were prepared."""
    if cfg.data.dataset == IMAGE_TABLE:
        size = max(NATIVE_SIZE, cfg.training.imsize)
        return dict(recipe=cfg.data.recipe, native_size=size, expected_arcsec=cfg.data.pixel_scale)
    kind = DATASETS[cfg.data.dataset]
    return dict(recipe=kind.recipe, native_size=kind.native_size, expected_arcsec=kind.pixel_scale_arcsec)


def open_dataset(cfg: Any, train: bool) -> GalaxyImages:
    """Returns the training or test part of the data set that a config names, at its native size.

    Raises:
        UserError: if the data cannot be had or do not fit the config.
    """
    name, n_classes = cfg.data.dataset, cfg.training.num_classes
    if name == IMAGE_TABLE:
        return ImageTable(
            cfg.data.table,
            train,
            recipe=cfg.data.recipe,
            native_size=max(NATIVE_SIZE, cfg.training.imsize),
            imsize=cfg.training.imsize,
            pixel_scale=cfg.data.pixel_scale,
            num_classes=n_classes,
            drawn_validation=cfg.training.frac_val > 0 and cfg.data.split == "stratified",
            quiet=cfg.model.quiet,
        )
    if name not in DATASETS:
        like = nearest(name, class_counts())
        hint = f"; did you mean {like!r}?" if like else ""
        raise UserError(f"[data] dataset = {name!r} is not known{hint} (known: {', '.join(class_counts())})")
    kind = DATASETS[name]
    if n_classes != len(kind.classes):
        raise UserError(
            f"[training] num_classes = {n_classes}, but {name} has {len(kind.classes)} classes "
            f"({', '.join(kind.classes)}); set num_classes: {len(kind.classes)}"
        )
    if not 1 <= cfg.training.imsize <= kind.native_size:
        raise UserError(
            f"[training] imsize = {cfg.training.imsize}, but the images of {name} are {kind.native_size} px "
            f"wide; set imsize to at most {kind.native_size} ([data] pad adds rows and columns)"
        )
    return kind(cfg.data.datadir, train=train, download=cfg.data.download, mirror=cfg.data.mirror)
