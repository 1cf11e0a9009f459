"""How the predictions for a source depend on its orientation on the sky: the rotation test of the paper.

Scaife & Porter 2021, arXiv:2102.08252. Legend: N sources, R poses (an angle, mirrored or not), T dropout
passes, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from radgal.classifier import Classifier
from radgal.data.splits import Split
from radgal.evaluation.overlapindex import IMPROVED_BY, compare, of_pairs, overlap_index, overlap_index_reflected
from radgal.evaluation.overlapnoise import changes_by_chance, noise_of_comparison
from radgal.evaluation.probabilities import uncertainties
from radgal.figures.poseplots import Overlaps, PoseSamples, save_comparison, save_rotation
from radgal.files.tables import column_name, file_name, write_table
from radgal.images.transforms import rotate
from radgal.progress import progress, working
from radgal.runs.earlier import new_results
from radgal.runs.files import RunFile, files_of
from utils import UserError, atomic_write, counted, write_json

PUBLISHED_ANGLES = tuple(range(0, 180, 20))  # degrees
POSES_AT_A_TIME = 128  # whatever the run was trained with: the samples of a seed depend on it


@dataclass(frozen=True)
class RotationTest:
    """Everything that a rotation test found.

    ``angles_deg`` (R,) and ``flips`` (R,) are the poses, ``probs`` (N, R, T, K) the samples; ``overlap`` and
    ``overlap_reflected`` (N, R) the two overlap indices between the classes ``pairs`` (N, 2).
    """

    names: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    angles_deg: np.ndarray
    flips: np.ndarray
    probs: np.ndarray
    pairs: np.ndarray
    overlap: np.ndarray
    overlap_reflected: np.ndarray


def angle_range(start: float, stop: float, step: float) -> tuple[float, ...]:
    """Returns start, start + step, ... up to and with ``stop``, degrees.

    Raises:
        UserError: if the range is empty, or runs over more than a whole turn.
    """
    if not (0 <= start <= stop <= 360 and step > 0):
        raise UserError(
            f"angles {start:g} to {stop:g} in steps of {step:g} degrees: need 0 <= start <= stop <= 360 and step > 0"
        )
    return tuple(float(start + step * i) for i in range(int(np.floor((stop - start) / step + 1e-9)) + 1))


def sample_rotations(
    classifier: Classifier,
    split: Split,
    *,
    angles_deg: Sequence[float] = PUBLISHED_ANGLES,
    reflections: bool = False,
    mc_samples: int = 100,
    seed: int = 0,
) -> RotationTest:
    """Returns the dropout samples of every source in every pose, and their overlap indices.

    Poses of all sources go through the network in common batches, and only what follows the first dropout is
    run T times. The overlap is that of the paper's two classes; of more, the two that are most probable for the
    source over all poses.

    Args:
        classifier: the network.
        split: the sources.
        angles_deg: degrees counter-clockwise as displayed.
        reflections: whether every angle is also run on the image mirrored left to right before the rotation.
        mc_samples: T.
        seed: of the dropout.
    """
    classes = classifier.classes
    if len(classes) < 2:
        raise UserError("the overlap index compares two classes, but this network has one")
    if len(angles_deg) == 0 or len(split) == 0:
        raise UserError("the rotation test needs at least one angle and one source")
    angles = np.asarray(angles_deg, dtype=np.float64)
    flips = np.zeros(len(angles), dtype=bool)
    if reflections:
        angles, flips = np.tile(angles, 2), np.repeat([False, True], len(angles))
    n, n_poses = len(split), len(angles)
    passes = replace(classifier, batch_size=POSES_AT_A_TIME).dropout_samples(
        _Repeated(split.images, n_poses),
        mc_samples,
        seed=seed,
        poses=(torch.from_numpy(angles).float().repeat(n), torch.from_numpy(flips).repeat(n)),
    )
    probs = np.ascontiguousarray(passes.swapaxes(0, 1)).reshape(n, n_poses, mc_samples, len(classes))
    pairs = np.sort(np.argsort(-probs.mean(axis=(1, 2)), axis=1, kind="stable")[:, :2], axis=1)
    with working("overlaps of the classes"):
        x, y = of_pairs(probs, pairs)
        published, corrected = overlap_index(x, y), overlap_index_reflected(x, y)
    return RotationTest(
        names=split.names,
        labels=split.labels.cpu().numpy(),
        classes=tuple(classes),
        angles_deg=angles,
        flips=flips,
        probs=probs,
        pairs=pairs,
        overlap=published,
        overlap_reflected=corrected,
    )


class _Repeated:
    """Every image ``times`` times in a row, made only for the rows of the batch that is asked for."""

    def __init__(self, images: torch.Tensor, times: int):
        self.images, self.times = images, times

    def __len__(self) -> int:
        return len(self.images) * self.times

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        return self.images[rows.to(self.images.device) // self.times]


def summarize_sources(test: RotationTest) -> dict[str, np.ndarray]:
    """Returns one value per source: mean overlap over poses, its spread, the entropies, how often it was right.

    ``*_sd`` are standard deviations over poses (R - 1), masked if there is one pose. ``frac_correct`` is the
    fraction of poses in which the mean over passes gives the right class.
    """
    # (T, N, R, K)
    entropies = uncertainties(np.moveaxis(test.probs, 2, 0))
    preds = test.probs.mean(axis=2).argmax(axis=-1)
    rows = {"name": np.asarray(test.names), "label": test.labels}
    rows["label_name"] = np.asarray(test.classes)[test.labels]
    for key, values in (("overlap_index", test.overlap), ("overlap_index_reflected", test.overlap_reflected)):
        rows[key], rows[f"{key}_sd"] = values.mean(axis=1), _sd(values)
    for key, values in entropies.items():
        rows[key] = values.mean(axis=1)
    rows["frac_correct"] = (preds == test.labels[:, None]).mean(axis=1)
    rows["n_classes_predicted"] = np.array([len(set(row)) for row in preds.tolist()])
    return rows


def list_poses(test: RotationTest) -> dict[str, np.ndarray]:
    """Returns one value per source and pose: the indices, the mean and spread of each class, the entropies."""
    n, n_poses = test.overlap.shape
    rows = {
        "name": np.repeat(np.asarray(test.names), n_poses),
        "label": np.repeat(test.labels, n_poses),
        "angle_deg": np.tile(test.angles_deg, n),
        "flip": np.tile(test.flips, n),
        "overlap_index": test.overlap.ravel(),
        "overlap_index_reflected": test.overlap_reflected.ravel(),
    }
    for k, name in enumerate(test.classes):
        rows[column_name("prob_mean", name)] = test.probs[..., k].mean(axis=2).ravel()
        rows[column_name("prob_sd", name)] = test.probs[..., k].std(axis=2).ravel()
    for key, values in uncertainties(np.moveaxis(test.probs, 2, 0)).items():
        rows[key] = values.ravel()
    return rows


def _sd(values: np.ndarray) -> np.ndarray:
    if values.shape[1] < 2:
        return np.ma.masked_all(len(values))
    return values.std(axis=1, ddof=1)


def run_rotation_test(
    folder: str | Path, classifier: Classifier, split: Split, *, max_figures: int = 10, **choices
) -> RotationTest:
    """Runs the rotation test and writes what it found into ``folder``.

    ``rotation_sources.csv`` has a row per source, ``rotation_poses.csv`` a row per source and pose,
    ``rotation_samples.npz`` every sample; ``rotation_figures/`` shows the sources of the largest overlap.

    What another test left of these is put aside, with its comparison with another run.

    Args:
        max_figures: how many sources are drawn.
        choices: passed to :func:`sample_rotations` (angles_deg, reflections, mc_samples, seed).
    """
    if max_figures < 0:
        raise UserError(f"--figures {max_figures}: must be 0 or more")
    folder = Path(folder)
    test = sample_rotations(classifier, split, **choices)
    with new_results(folder, files_of("rotate"), files_of("rotate --compare")) as new:
        write_table(_as_table(summarize_sources(test)), RunFile.ROTATION_SOURCES.at(new))
        write_table(_as_table(list_poses(test)), RunFile.ROTATION_POSES.at(new))
        _save_samples(RunFile.ROTATION_SAMPLES.at(new), test)
        order = np.argsort(-test.overlap.mean(axis=1), kind="stable")[:max_figures]
        for i in progress(order.tolist(), "drawing figures", quiet=False):
            draw_source(RunFile.ROTATION_FIGURES.at(new), test, split, i)
    return test


def _save_samples(path: Path, test: RotationTest) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            names=np.asarray(test.names),
            classes=np.asarray(test.classes),
            labels=test.labels,
            angles_deg=test.angles_deg,
            flips=test.flips,
            probs=test.probs.astype(np.float32),
            pairs=test.pairs,
        )


def draw_source(folder: str | Path, test: RotationTest, split: Split, index: int) -> Path:
    """Writes the published style of figure of one source, named after it; returns where."""
    angles = torch.from_numpy(test.angles_deg).float()
    upright = split.images[index : index + 1].cpu().float().expand(len(angles), -1, -1, -1)
    turned = rotate(upright, angles, torch.from_numpy(test.flips))[:, 0].numpy()
    pair = test.pairs[index].tolist()
    name = test.names[index]
    path = Path(folder) / f"{file_name(name)}.png"
    published, corrected = test.overlap[index].mean(), test.overlap_reflected[index].mean()
    title = f"{name}, {test.classes[test.labels[index]]}\nmean overlap index {published:.3f}, corrected {corrected:.3f}"
    names = [test.classes[k] for k in pair]
    save_rotation(path, PoseSamples(title, test.angles_deg, test.flips, test.probs[index][..., pair], names, turned))
    return path


def write_comparison(
    folder: str | Path, test: RotationTest, other: RotationTest, names: tuple[str, str]
) -> dict[str, dict]:
    """Writes how two runs differ in the mean overlap index of each source, as published and corrected.

    ``rotation_compare.csv`` has a row per source, ``rotation_compare.json`` the counts, ``rotation_compare.png``
    shows the published index.

    Args:
        test, other: of the run, and of the run that it is compared with.
        names: of the two runs, in that order.

    Returns:
        By index name, what :func:`compare` returns, without the single sources.
    """
    place = {name: j for j, name in enumerate(other.names)}
    rows = [(i, place[name]) for i, name in enumerate(test.names) if name in place]
    result, columns = {}, {}
    for key in ("overlap", "overlap_reflected"):
        ours, theirs = getattr(test, key).mean(axis=1), getattr(other, key).mean(axis=1)
        found = compare(test.names, ours, other.names, theirs)
        columns["name"], change = found.pop("names"), found.pop("change")
        index = key.replace("overlap", "overlap_index")
        result[index] = {"run": names[0], "other": names[1], **found}
        if min(test.probs.shape[2], other.probs.shape[2]) > 1:
            chance = changes_by_chance(test, key)[[i for i, _ in rows]], changes_by_chance(other, key)
            result[index] |= noise_of_comparison(np.asarray(change), chance)
        columns |= {
            index: ours[[i for i, _ in rows]],
            f"{index}_other": theirs[[j for _, j in rows]],
            f"{index}_change": change,
        }
    index, against = (np.asarray(columns[key]) for key in ("overlap_index", "overlap_index_other"))
    overlaps = Overlaps(index, against, names, test.labels[[i for i, _ in rows]], test.classes, IMPROVED_BY)
    with new_results(Path(folder), files_of("rotate --compare")) as new:
        write_table(_as_table(columns), RunFile.ROTATION_COMPARE_CSV.at(new))
        write_json(RunFile.ROTATION_COMPARE_JSON.at(new), result)
        save_comparison(RunFile.ROTATION_COMPARE_PNG.at(new), overlaps)
    return result


def describe(test: RotationTest) -> str:
    """Returns the rotation test as a few lines of text."""
    means = test.overlap.mean(axis=1)
    worst = int(means.argmax())
    lines = [
        f"rotation test: {counted(len(test.names), 'source')}, {counted(len(test.angles_deg), 'pose')}, "
        f"{counted(test.probs.shape[2], 'dropout pass', several='dropout passes')} each",
        f"  mean overlap index as published {means.mean():.4f}, corrected {test.overlap_reflected.mean():.4f}",
        f"  largest {means[worst]:.4f}: {test.names[worst]} ({test.classes[test.labels[worst]]})",
    ]
    return "\n".join(lines)


def _as_table(columns: dict):
    from astropy.table import Table

    return Table(columns)
