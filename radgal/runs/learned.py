"""What a network has learned from: the sources of its run, and those of every run that its weights came through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from radgal.config.config import Config
from radgal.data.datasets import kind_of
from radgal.data.samesource import Sources
from radgal.data.splits import load_training_data
from radgal.runs import checkpoint
from utils import UserError, reason_of

MAX_ANCESTORS = 100


def learned_from(content: Mapping[str, Any], n_runs: int = MAX_ANCESTORS) -> tuple[Sources, list[str]]:
    """Returns the sources that a network was trained or validated on, and what cannot be found out about that.

    A checkpoint lists its own sources and those that its weights come from; for an older one its data, and the runs
    that it started from, are read where they are at hand. Nothing is downloaded.

    Args:
        content: of a checkpoint, as :func:`radgal.runs.checkpoint.read` gives it.
        n_runs: how many runs to follow at most.
    """
    inherited, unknown = inherited_by(content, n_runs)
    try:
        return _own(content) + inherited, unknown
    except UserError as error:
        return inherited, [f"the sources of {content.get('dataset')} cannot be read: {reason_of(error)}", *unknown]


def inherited_by(content: Mapping[str, Any], n_runs: int = MAX_ANCESTORS) -> tuple[Sources, list[str]]:
    """Returns the same of the runs that the first weights of a network came through, without its own."""
    if "inherited" in content:
        return Sources.unpack(content["inherited"]), list(content.get("inherited_unknown", []))
    if not content.get("started_from"):
        return Sources(), []
    if not n_runs:
        return Sources(), ["it came through too many runs"]
    try:
        ancestor = checkpoint.read(checkpoint.find(content["started_from"]["run"]))
    except (UserError, KeyError, TypeError) as error:
        return Sources(), [f"the run that it started from cannot be read: {reason_of(error)}"]
    return learned_from(ancestor, n_runs - 1)


def _own(content: Mapping[str, Any]) -> Sources:
    if "sources" in content:
        return Sources.unpack(content["sources"])
    config = Config.from_dict(content["config"])
    offline = replace(config, data=config.data.model_copy(update={"download": False}))
    try:
        return load_training_data(offline, together=False).sources
    except UserError:
        if config.data.fold is not None:
            raise
        named = kind_of(config).sources(offline, train=True)  # a table says names and positions without its images
        return Sources(tuple(name for name, _ in named), tuple(place for _, place in named), (0,) * len(named))
