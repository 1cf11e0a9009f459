"""Every file and folder that a command writes into the folder of a run, by name."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from utils import UserError


class RunFile(Enum):
    """A row: its name, the command that writes it, what it is, whether a new run puts that of an earlier one aside."""

    # Taken away before anything is changed, and written when all else is: see radgal.runs.finished.
    FINISHED = (
        "finished.json",
        "train",
        "that the run is finished: last and kept epoch, whether it was tested",
    )
    # Between the epochs of a run and at its end. [output] csvfile and modfile move the first two elsewhere.
    HISTORY = "history.csv", "train", "a row as each epoch ends"
    WEIGHTS = "model.pt", "train", "weights of the kept epoch, a plain state dict"
    BEST = "best.pt", "train", "checkpoint of the kept epoch"
    LAST = "last.pt", "train", "checkpoint of the last epoch"
    UNFINISHED = "unfinished.pt", "train", "checkpoint inside the epoch in which the run was stopped"
    CONFIG = "config.txt", "train", "the config with every default filled in"
    ENVIRONMENT = "environment.json", "train", "versions, device, data, kept epoch"
    LOSS = "loss.png", "train", "loss against epoch"
    ERROR = "error.png", "train", "error against epoch"
    LOCK = "run.lock", "train", "who trains here", False  # held by the run that puts the others aside
    LOG = "log.txt", "repeat", "what a run on a worker prints", False  # open while the others are put aside
    # The test result, which a run makes at its end.
    METRICS = "metrics.json", "evaluate", "the test result"
    SOURCES_CSV = "sources.csv", "evaluate", "a row per test source"
    SOURCES_ECSV = "sources.ecsv", "evaluate", "the same with units and types"
    SOURCES_FITS = "sources.fits", "evaluate", "the same as a FITS table"
    GALLERY = "gallery.npz", "evaluate", "images of misclassified and uncertain sources"
    CONFUSION = "confusion.png", "evaluate", "confusion matrix"
    ROC = "roc.png", "evaluate", "receiver operating characteristic"
    RELIABILITY = "reliability.png", "evaluate", "reliability diagram"
    QUESTIONS = "questions", "evaluate", "folder: figure and table of what a survey asks"
    REPORT = "report.html", "report", "all of this on one page"
    # What chooses among recipes, without the test.
    VALIDATION = "validation.json", "repeat --no-test", "what the validation sources say of the kept epoch"
    VALIDATION_CSV = "validation.csv", "repeat --no-test", "a row per validation source"
    # What is made of a run afterwards.
    ROTATION_SOURCES = "rotation_sources.csv", "rotate", "a row per source"
    ROTATION_POSES = "rotation_poses.csv", "rotate", "a row per source and pose"
    ROTATION_SAMPLES = "rotation_samples.npz", "rotate", "every dropout sample"
    ROTATION_FIGURES = "rotation_figures", "rotate", "folder: the sources of the largest overlap"
    ROTATION_COMPARE_CSV = "rotation_compare.csv", "rotate --compare", "change of each source against another run"
    ROTATION_COMPARE_JSON = "rotation_compare.json", "rotate --compare", "how many improved and worsened"
    ROTATION_COMPARE_PNG = "rotation_compare.png", "rotate --compare", "the changes as a figure"
    LOOK = "rotation_look", "rotate --limit", "folder: what a look at some of the sources finds"
    EQUIVARIANCE = "equivariance.csv", "equivariance", "errors by angle"
    EQUIVARIANCE_SUMMARY = "equivariance_summary.csv", "equivariance", "largest and mean errors"
    EQUIVARIANCE_PNG = "equivariance.png", "equivariance", "errors against angle"
    EXPORTED_TORCH = "exported.pt", "export", "the network as TorchScript"
    EXPORTED_ONNX = "exported.onnx", "export", "the network as ONNX"
    AGAINST = "against.json", "evaluate --against", "how well odd sources are told from the usual ones"
    AGAINST_CSV = "against.csv", "evaluate --against", "a row per source, with its scores of oddness"
    AGAINST_PNG = "against.png", "evaluate --against", "the same as ROC curves"
    OTHER = "other", "evaluate --dataset", "folder: tests on other data sets, each in a folder of its name"
    ENSEMBLE = "ensemble", "evaluate --ensemble", "folder: the test of this run averaged with others"
    OF_LAST = "last", "evaluate last.pt", "folder: what the commands find for last.pt"
    OF_UNFINISHED = "unfinished", "evaluate unfinished.pt", "folder: what the commands find for unfinished.pt"

    def __init__(self, file: str, command: str, what: str, is_put_aside: bool = True):
        self.file, self.command, self.what, self.is_put_aside = file, command, what, is_put_aside

    @property
    def is_result(self) -> bool:
        """Whether it says something of the kept network, and nothing any more once that is trained further."""
        return self.command not in ("train", "repeat")

    def at(self, folder: str | Path, *names: str) -> Path:
        """Returns where it lies in a run's folder, or what is called ``names`` in it.

        Raises:
            UserError: if a link there leads out of the run's folder, or it is a device or the like: whoever gave the
                folder away could have had a file of one's own read, overwritten or deleted by that.
        """
        path = Path(folder, self.file, *names)
        forbid_leaving(path, folder)
        return path


def forbid_leaving(path: Path, folder: str | Path) -> None:
    """Raises a UserError if ``path`` leads out of ``folder`` by a link, or is there and neither a file nor a folder."""
    try:
        is_inside = path.resolve().is_relative_to(Path(folder).resolve())
        is_odd = path.exists() and not (path.is_file() or path.is_dir())
    except (OSError, RuntimeError):  # links in a circle, or names too long
        is_inside, is_odd = False, False
    if not is_inside:
        raise UserError(
            f"{path} leads out of {folder} by a link, which is not followed; put what it leads to in its place, or "
            "delete it"
        )
    if is_odd:
        raise UserError(f"{path} is neither a file nor a folder, so it is left alone; delete it")


def files_of(command: str) -> list[RunFile]:
    """Returns what a command writes."""
    return [one for one in RunFile if one.command == command]


def written_by(command: str) -> str:
    """Returns the names of what a command writes, for its last lines."""
    return ", ".join(one.file for one in files_of(command))
