"""How far a network's feature maps turn with the image, and its logits stay as they are.

Legend: N images, C channels, S pixels along each side, K classes, R poses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from radgal.classifier import Classifier
from radgal.data.splits import TrainingData
from radgal.figures.poseplots import save_equivariance
from radgal.files.tables import write_table
from radgal.images.transforms import exact_quarter_turns, rotate
from radgal.progress import progress
from radgal.runs.earlier import new_results
from radgal.runs.files import RunFile, files_of
from utils import UserError

if TYPE_CHECKING:
    from astropy.table import Table


def group_elements(symmetry: tuple[str, int]) -> list[tuple[float, bool]]:
    """Returns the (angle_deg, flip) of every element of a network's symmetry group, the identity first.

    Args:
        symmetry: ('e', 1), ('C', N) or ('D', N).
    """
    kind, n = symmetry
    turns = [360.0 * i / n for i in range(n)]
    return [(angle, flip) for flip in ((False, True) if kind == "D" else (False,)) for angle in turns]


def turn(x: Tensor, angle_deg: float, flip: bool, fill: float = 0.0) -> Tensor:
    """Returns (N, C, S, S) mirrored left to right if ``flip``, then rotated counter-clockwise as displayed.

    Multiples of 90 degrees move whole pixels; other angles are interpolated bilinearly.
    """
    quarters = exact_quarter_turns(angle_deg)
    if quarters is not None:
        return torch.rot90(x.flip(-1) if flip else x, quarters, dims=(-2, -1))
    angles = torch.full((len(x),), angle_deg)
    return rotate(x, angles, torch.full((len(x),), flip), fill)


def inner_disc(side: int, device: torch.device | str = "cpu") -> Tensor:
    """Returns a bool (side, side) mask of the inscribed disc less one pixel, which every rotation fills."""
    y = torch.arange(side, device=device) - (side - 1) / 2
    return y[:, None] ** 2 + y**2 <= (side / 2 - 1) ** 2


def measure_pose(upright: tuple[Tensor, Tensor], posed: tuple[Tensor, Tensor], angle_deg: float, flip: bool) -> dict:
    """Returns the errors of one pose g over a batch of images x; an undefined one is None.

    - ``equivariance_error`` ||phi(g x) - g phi(x)|| / ||phi(x)||, phi the trunk up to group pooling, whose
      channels are scalar fields, which g only moves about (Weiler & Cesa 2019, arXiv:1911.08251). The
      norm is over all images, channels and pixels: all pixels for multiples of 90 degrees, else the inscribed disc.
    - ``invariance_error`` ||f(g x) - f(x)|| / ||f(x)||, f the logits, over all images.
    - ``frac_preds_changed``: fraction of images of which the predicted class changes.

    Approximate because: off multiples of 90 degrees both the image and the feature map are interpolated on the
    pixel grid, and neither convolution nor pooling commutes with that; the error is then above 0 for any network.

    Args:
        upright, posed: the trunk's maps (N, C, h, w) and the logits (N, K) of x and of g x.
    """
    (features, logits), (turned, logits_posed) = upright, posed
    expected = turn(features, angle_deg, flip)
    if exact_quarter_turns(angle_deg) is None:
        disc = inner_disc(features.shape[-1], features.device)
        features, turned, expected = features[..., disc], turned[..., disc], expected[..., disc]
    return {
        "equivariance_error": _relative(turned - expected, features),
        "invariance_error": _relative(logits_posed - logits, logits),
        "frac_preds_changed": float((logits.argmax(1) != logits_posed.argmax(1)).float().mean()),
    }


def _relative(difference: Tensor, reference: Tensor) -> float | None:
    """Returns the ratio of two norms; 0 if both vanish, None if only the reference does."""
    top, bottom = float(difference.double().norm()), float(reference.double().norm())
    if not np.isfinite(top) or not np.isfinite(bottom):
        raise UserError("the network's outputs are NaN or infinite; use an earlier checkpoint of the run")
    if bottom == 0:
        return 0.0 if top == 0 else None
    return top / bottom


def choose_images(data: Mapping[str, TrainingData], n_images: int) -> tuple[dict[str, Tensor], bool]:
    """Returns for each network's data ``n_images`` images, of the same sources for all of them where that is possible.

    They are spread evenly over the training and validation sources; test sources are not looked at.

    Returns:
        (uint8 images (N, 1, S, S) by name, whether they show the same sources). Data sets without a source in common
        give images of their own.

    Raises:
        UserError: if ``n_images`` is below 1.
    """
    if n_images < 1:
        raise UserError(f"--n-images {n_images}: at least one image is needed")
    rows = {
        key: {name: (part, i) for part in (one.train, one.val) if part is not None for i, name in enumerate(part.names)}
        for key, one in data.items()
    }
    shared = set.intersection(*(set(names) for names in rows.values()))
    images = {}
    for key, names in rows.items():
        usable = sorted(shared or names)
        chosen = [usable[len(usable) * i // n_images] for i in range(min(n_images, len(usable)))]
        images[key] = torch.stack([part.images[i] for part, i in (names[name] for name in chosen)])
    return images, bool(shared)


@torch.inference_mode()
def measure_errors(classifier: Classifier, images: Tensor, *, step_deg: float = 5.0) -> list[dict]:
    """Returns the errors of a network for every element of its group, and over a grid of angles to 360 degrees.

    Args:
        classifier: its network with ``trunk`` and ``symmetry``, in float32 or float64.
        images: uint8 (N, 1, S, S), real ones: white noise has other errors.
        step_deg: of the grid, degrees. The grid is not mirrored; the elements of D_N are.

    Returns:
        Rows with ``angle_deg``, ``flip``, ``is_element`` (of the network's group), ``exact`` (whether the pose moves
        whole pixels) and the errors of :func:`measure_pose`; sorted by flip, then angle.
    """
    if not 0 < step_deg <= 360:
        raise UserError(f"a step of {step_deg:g} degrees makes no grid of angles; choose one from above 0 to 360")
    if len(images) == 0:
        raise UserError("there are no images to measure equivariance on")
    model = classifier.model.eval()
    elements = {(round(angle, 9), flip) for angle, flip in group_elements(model.symmetry)}
    grid = {(round(step_deg * i, 9), False) for i in range(int(360 / step_deg + 1e-9) + 1)}
    grid |= {(90.0 * quarters, False) for quarters in range(5)}
    dtype = next(model.parameters()).dtype
    x = classifier.to_input(images).to(dtype)
    upright, rows = (model.trunk(x), model(x)), []
    poses = sorted(elements | grid, key=lambda pose: (pose[1], pose[0]))
    for angle, flip in progress(poses, "poses", classifier.quiet):
        x_turned = turn(x, angle, flip, fill=classifier.preparation.background)
        rows.append(
            {
                "angle_deg": angle,
                "flip": flip,
                "is_element": (angle % 360, flip) in elements,
                "exact": exact_quarter_turns(angle) is not None,
                **measure_pose(upright, (model.trunk(x_turned), model(x_turned)), angle, flip),
            }
        )
    return rows


def run_equivariance(
    folder: str | Path,
    classifiers: Mapping[str, Classifier],
    images: Mapping[str, Tensor],
    *,
    step_deg: float = 5.0,
) -> list[dict]:
    """Measures several networks side by side; writes equivariance.csv, equivariance_summary.csv and equivariance.png.

    Args:
        folder: where to write.
        classifiers: by the name that the table and figure show.
        images: by the same names, uint8 (N, 1, S, S), the same sources for all.
        step_deg: as in :func:`measure_errors`.

    Returns:
        The rows of equivariance.csv.
    """
    rows, curves = [], {}
    for name, classifier in classifiers.items():
        found = measure_errors(classifier, images[name], step_deg=step_deg)
        rows += [{"model": name, **row} for row in found]
        curve = [row for row in found if not row["flip"]]
        curves[name] = {
            key: np.array([np.nan if row[key] is None else row[key] for row in curve])
            for key in ("angle_deg", "is_element", "equivariance_error", "invariance_error")
        }

    with new_results(Path(folder), files_of("equivariance")) as new:
        write_table(_as_table(rows), RunFile.EQUIVARIANCE.at(new))
        write_table(_as_table(summarize(rows)), RunFile.EQUIVARIANCE_SUMMARY.at(new))
        save_equivariance(RunFile.EQUIVARIANCE_PNG.at(new), curves)
    return rows


def _as_table(rows: Sequence[dict]) -> Table:
    """Returns rows of the same keys as a table, what is None masked."""
    from astropy.table import MaskedColumn, Table

    columns = {key: [row[key] for row in rows] for key in rows[0]}
    return Table(
        {
            key: MaskedColumn([0 if value is None else value for value in values], mask=[v is None for v in values])
            for key, values in columns.items()
        }
    )


def summarize(rows: Sequence[dict]) -> list[dict]:
    """Returns, for each model, its largest and mean errors over quarter turns, over its own group, over the grid."""
    kinds = {
        "quarter turns": lambda row: row["exact"] and not row["flip"],
        "elements of its group": lambda row: row["is_element"],
        "all angles": lambda row: not row["flip"],
    }
    result = []
    for name in dict.fromkeys(row["model"] for row in rows):
        for kind, belongs in kinds.items():
            chosen = [row for row in rows if row["model"] == name and belongs(row)]
            entry: dict = {"model": name, "poses": kind, "n_poses": len(chosen)}
            for key in ("equivariance_error", "invariance_error", "frac_preds_changed"):
                values = [row[key] for row in chosen if row[key] is not None]
                entry[f"{key}_max"] = max(values, default=None)
                entry[f"{key}_mean"] = float(np.mean(values)) if values else None
            result.append(entry)
    return result


def describe(rows: Sequence[dict]) -> str:
    """Returns the summary as a text table."""
    lines = [f"{'network':24}{'poses':24}{'trunk equivariance':>20}{'logit invariance':>20}   (largest relative error)"]
    for row in summarize(rows):
        errors = [row["equivariance_error_max"], row["invariance_error_max"]]
        cells = ["-" if error is None else f"{error:.2e}" for error in errors]
        lines.append(f"{row['model']:24}{row['poses']:24}{cells[0]:>20}{cells[1]:>20}")
    return "\n".join(lines)
