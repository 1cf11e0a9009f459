"""A network's test sources against odd ones: hybrids, uncertain sources, empty sky.

Legend: N sources.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from radgal.data.othertest import load_other_test
from radgal.data.samesource import TWIN_ARCSEC
from radgal.data.splits import Split, load_training_data
from radgal.evaluation.elsewhere import learned_sources
from radgal.evaluation.novelty import ODDNESS, Features, oddness
from radgal.evaluation.probabilities import uncertainties
from radgal.evaluation.questions import odd
from radgal.evaluation.questions.question import Asked
from radgal.evaluation.results import check_data, load_test
from radgal.figures.panels import save_panels
from radgal.figures.style import spared
from radgal.files.tables import write_table
from radgal.images.blank import blank_fields
from radgal.runs.checkpoint import TrainedRun
from radgal.runs.earlier import new_results
from radgal.runs.files import RunFile, files_of
from utils import UserError, counted, write_json

if TYPE_CHECKING:
    from astropy.table import Table

BLANK = "blank"
N_BLANK = 100


def test_against(
    run: TrainedRun,
    folder: Path | None,
    against: Sequence[str],
    *,
    dataset: str | None = None,
    mc_samples: int = 100,
    seed: int = 0,
    say: Callable[..., None] = print,
) -> dict:
    """Returns and writes how well scores of oddness tell sets of odd sources from the test sources of a run.

    What the run, or one that its first weights came from, was trained or validated on is in none of the sets, and no
    usual source is in an odd one.

    Args:
        run: the network.
        folder: where to write against.json, .csv and .png; None: nothing is written.
        against: data sets, or tables of images, as in :func:`radgal.data.othertest.load_other_test`; 'blank': noise.
        dataset: whose sources are the usual ones; None: the run's own test set.
        mc_samples: dropout passes.
        seed: of dropout and noise.
        say: prints.

    Returns:
        The content of against.json: which run and data, and under "questions" the answer.

    Raises:
        UserError: if the data cannot be had, or nothing is left of a set.
    """
    training, learned = load_training_data(run.config, run.keeps_together), learned_sources(run)
    check_data(run, training)
    name, usual = _usual(run, dataset, learned, training)
    splits, left_out = {}, {}
    for one in dict.fromkeys(against):
        if one == BLANK:
            fields = blank_fields(run.preparation, N_BLANK, seed)
            splits[one] = Split(fields, torch.zeros(N_BLANK), tuple(f"blank {i + 1}" for i in range(N_BLANK)))
            continue
        other = load_other_test(run.config, one, learned + usual.sources, "--against")
        splits[one], left_out[one] = other.split, list(other.left_out)
        n_all = len(other.left_out) + len(other.split)
        say(f"{len(other.left_out)} of {counted(n_all, 'source')} of {one} are left out: learned from, or in {name}")
    reference = run.features(training.train.images)
    space = None if reference is None else Features(reference, training.train.labels.numpy())
    table = _table({name: usual} | splits, name, run, space, mc_samples, seed)
    about = {"run": run.config.name, "epoch": run.epoch, "training_seed": run.seed, "seed": seed}
    about |= {"mc_samples": mc_samples, "left_out": left_out}
    answer = odd.ask(Asked(table, about))
    found = about | {"questions": {odd.QUESTION.key: answer}}
    if folder is not None:
        with new_results(folder, files_of("evaluate --against"), say=say) as new:
            write_json(RunFile.AGAINST.at(new), found)
            write_table(table, RunFile.AGAINST_CSV.at(new))
            with spared(print):
                save_panels(RunFile.AGAINST_PNG.at(new), odd.panels(answer))
    return found


def _usual(run: TrainedRun, dataset: str | None, learned: Any, training: Any) -> tuple[str, Split]:
    """Returns the name and the images of the usual sources, those of the classes that the network knows."""
    if dataset is None:
        test = load_test(run, training)[0]
        known = set(test.sources.rows_in(learned, TWIN_ARCSEC))
        return f"{run.config.data.dataset} test", test.take([row for row in range(len(test)) if row not in known])
    other = load_other_test(run.config, dataset, learned)
    if other.in_classes(tuple(run.classes)) is None:
        raise UserError(
            f"--dataset {dataset}: its classes are {', '.join(other.classes)}, but the usual sources must be of those "
            f"that the network knows, {', '.join(run.classes)}; name it after --against"
        )
    return dataset, other.split


def _table(
    splits: dict[str, Split], usual: str, run: TrainedRun, space: Features | None, mc_samples: int, seed: int
) -> Table:
    """Returns a row per source: name, set, whether it is odd, and the scores of oddness."""
    from astropy.table import Column, Table, vstack

    parts = []
    for name, split in splits.items():
        passes = run.dropout_samples(split.images, mc_samples, seed=seed)
        scores = oddness(run.logits(split.images), uncertainties(passes)["predictive_entropy"])
        if space is not None:
            scores["distance"] = space.distance(run.features(split.images))
        part = Table({"name": np.array(split.names), "set": np.full(len(split), name)})
        part["odd"] = np.full(len(split), name != usual)
        for key, values in scores.items():
            part[key] = Column(values, description=ODDNESS[key])
        parts.append(part)
    return vstack(parts)


def describe(found: dict) -> str:
    """Returns how well each set is told by each score, as lines of text."""
    answer = found["questions"][odd.QUESTION.key]
    usual, width = answer["usual"], max(map(len, ODDNESS.values()))
    lines = [f"told from {counted(usual['n'], 'source')} of {usual['name']}, 95 % intervals"]
    for name, one in answer["sets"].items():
        lines.append(f"  {name}: {counted(one['n'], 'source')}")
        for key, of in one["scores"].items():
            area, passing = (
                f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"
                for entry in (of["roc_auc"], of["fpr95"])
            )
            lines.append(f"    {ODDNESS[key]:{width}}  ROC area {area}; {passing} pass where 95 % of the usual do")
    return "\n".join(lines)
