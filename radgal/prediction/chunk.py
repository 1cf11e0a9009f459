"""What trained networks say of new images: one chunk of a catalog at a time, each written as a part of its own.

A chunk is a task that may be run anywhere and more than once: :func:`predict_chunk` takes plain arguments, gives the
same part whenever it is run, and leaves a finished part alone.

Legend: N images, M runs (an ensemble, or one), T dropout passes, R rotations, K classes, S pixels.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radgal.classifier import Classifier, only_dropout, softmax
from radgal.data.splits import Split
from radgal.evaluation.averaging import average_over_poses, has_reflections
from radgal.evaluation.probabilities import uncertainties
from radgal.evaluation.rotation import PUBLISHED_ANGLES, sample_rotations
from radgal.files.tables import column_name
from radgal.images.preparation import Poses, Preparation
from radgal.images.reading import FLAGS
from radgal.prediction.catalog import Column, Part, write_part
from radgal.prediction.inputs import Reading, Source, Where, describe_reading, read_ahead
from radgal.prediction.intraining import IN_TRAINING, are_learned
from radgal.prediction.survey import columns as survey_columns
from radgal.prediction.survey import fill, open_survey
from radgal.prediction.thumbnails import Maker, path_beside
from radgal.pretrained import registry
from radgal.runs import checkpoint
from radgal.runs.checkpoint import TrainedRun
from utils import UserError, float32_in_full, pick_device, sha256_of


@dataclass(frozen=True)
class Member:
    """One run of the ensemble."""

    path: str  # of the checkpoint; of a network that comes along, its name
    sha256: str
    preparation: Preparation
    reflections: bool  # whether it is averaged over these, too
    temperature: float | None = None  # of its calibrated probabilities
    lists_sources: bool = False  # whether its checkpoint says what it was trained on; older ones do not


@dataclass(frozen=True)
class Settings:
    """Everything but the images that a catalog depends on, and (below the line) how the work is done."""

    members: tuple[Member, ...]
    classes: tuple[str, ...]
    rotations: int = 1  # R, evenly spaced, over which probabilities are averaged; see averaging.fixed_poses
    mc_samples: int = 100  # T; 0: no dropout passes
    overlap: bool = False
    seed: int = 0
    rescale: bool = False
    mosaic: str | None = None
    hdu: str | None = None  # of FITS files; None: whichever seems to be the image
    priors: tuple[float, ...] | None = None  # shares of the classes in the survey
    shares: tuple[float, ...] | None = None  # and among the training sources, with ``priors``
    sets: float | None = None  # coverage of the conformal sets
    limits: tuple[float | None, ...] | None = None  # and their thresholds by class

    @property
    def temperatures(self) -> list[float] | None:
        """Those of the runs, if each has one: then there are calibrated probabilities."""
        found = [member.temperature for member in self.members]
        return None if None in found else found

    # Nothing of these changes a result by more than rounding.
    batch_size: int = 64
    threads: int = 2  # that read images
    device: str = "auto"
    page: bool = False  # whether pictures are kept for the page beside the catalog

    @property
    def where(self) -> Where:
        """How sources are read."""
        return Where(self.mosaic, self.hdu, self.rescale)


LOWEST = {"mc_samples": 0, "rotations": 1, "batch_size": 1, "threads": 1}


@dataclass(frozen=True)
class Chunk:
    """Some sources, and the file that what is found of them goes into."""

    part: str
    sources: tuple[Source, ...]


def open_settings(runs: Sequence[str], **choices: Any) -> Settings:
    """Returns the settings for an ensemble of runs, after a look into every checkpoint.

    Args:
        runs: run folders, checkpoints, or names of networks that come along.
        choices: the other fields of :class:`Settings`.

    Raises:
        UserError: if a choice is out of range, a run cannot be used, the runs have different classes, or images are to
            be resampled to a pixel scale that is not known.
    """
    choices = {name: one.item() if isinstance(one, np.generic) else one for name, one in choices.items()}
    if choices.get("hdu") is not None:
        choices["hdu"] = str(choices["hdu"])
    for name, lowest in LOWEST.items():
        if choices.get(name, lowest) < lowest:
            raise UserError(f"--{name.replace('_', '-')} {choices[name]}: at least {lowest} is needed")
    if choices.get("overlap") and choices.get("mc_samples") == 0:
        raise UserError("--overlap compares dropout passes: leave --mc-samples at 1 or more")
    members, classes, opened = [], None, []
    for run in runs:
        found = checkpoint.find(run)
        path = registry.name_of(found) or str(found)
        sha256 = _sha256(path)
        trained = _load(path, sha256, choices.get("device", Settings.device))
        if classes not in (None, trained.classes):
            raise UserError(
                f"the runs of an ensemble must have the same classes: {runs[0]} has {', '.join(classes)}, "
                f"{run} has {', '.join(trained.classes)}"
            )
        classes = trained.classes
        preparation = trained.preparation
        if choices.get("rescale") and preparation.pixel_scale_arcsec is None:
            raise UserError(
                f"--rescale: the pixel scale of the training images of {run} is not known ([data] pixel_scale was not "
                "given when it was trained); leave --rescale out"
            )
        reflections = has_reflections(trained.model, choices.get("rotations", Settings.rotations))
        known = trained.temperature, "sources" in trained.checkpoint
        members.append(Member(path, sha256, preparation, reflections, *known))
        opened.append(trained)
    return Settings(tuple(members), classes, **choices | open_survey(opened, choices))


def _sha256(path: str) -> str:
    try:
        return sha256_of(checkpoint.find(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


@lru_cache(maxsize=16)
def _load(path: str, sha256: str, device: str) -> TrainedRun:
    if _sha256(path) != sha256:
        raise UserError(f"{path} has changed since the prediction was started; start it again without --resume")
    return checkpoint.load_run(path, pick_device(device))


def open_runs(settings: Settings) -> list[TrainedRun]:
    """Returns the networks of the settings, each read once per process.

    Raises:
        UserError: if a checkpoint is not what it was when the settings were opened.
    """
    return [_load(member.path, member.sha256, settings.device) for member in settings.members]


def load(member: Member, device: str) -> TrainedRun:
    """Returns a run of the ensemble; it is read once per process."""
    return _load(member.path, member.sha256, device)


def columns_of(settings: Settings) -> list[Column]:
    """Returns the columns of the catalog that these settings make."""
    several = len(settings.members) * max(settings.mc_samples, 1) > 1
    samples = "dropout passes" if settings.mc_samples else "runs"
    is_calibrated = settings.temperatures is not None
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
        ("prob_calibrated", "probability of {}, calibrated: dropout off, logits over the temperature", is_calibrated),
        ("prob_mean", f"probability of {{}}, mean over {samples}", several),
        ("prob_sd", f"probability of {{}}, standard deviation over {samples}", several),
    ):
        columns += [Column(column_name(prefix, k), "number", None, what.format(k)) for k in settings.classes if there]
    if several:
        names = ("predictive_entropy", "expected_entropy", "mutual_information")
        columns += [Column(name, "number", None, f"{name.replace('_', ' ')} over {samples}, nats") for name in names]
    columns += survey_columns(settings.classes, settings.priors, settings.sets)
    if settings.overlap:
        angles = f"{len(PUBLISHED_ANGLES)} angles"
        columns += [
            Column("overlap_index", "number", None, f"overlap index, mean over {angles}"),
            Column("overlap_index_sd", "number", None, f"overlap index, standard deviation over {angles}"),
            Column("overlap_index_reflected", "number", None, f"corrected overlap index, mean over {angles}"),
        ]
    if all(member.lists_sources for member in settings.members):
        columns.append(Column(IN_TRAINING, "flag", None, "1: a network was trained or validated on it; 0: none was"))
    return columns + [
        Column("pixel_scale_arcsec", "number", "arcsec", "side of a pixel of the file, of a square as large"),
        Column("nan_fraction", "number", None, "fraction of pixels without a value"),
        Column("flags", "text", None, "; ".join(f"{flag}: {text}" for flag, text in FLAGS.items())),
        Column("error", "text", None, "why there is no prediction"),
    ]


@float32_in_full()
def predict_chunk(settings: Settings, chunk: Chunk, advance: Callable[[int], object] = lambda n: None) -> str:
    """Writes the part of one chunk, unless it is there already; returns its path.

    All arguments can be pickled, and the networks are read once per process.

    Args:
        advance: called with the number of images after each batch.
    """
    path = Path(chunk.part)
    if path.exists():
        advance(len(chunk.sources))
        return chunk.part
    runs, columns = open_runs(settings), columns_of(settings)
    batches = read_ahead(
        chunk.sources,
        [member.preparation for member in settings.members],
        settings.where,
        batch_size=settings.batch_size,
        threads=settings.threads,
    )
    done: list[Part] = []
    pictures = Maker(settings.members[0].preparation.pixel_scale_arcsec if settings.rescale else None)
    with warnings.catch_warnings():  # what reading threads do to the filters ends here
        for readings in batches:
            done.append(predict_batch(settings, runs, columns, readings))
            if settings.page:
                pictures.add(readings)
            advance(len(readings))
    part = {column.name: np.concatenate([rows[column.name] for rows in done]) for column in columns}
    if settings.page:  # first, so that a part that is there has its pictures
        pictures.write(path_beside(path))
    write_part(path, columns, part)
    return chunk.part


def predict_batch(
    settings: Settings, runs: Sequence[TrainedRun], columns: Sequence[Column], readings: Sequence[Reading]
) -> Part:
    """Returns the rows of some sources; of those that could not be read, with an error and no probabilities."""
    part = {column.name: column.blank(len(readings)) for column in columns}
    about = [describe_reading(reading) for reading in readings]
    part |= {name: np.array([row[name] for row in about]) for name in part if name in about[0]}
    rows = [i for i, reading in enumerate(readings) if reading.images]
    if rows:
        found = _classify(settings, runs, [readings[i] for i in rows])
        for name, values in found.items():
            if values.dtype.kind == "U":
                part[name] = part[name].astype(values.dtype)
            part[name][rows] = values
    if rows and IN_TRAINING in part:
        pixels = [
            np.stack([readings[i].images[member.preparation.reading].pixels for i in rows])
            for member in settings.members
        ]
        places = np.stack([part["ra_deg"][rows], part["dec_deg"][rows]], axis=1)
        part[IN_TRAINING][rows] = are_learned([run.checkpoint for run in runs], pixels, places)
    return part


def _classify(settings: Settings, runs: Sequence[TrainedRun], readings: Sequence[Reading]) -> dict[str, np.ndarray]:
    """Returns the columns that the networks fill, for N sources with images."""
    probs, calibrated, samples, overlaps = [], [], [], []
    for member, run in zip(settings.members, runs, strict=True):
        pixels = np.stack([reading.images[member.preparation.reading].pixels for reading in readings])
        images = run.preparation.crop(torch.from_numpy(pixels))
        seeds = [_seed_of(settings.seed, member.sha256, one) for one in pixels]
        how = dict(rotations=settings.rotations, mc_samples=settings.mc_samples)
        p, passes, scaled = predict_images(run, images, seeds, **how)
        probs.append(p)
        calibrated.append(scaled)
        samples.append(passes if settings.mc_samples else p[None])
        if settings.overlap:
            overlaps.append(_overlap_indices(run, images, seeds, settings.mc_samples))
    mean, passes = np.mean(probs, axis=0), np.concatenate(samples)
    found = {"pred_name": np.array(settings.classes)[mean.argmax(axis=1)]}
    by_class = {"prob": mean}
    if settings.temperatures is not None:
        by_class["prob_calibrated"] = np.mean(calibrated, axis=0)
    if len(passes) > 1:
        over_runs = settings.mc_samples == 0  # few, so that M - 1 matters
        by_class |= {"prob_mean": passes.mean(axis=0), "prob_sd": passes.std(axis=0, ddof=int(over_runs))}
        found |= uncertainties(passes)
    for prefix, values in by_class.items():
        found |= {column_name(prefix, name): values[:, k] for k, name in enumerate(settings.classes)}
    best, survey = by_class.get("prob_calibrated", mean), settings.priors and (settings.priors, settings.shares)
    found |= fill(settings.classes, mean, best, survey, settings.limits)
    if settings.overlap:
        names = ("overlap_index", "overlap_index_sd", "overlap_index_reflected")
        found |= dict(zip(names, np.mean(overlaps, axis=0).T, strict=True))
    return found


def _seed_of(seed: int, checksum: str, pixels: np.ndarray) -> int:
    """Returns the seed of the dropout passes of one image: the same wherever in whichever list the image is."""
    content = f"{seed} {checksum}".encode() + pixels.tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=7).digest(), "big")


@torch.inference_mode()
def predict_images(
    run: Classifier, images: Tensor, seeds: Sequence[int], *, rotations: int = 1, mc_samples: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns probabilities without dropout (N, K), of T passes with dropout (T, N, K), and calibrated ones (N, K).

    The last are without dropout, of logits over the temperature of the run; where it has none they are the first. All
    are means over the poses of :mod:`radgal.evaluation.averaging`. One pass drops the same units in every pose:
    it is one network drawn from the approximate posterior (Gal & Ghahramani 2016, arXiv:1506.02142), asked again and
    again. What comes before the first dropout is computed once per image and pose.

    Args:
        images: uint8 (N, 1, S, S).
        seeds: N seeds of the dropout passes, so that no image's passes depend on the images beside it.
        rotations: R; 1 leaves the images as they are.
        mc_samples: T.

    Raises:
        UserError: if the network's outputs are NaN or infinite.
    """
    model = run.model.eval()

    def ask(poses: Poses) -> np.ndarray:  # (2 + T, N, K)
        z = model.embed(run.to_input(images, poses))
        logits = model.classify(z)[None]
        logits = torch.cat([logits, logits / (getattr(run, "temperature", None) or 1.0)])
        if mc_samples:
            logits = torch.cat([logits, _sample(model, z, seeds, mc_samples)])
        return softmax(logits.double().cpu().numpy())

    with run.own_random_state():
        both = average_over_poses(ask, model, len(images), rotations)
    return both[0], both[2:], both[1]


def _sample(model: nn.Module, z: Tensor, seeds: Sequence[int], mc_samples: int) -> Tensor:
    """Returns the logits (T, N, K) of embedded images (N, D) with dropout."""
    logits = []
    with only_dropout(model):
        for one, seed in zip(z, seeds, strict=True):
            _set_seed(seed, z.device)
            logits.append(model.classify(one.expand(mc_samples, -1)))
    return torch.stack(logits, dim=1)


def _set_seed(seed: int, device: torch.device) -> None:
    """Seeds one device's dropout; ``torch.manual_seed`` seeds all devices, at many times the cost."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def _overlap_indices(run: Classifier, images: Tensor, seeds: Sequence[int], mc_samples: int) -> np.ndarray:
    """Returns the overlap index of each image, its standard deviation over angles, and the corrected one, (N, 3)."""
    rows = []
    for image, seed in zip(images, seeds, strict=True):
        one = Split(image[None], torch.zeros(1, dtype=torch.int64), ("",))
        test = sample_rotations(replace(run, quiet=True), one, mc_samples=mc_samples, seed=seed)
        rows.append((test.overlap.mean(), test.overlap.std(ddof=1), test.overlap_reflected.mean()))
    return np.array(rows)
