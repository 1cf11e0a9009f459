"""What trained networks say of new images: one chunk of a catalog at a time, each written as a part of its own.

A chunk is a task that may be run anywhere and more than once: :func:`predict_chunk` takes plain arguments, gives the
same part whenever it is run, and leaves a finished part alone.

Legend: N images, M runs (an ensemble, or one), T dropout passes, R rotations, K classes, S pixels.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radgal import checkpoint
from radgal.augment import to_input
from radgal.catalog import Column, Part, write_part
from radgal.checkpoint import TrainedRun
from radgal.config import Config
from radgal.data import DATASETS, Split, crop_and_pad
from radgal.evaluate import only_dropout
from radgal.images import FLAGS, Image, read_image
from radgal.metrics import log_softmax, uncertainties
from radgal.mirabest import parse_source_name
from radgal.mosaic import Mosaic, OffEdge, Position, read_cutout
from radgal.rotation import PUBLISHED_ANGLES, sample_rotations
from radgal.sources import column_name
from utils import UserError, pick_device

Build = Callable[[Config, tuple[str, ...], float, float], nn.Module]
Source = str | Position  # the path of an image, or a position in the mosaic


@dataclass(frozen=True)
class Preparation:
    """How the images of a run's data set were made; carried by its checkpoint, through the data set's name."""

    recipe: str
    native_size: int  # pixels, before the crop to the network's input
    pixel_scale_arcsec: float | None


@dataclass(frozen=True)
class Member:
    """One run of the ensemble."""

    path: str  # of the checkpoint
    sha256: str
    preparation: Preparation
    imsize: int  # pixels
    pad: int


@dataclass(frozen=True)
class Settings:
    """Everything but the images that a catalog depends on, and (below the line) how the work is done."""

    members: tuple[Member, ...]
    classes: tuple[str, ...]
    rotations: int = 1  # R, evenly spaced, over which probabilities are averaged
    mc_samples: int = 100  # T; 0: no dropout passes
    overlap: bool = False
    seed: int = 0
    rescale: bool = False
    mosaic: str | None = None

    # Nothing of these changes a result by more than rounding.
    batch_size: int = 64
    threads: int = 2  # that read images
    device: str = "auto"


@dataclass(frozen=True)
class Chunk:
    """Some sources, and the file that what is found of them goes into."""

    part: str
    sources: tuple[Source, ...]


def open_settings(runs: Sequence[str], build: Build, **choices: Any) -> Settings:
    """Returns the settings for an ensemble of runs, after a look into every checkpoint.

    Args:
        runs: run folders or checkpoints.
        build: makes an untrained network from (config, classes, mean, std).
        choices: the other fields of :class:`Settings`.

    Raises:
        UserError: if a run cannot be used, or the runs have different classes.
    """
    members, classes = [], None
    for run in runs:
        path = checkpoint.find(run)
        trained = _load(str(path), _sha256(path), build, "cpu")
        if classes not in (None, trained.classes):
            raise UserError(
                f"the runs of an ensemble must have the same classes: {runs[0]} has {', '.join(classes)}, "
                f"{run} has {', '.join(trained.classes)}"
            )
        classes = trained.classes
        config = trained.config
        members.append(
            Member(str(path), _sha256(path), preparation_of(config), config.training.imsize, config.data.pad)
        )
    return Settings(tuple(members), classes, **choices)


def preparation_of(config: Config) -> Preparation:
    """Returns how the images that a config trains on were made.

    Raises:
        UserError: if this version of the program does not know the data set.
    """
    dataset = DATASETS.get(config.data.dataset)
    if dataset is None:
        raise UserError(
            f"the run was trained on {config.data.dataset!r}, which this program does not know, so neither how new "
            "images must be prepared; use the version of the program that trained it"
        )
    return Preparation(dataset.recipe, dataset.native_size, dataset.pixel_scale_arcsec)


def _sha256(path: str | Path) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


@lru_cache(maxsize=16)
def _load(path: str, sha256: str, build: Build, device: str) -> TrainedRun:
    if _sha256(path) != sha256:
        raise UserError(f"{path} has changed since the prediction was started; start it again without --resume")
    return checkpoint.load_run(path, build, pick_device(device))


_open_mosaic = lru_cache(maxsize=1)(Mosaic)


def columns_of(settings: Settings) -> list[Column]:
    """Returns the columns of the catalog that these settings make."""
    several = len(settings.members) * max(settings.mc_samples, 1) > 1
    samples = "dropout passes" if settings.mc_samples else "runs"
    columns = [Column("id", "text", None, "name of the source")]
    if settings.mosaic is None:
        columns.append(Column("path", "text", None, "file"))
    columns += [
        Column("ra_deg", "number", "deg", "right ascension, ICRS"),
        Column("dec_deg", "number", "deg", "declination, ICRS"),
        Column("pred_name", "text", None, "most probable class"),
    ]
    for prefix, what, there in (
        ("prob", "probability of {}, dropout off", True),
        ("prob_mean", f"probability of {{}}, mean over {samples}", several),
        ("prob_sd", f"probability of {{}}, standard deviation over {samples}", several),
    ):
        columns += [Column(column_name(prefix, k), "number", None, what.format(k)) for k in settings.classes if there]
    if several:
        names = ("predictive_entropy", "expected_entropy", "mutual_information")
        columns += [Column(name, "number", None, f"{name.replace('_', ' ')} over {samples}, nats") for name in names]
    if settings.overlap:
        angles = f"{len(PUBLISHED_ANGLES)} angles"
        columns += [
            Column("overlap_index", "number", None, f"overlap index, mean over {angles}"),
            Column("overlap_index_sd", "number", None, f"overlap index, standard deviation over {angles}"),
            Column("overlap_index_reflected", "number", None, f"corrected overlap index, mean over {angles}"),
        ]
    return columns + [
        Column("pixel_scale_arcsec", "number", "arcsec", "side of a pixel of the file"),
        Column("nan_fraction", "number", None, "fraction of pixels without a value"),
        Column("flags", "text", None, "; ".join(f"{flag}: {text}" for flag, text in FLAGS.items())),
        Column("error", "text", None, "why there is no prediction"),
    ]


def predict_chunk(
    settings: Settings, chunk: Chunk, build: Build, advance: Callable[[int], object] = lambda n: None
) -> str:
    """Writes the part of one chunk, unless it is there already; returns its path.

    All arguments can be pickled, and the networks are read once per process.

    Args:
        build: makes an untrained network from (config, classes, mean, std).
        advance: called with the number of images after each batch.
    """
    path = Path(chunk.part)
    if path.exists():
        advance(len(chunk.sources))
        return chunk.part
    runs = [_load(member.path, member.sha256, build, settings.device) for member in settings.members]
    columns = columns_of(settings)
    done: list[Part] = []
    for readings in _read_ahead(settings, chunk.sources):
        done.append(predict_batch(settings, runs, columns, readings))
        advance(len(readings))
    part = {column.name: np.concatenate([rows[column.name] for rows in done]) for column in columns}
    write_part(path, columns, part)
    return chunk.part


@dataclass(frozen=True, eq=False)
class Reading:
    """A source as it was read: an image for each way of preparing it, or an error."""

    source: Source
    images: dict[Preparation, Image]
    flags: tuple[str, ...]
    error: str


def _read_ahead(settings: Settings, sources: Sequence[Source]) -> Iterator[list[Reading]]:
    """Yields batches of sources, each read by a few threads while the one before it is worked on."""
    if settings.mosaic is not None:
        _open_mosaic(settings.mosaic)
    batches = [sources[i : i + settings.batch_size] for i in range(0, len(sources), settings.batch_size)]
    with ThreadPoolExecutor(max_workers=settings.threads) as pool:
        waiting = None
        for batch in [*batches, None]:
            following = batch and [pool.submit(_read, settings, source) for source in batch]
            if waiting is not None:
                yield [future.result() for future in waiting]
            waiting = following


def _read(settings: Settings, source: Source) -> Reading:
    """Returns a source as every run needs it; what goes wrong with one file must not end the others."""
    preparations = dict.fromkeys(member.preparation for member in settings.members)
    try:
        images = {one: _prepare(settings, source, one) for one in preparations}
    except OffEdge as error:
        return Reading(source, {}, ("off_edge",), str(error))
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return Reading(source, {}, (), " ".join(reason.split()) or type(error).__name__)
    flags = {flag for image in images.values() for flag in image.flags}
    if _las_arcsec(source) > _field_arcsec(settings, images):
        flags.add("too_large")
    ordered = tuple(flag for flag in FLAGS if flag in flags)
    if all(image.nan_fraction == 1 for image in images.values()):
        return Reading(source, {}, ordered, "no pixel has a value")
    return Reading(source, images, ordered, "")


def _prepare(settings: Settings, source: Source, preparation: Preparation) -> Image:
    scale = preparation.pixel_scale_arcsec
    if settings.rescale and scale is None:
        raise UserError("the pixel scale of the training images is not known, so images cannot be resampled to it")
    how: dict[str, Any] = dict(
        recipe=preparation.recipe,
        native_size=preparation.native_size,
        expected_arcsec=scale,
        rescale_to_arcsec=scale if settings.rescale else None,
    )
    if isinstance(source, Position):
        return read_cutout(_open_mosaic(settings.mosaic), source, **how)
    return read_image(source, **how)


def _las_arcsec(source: Source) -> float:
    """Returns the largest angular size of a source, from its catalog or a MiraBest file name; NaN if not known."""
    return source.las_arcsec if isinstance(source, Position) else parse_source_name(source)["las_arcsec"]


def _field_arcsec(settings: Settings, images: dict[Preparation, Image]) -> float:
    """Returns the side of the smallest field that a run of the ensemble sees; NaN if not known."""
    sides = []
    for member in settings.members:
        trained, own = member.preparation.pixel_scale_arcsec, images[member.preparation].pixel_scale_arcsec
        scale = trained if settings.rescale or own is None else own
        sides.append(np.nan if scale is None else member.imsize * scale)
    return float(np.min(sides))


def predict_batch(
    settings: Settings, runs: Sequence[TrainedRun], columns: Sequence[Column], readings: Sequence[Reading]
) -> Part:
    """Returns the rows of some sources; of those that could not be read, with an error and no probabilities."""
    part = {column.name: column.blank(len(readings)) for column in columns}
    text = {"id": [], "flags": [], "error": []} | ({"path": []} if "path" in part else {})
    for i, reading in enumerate(readings):
        is_position = isinstance(reading.source, Position)
        text["id"].append(reading.source.id if is_position else _stem(reading.source))
        text["flags"].append(";".join(reading.flags))
        text["error"].append(reading.error)
        if not is_position:
            text["path"].append(reading.source)
        where = (reading.source.ra_deg, reading.source.dec_deg) if is_position else None
        for image in list(reading.images.values())[:1]:
            where = where or image.position
            part["nan_fraction"][i] = image.nan_fraction
            part["pixel_scale_arcsec"][i] = image.pixel_scale_arcsec or np.nan
        part["ra_deg"][i], part["dec_deg"][i] = where or (np.nan, np.nan)
    part |= {name: np.array(values, dtype=str) for name, values in text.items()}
    rows = [i for i, reading in enumerate(readings) if reading.images]
    if rows:
        found = _classify(settings, runs, [readings[i] for i in rows])
        for name, values in found.items():
            if name == "pred_name":
                part[name] = part[name].astype(values.dtype)
            part[name][rows] = values
    return part


def _stem(path: str) -> str:
    return re.sub(r"\.(fits?|fts)(\.[gf]z)?$|\.(png|jpe?g|npy)$", "", Path(path).name, flags=re.IGNORECASE)


def _classify(settings: Settings, runs: Sequence[TrainedRun], readings: Sequence[Reading]) -> dict[str, np.ndarray]:
    """Returns the columns that the networks fill, for N sources with images."""
    probs, samples, overlaps = [], [], []
    for member, run in zip(settings.members, runs, strict=True):
        pixels = np.stack([reading.images[member.preparation].pixels for reading in readings])
        images = crop_and_pad(torch.from_numpy(pixels), member.imsize, member.pad)
        seeds = [_seed_of(settings.seed, member.sha256, one) for one in pixels]
        p, passes = predict_images(run, images, seeds, rotations=settings.rotations, mc_samples=settings.mc_samples)
        probs.append(p)
        samples.append(passes if settings.mc_samples else p[None])
        if settings.overlap:
            overlaps.append(_overlap_indices(run, images, seeds, settings.mc_samples))
    mean, passes = np.mean(probs, axis=0), np.concatenate(samples)
    found = {"pred_name": np.array(settings.classes)[mean.argmax(axis=1)]}
    by_class = {"prob": mean}
    if len(passes) > 1:
        by_class |= {"prob_mean": passes.mean(axis=0), "prob_sd": passes.std(axis=0)}
        found |= uncertainties(passes)
    for prefix, values in by_class.items():
        found |= {column_name(prefix, name): values[:, k] for k, name in enumerate(settings.classes)}
    if settings.overlap:
        found |= dict(zip(("overlap_index", "overlap_index_sd", "overlap_index_reflected"), np.mean(overlaps, 0).T))
    return found


def _seed_of(seed: int, checksum: str, pixels: np.ndarray) -> int:
    """Returns the seed of the dropout passes of one image: the same wherever in whichever list the image is."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {checksum}".encode() + pixels.tobytes(), digest_size=7).digest())


@torch.inference_mode()
def predict_images(
    run: TrainedRun, images: Tensor, seeds: Sequence[int], *, rotations: int = 1, mc_samples: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns probabilities without dropout (N, K), and those of T passes with dropout (T, N, K).

    Both are means over R evenly spaced rotations. One pass drops the same units in every rotation: it is one network
    drawn from the approximate posterior (Gal & Ghahramani 2016, arXiv:1506.02142), asked R times. What comes before
    the first dropout is computed once per image and rotation.

    Args:
        images: uint8 (N, 1, S, S).
        seeds: N seeds of the dropout passes, so that no image's passes depend on the images beside it.
        rotations: R; 1 leaves the images as they are.
        mc_samples: T.

    Raises:
        UserError: if the network's outputs are NaN or infinite.
    """
    model, device = run.model.eval(), next(run.model.parameters()).device
    probs, passes = 0.0, 0.0
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for angle in (360.0 * i / rotations for i in range(rotations)):
            angles = None if angle == 0 else torch.full((len(images),), angle, device=device)
            z = model.embed(to_input(images.to(device), run.mean, run.std, angles))
            probs = probs + _softmax(model.classify(z)) / rotations
            if mc_samples:
                passes = passes + _softmax(_sample(model, z, seeds, mc_samples)) / rotations
    return probs, passes


def _sample(model: nn.Module, z: Tensor, seeds: Sequence[int], mc_samples: int) -> Tensor:
    """Returns the logits (T, N, K) of embedded images (N, D) with dropout."""
    logits = []
    with only_dropout(model):
        for one, seed in zip(z, seeds, strict=True):
            torch.manual_seed(seed)
            logits.append(model.classify(one.expand(mc_samples, -1)))
    return torch.stack(logits, dim=1)


def _softmax(logits: Tensor) -> np.ndarray:
    values = logits.double().cpu().numpy()
    if not np.isfinite(values).all():
        raise UserError("the network's outputs are NaN or infinite; use an earlier checkpoint of the run")
    return np.exp(log_softmax(values))


def _overlap_indices(run: TrainedRun, images: Tensor, seeds: Sequence[int], mc_samples: int) -> np.ndarray:
    """Returns the overlap index of each image, its standard deviation over angles, and the corrected one, (N, 3)."""
    rows = []
    for image, seed in zip(images, seeds, strict=True):
        one = Split(image[None], torch.zeros(1, dtype=torch.int64), ("",))
        device = next(run.model.parameters()).device
        options = dict(mc_samples=mc_samples, seed=seed, device=device)
        test = sample_rotations(run.model, one, run.mean, run.std, run.classes, **options)
        rows.append((test.overlap.mean(), test.overlap.std(ddof=1), test.overlap_reflected.mean()))
    return np.array(rows)
