"""Every key of the INI file: its section, type, range, default and meaning, one ``Field`` each.

configs/README.md shows the same as a table, which is made from here: see CONTRIBUTING.md.
"""

from __future__ import annotations

import os
from types import NoneType
from typing import Annotated, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _printable(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("empty, or holds characters that cannot be printed")
    return text


def _fold(text: str) -> str:
    k, n = (int(part) for part in text.split("/"))
    if not 1 <= k <= n or n < 2:
        raise ValueError(f"there is no part {k} of {n}")
    return text


# The length keeps a hostile stored configuration within what an INI value may hold.
Text = Annotated[str, Field(max_length=400), AfterValidator(_printable)]


def _at_home(text: str) -> str:
    return os.path.expanduser(text)


# A file or folder; ~ is the home folder, as in a shell.
PathText = Annotated[Text, AfterValidator(_at_home)]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else list(value) if isinstance(value, tuple) else value


def _different(texts: list[str]) -> list[str]:
    if len(set(texts)) < len(texts):
        raise ValueError("one is there twice")
    return texts


# One name may be written without brackets.
Texts = Annotated[list[Text], Field(max_length=40), BeforeValidator(_as_list), AfterValidator(_different)]

AUGMENTATIONS = ("rotate", "flip", "scale", "shift", "brightness", "noise")


def _augment(text: str) -> str:
    parts = text.split("+")
    if text != "none" and (set(parts) - set(AUGMENTATIONS) or len(set(parts)) < len(parts)):
        raise ValueError(f"not made of {', '.join(AUGMENTATIONS)}, each at most once")
    return text


class Section(BaseModel):
    """One section of the INI file: no unknown keys, no silent conversions, no infinity, no later change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ModelSection(Section):
    """[model]: which network, and which epoch of it is kept."""

    base: Text = Field(description="name of the network")
    nrot: int | None = Field(None, ge=1, le=64, description="N of C_N or D_N: number of rotations; None for plain nets")
    early_stopping: bool = Field(True, description="True keeps the best epoch, False the last one")
    quiet: bool = Field(False, description="print the final lines only")
    mask: bool = Field(True, description="circular mask on the input, the same for every network")
    head: Literal["flatten", "invariant"] = Field(
        "flatten",
        description="'flatten' as published; 'invariant' pools over the image, so logits do not turn",
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="share of activations dropped before the last layer")
    engine: Literal["fast", "e2cnn"] = Field(
        "fast", description="which steerable layers compute: this program's or stock e2cnn's, the same function"
    )


class DataSection(Section):
    """[data]: which images, and how they are prepared."""

    dataset: Text = Field(description="name of the data set")
    datadir: PathText = Field("data", description="folder that holds the archives, or receives them")
    datamean: float | None = Field(None, description="mean of pixel/255 to normalize with; None: the data set's own")
    datastd: float | None = Field(None, gt=0, description="standard deviation of pixel/255; None: the data set's own")
    pad: int = Field(0, ge=0, le=1024, description="rows and columns of background added at the bottom and right")
    augment: Annotated[Text, AfterValidator(_augment)] = Field(
        "rotate",
        description="random changes of each training image in each epoch",
        json_schema_extra={"allowed": f"'none', or, joined with '+', some of {', '.join(map(repr, AUGMENTATIONS))}"},
    )
    split: Literal["stratified", "first"] = Field(
        "stratified",
        description="validation images: seeded and class by class, or the first rows as published",
    )
    fold: Annotated[Text, Field(pattern=r"^\d{1,3}/\d{1,3}$"), AfterValidator(_fold)] | None = Field(
        None,
        description="cross-validation over all sources: '2/5' tests on the second of five parts; "
        "None: the data set's own test set",
        json_schema_extra={"allowed": "text such as '2/5', or None"},
    )
    val_fold: Annotated[Text, Field(pattern=r"^\d{1,3}/\d{1,3}$"), AfterValidator(_fold)] | None = Field(
        None,
        description="validation on the second of five parts of the training sources for '2/5', the test set untouched; "
        "None: as frac_val says",
        json_schema_extra={"allowed": "text such as '2/5', or None"},
    )
    also: Texts = Field(
        [],
        description="further data sets, or tables of images, to train on, both parts of each: names or files",
        json_schema_extra={"allowed": "a list of different texts, such as ['FIRSTGalaxyData', 'mine.csv']"},
    )
    train_on: Literal["train", "all"] = Field(
        "train", description="'all' trains on the test part of the data set, too: then nothing is tested"
    )
    leave_out: Texts = Field(
        [],
        description="data sets, or tables, whose sources are not trained on; with ':test' behind, those of the test "
        "part only",
        json_schema_extra={"allowed": "a list of different texts, such as ['MBFRConfident_v2:test']"},
    )
    train_size: int | None = Field(
        None, ge=2, description="how many training sources of the data set are used, classes in proportion; None: all"
    )
    downsample: Literal[1, 2, 3] = Field(
        1, description="side of the squares of pixels that are averaged, after turning; must divide imsize + pad"
    )
    download: bool = Field(True, description="fetch the archive when datadir does not have it")
    mirror: PathText | None = Field(None, description="folder or address to look for the archive first")
    table: PathText | None = Field(
        None, description="for dataset 'ImageTable': file that lists the images and their labels"
    )
    recipe: Literal["mirabest_v1", "mirabest_v2", "frdeep"] = Field(
        "mirabest_v1", description="for dataset 'ImageTable': how FITS images are prepared"
    )
    pixel_scale: float | None = Field(
        None, gt=0, description="for dataset 'ImageTable': arcsec per pixel; None: not known"
    )


class TrainingSection(Section):
    """[training]: how the network is fitted."""

    batch_size: int = Field(50, ge=1, le=1_000_000, description="images per step")
    frac_val: float = Field(0.2, ge=0, lt=1, description="share of the training images for validation; 0: none")
    epochs: int = Field(600, ge=1, le=1_000_000, description="passes over the training images")
    imsize: int = Field(150, ge=10, le=4096, description="side in pixels of the central part that is used, before pad")
    num_classes: int = Field(2, ge=2, le=10_000, description="number of classes of the data set")
    lr0: float = Field(1e-4, gt=0, description="learning rate: the first, with 'onecycle' the highest")
    decay: float = Field(1e-6, ge=0, description="weight decay of Adam")
    optimizer: Literal["adam", "adamw"] = Field(
        "adam", description="'adam' adds decay to the gradient (L2), as published; 'adamw' to the step (decoupled)"
    )
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay per batch of a moving average of the weights, which is kept; None: none"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of each training label that is spread over all classes"
    )
    seed: int | None = Field(
        42, ge=0, lt=2**32, description="seed of split, weights, augmentation; None: drawn, recorded"
    )
    patience: int | None = Field(None, ge=1, description="stop after so many epochs without a better one; None: never")
    monitor: Literal["val_accuracy", "val_loss"] = Field("val_accuracy", description="what makes an epoch the best")
    keep: Literal["best", "last"] | None = Field(
        None, description="which epoch is kept; None: what [model] early_stopping says"
    )
    val_augment: bool = Field(False, description="augment the validation images too (True as published)")
    val_rotations: int = Field(
        1, ge=1, le=360, description="rotations, evenly spaced from upright, that validation is averaged over"
    )
    scheduler: Literal["plateau", "cosine", "onecycle", "none"] = Field(
        "plateau",
        description="learning rate: times 0.9 when validation loss stalls, half a cosine, up and down once batch by "
        "batch, or constant",
    )
    warmup: float = Field(
        0.15, ge=0, lt=1, description="for scheduler 'onecycle': share of the run in which the rate rises to lr0"
    )
    resume: Literal["auto", "never"] = Field(
        "never",
        description="'auto' goes on with what is in the output folder, and starts anew if there is nothing",
    )
    device: Text = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$",
        description="where to compute; 'auto' takes a GPU when there is one",
        json_schema_extra={"allowed": "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"},
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of convolutions and matrix products; 'auto': bf16 on GPUs that have it, else fp32"
    )
    compile: bool = Field(False, description="train through torch.compile")
    start_from: PathText | None = Field(None, description="run to take the first weights from, as fine-tune does")
    freeze_epochs: int = Field(
        0, ge=0, le=1_000_000, description="epochs in which only the last layer is trained; needs start_from"
    )

    @property
    def ends_a_cycle(self) -> bool:
        """Whether the rate comes to its end with the last epoch: with more epochs, every one would be another."""
        return self.scheduler in ("cosine", "onecycle")


class OutputSection(Section):
    """[output]: the two files that the published program wrote, and live curves."""

    csvfile: PathText | None = Field(None, description="losses per epoch; None: history.csv in the output folder")
    modfile: PathText | None = Field(None, description="weights of the kept epoch; None: model.pt in the output folder")
    tensorboard: PathText | None = Field(None, description="folder for live curves in TensorBoard; None: none")


class MetricsSection(Section):
    """[metrics]: where everything else goes."""

    outputdir: PathText | None = Field(None, description="the output folder; None: runs/ and the config file's name")


SECTIONS: dict[str, type[Section]] = {
    "model": ModelSection,
    "data": DataSection,
    "training": TrainingSection,
    "output": OutputSection,
    "metrics": MetricsSection,
}


OLD_KEYS = {("training", "gpu"): ("device", {True: "auto", False: "cpu"})}
"""Keys that files of the published program's history have -> the key of today, and the meanings of their values."""


def allowed_values(section: str, key: str) -> str:
    """Returns in words what a key may be set to."""
    info = SECTIONS[section].model_fields[key]
    if info.json_schema_extra:
        return info.json_schema_extra["allowed"]
    kinds = get_args(info.annotation) if NoneType in get_args(info.annotation) else (info.annotation,)
    kind = get_args(kinds[0])[0] if get_origin(kinds[0]) is Annotated else kinds[0]
    if get_origin(kind) is Literal:
        *most, last = map(repr, get_args(kind))
        words = f"{', '.join(most)} or {last}"
    else:
        words = {bool: "True or False", int: "a whole number", float: "a number", str: "text in quotes"}[kind]
    spoken = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
    bounds = [
        f"{word} {getattr(rule, name):g}" if kind is float else f"{word} {getattr(rule, name)}"
        for name, word in spoken
        for rule in info.metadata
        if getattr(rule, name, None) is not None
    ]
    words += ", " * bool(bounds) + " and ".join(bounds)
    return words + (", or None" if NoneType in kinds else "")
