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
from radgal.data.samesource import TWIN_ARCSEC, Sources
from radgal.data.splits import Split, load_training_data
from radgal.evaluation.averaging import members_of
from radgal.evaluation.elsewhere import about_runs, learned_sources, load_common_test
from radgal.evaluation.ensemble import Ensemble
from radgal.evaluation.novelty import ODDNESS, Features, oddness
from radgal.evaluation.probabilities import uncertainties
from radgal.evaluation.questions import odd
from radgal.evaluation.questions.question import Asked
from radgal.evaluation.results import check_data
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
    runs: Sequence[TrainedRun],
    folder: Path | None,
    against: Sequence[str],
    *,
    dataset: str | None = None,
    mc_samples: int = 100,
    seed: int = 0,
    say: Callable[..., None] = print,
) -> dict:
    """Returns and writes how well scores of oddness tell sets of odd sources from the test sources of a run.

    What a run, or one that its first weights came from, was trained or validated on is in none of the sets, and no
    usual source is in an odd one. Of several runs entropy and probability are those of the ensemble, energy and
    distance are means over the networks, each with features of its own.

    Args:
        runs: at least one.
        folder: where to write against.json, .csv and .png; None: nothing is written.
        against: data sets, or tables of images, as in :func:`radgal.data.othertest.load_other_test`; 'blank': noise.
        dataset: whose sources are the usual ones; None: the run's own test set.
        mc_samples: dropout passes.
        seed: of dropout and noise.
        say: prints.

    Returns:
        The content of against.json: which run and data, and under "questions" the answer.

    Raises:
        UserError: if the runs do not go together, the data cannot be had, or nothing is left of a set.
    """
    run, learned = runs[0], sum(map(learned_sources, runs), Sources())
    classifier = run if len(runs) == 1 else Ensemble(runs)
    name, usual = _usual(runs, dataset, learned)
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
    spaces = [_space(one) for one in runs]
    table = _table({name: usual} | splits, name, classifier, None if None in spaces else spaces, mc_samples, seed)
    about = about_runs(runs) | {"seed": seed, "mc_samples": mc_samples, "left_out": left_out}
    answer = odd.ask(Asked(table, about))
    found = about | {"questions": {odd.QUESTION.key: answer}}
    if folder is not None:
        with new_results(folder, files_of("evaluate --against"), say=say) as new:
            write_json(RunFile.AGAINST.at(new), found)
            write_table(table, RunFile.AGAINST_CSV.at(new))
            with spared(print):
                save_panels(RunFile.AGAINST_PNG.at(new), odd.panels(answer))
    return found


def _space(run: TrainedRun) -> Features | None:
    """Returns the features of a run's own training sources; None if its network has none to take."""
    training = load_training_data(run.config, run.keeps_together)
    check_data(run, training)
    features = run.features(training.train.images)
    return None if features is None else Features(features, training.train.labels.numpy())


def _usual(runs: Sequence[TrainedRun], dataset: str | None, learned: Any) -> tuple[str, Split]:
    """Returns the name and the images of the usual sources, those of the classes that the networks know."""
    run = runs[0]
    if dataset is None:
        test = load_common_test(runs)
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
    splits: dict[str, Split],
    usual: str,
    classifier: TrainedRun | Ensemble,
    spaces: Sequence[Features] | None,
    mc_samples: int,
    seed: int,
) -> Table:
    """Returns a row per source: name, set, whether it is odd, and the scores of oddness."""
    from astropy.table import Column, Table, vstack

    parts, members = [], members_of(classifier)
    for name, split in splits.items():
        passes = classifier.dropout_samples(split.images, mc_samples, seed=seed)
        logits = np.stack([member.logits(split.images) for member in members])
        scores = oddness(logits, uncertainties(passes)["predictive_entropy"])
        if spaces is not None:
            both = zip(members, spaces, strict=True)
            scores["distance"] = np.mean([space.distance(one.features(split.images)) for one, space in both], axis=0)
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
