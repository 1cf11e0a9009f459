"""The INI file as one frozen, checked object: read, override, describe, store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from radgal.config.checker import COMMAND_LINE, Draft
from radgal.config.ini import read_ini, shorten
from radgal.config.keys import (
    SECTIONS,
    DataSection,
    MetricsSection,
    ModelSection,
    OutputSection,
    TrainingSection,
)
from utils import UserError, nearest


@dataclass(frozen=True)
class Config:
    """One checked configuration. Equality looks at the sections only, not at where they came from."""

    model: ModelSection
    data: DataSection
    training: TrainingSection
    output: OutputSection
    metrics: MetricsSection
    name: str = field(default="config", compare=False)  # stem of the config file
    source: Path | None = field(default=None, compare=False)
    overridden: tuple[str, ...] = field(default=(), compare=False)  # "section.key" from the command line
    reads_only: bool = field(default=False, compare=False)  # of a checkpoint: nothing is written where it says

    @property
    def output_dir(self) -> Path:
        """The folder of this run."""
        return Path(self.metrics.outputdir or Path("runs", self.name))

    @property
    def keeps_last(self) -> bool:
        """Whether the last epoch is kept, whatever validation says."""
        keep = self.training.keep or ("best" if self.model.early_stopping else "last")
        return keep == "last"

    @property
    def csv_path(self) -> Path:
        """The csv with one row per epoch."""
        return Path(self.output.csvfile or self.output_dir / "history.csv")

    @property
    def model_path(self) -> Path:
        """The plain state dict of the kept epoch."""
        return Path(self.output.modfile or self.output_dir / "model.pt")

    def to_dict(self) -> dict[str, Any]:
        """Returns plain types only (what a checkpoint carries): the sections as dicts, and ``name``."""
        return {"name": self.name} | {section: getattr(self, section).model_dump() for section in SECTIONS}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Config:
        """Returns the configuration that ``to_dict`` described; keys it lacks get their defaults.

        Raises:
            UserError: if it holds anything that a configuration cannot.
        """
        draft, name = _draft_of_dict(content, "stored configuration")
        return cls(**draft.finish(None, None), name=name)

    def to_ini(self) -> str:
        """Returns the INI text of every key; read again it gives an equal configuration."""
        blocks = []
        for section, values in self.to_dict().items():
            if section != "name":
                lines = [f"{key}: {value!r}" for key, value in values.items()]
                blocks.append("\n".join([f"[{section}]", *lines]) + "\n")
        return "\n".join(blocks)


def _draft_of_dict(content: Mapping[str, Any], origin: str) -> tuple[Draft, str]:
    """Returns what a dict of sections holds, and the configuration's name."""
    if not isinstance(content, Mapping) or not isinstance(content.get("name", ""), str):
        raise UserError(f"{origin}: not a configuration: {shorten(content)}")
    draft = Draft(origin)
    for section, values in content.items():
        if section == "name":
            continue
        if not isinstance(values, Mapping):
            draft.mistakes.append(f"{origin}: [{section}] must hold keys, not {shorten(values)}")
        elif draft.knows_section(str(section)):
            for key, value in values.items():
                draft.add(section, str(key), value, origin)
    return draft, content.get("name") or "config"


def _draft_of_file(path: Path) -> tuple[Draft, str]:
    text = read_ini(path)
    draft = Draft(str(path), text.mistakes, text.spoiled)
    for section, entries in text.sections.items():
        if draft.knows_section(section):
            for key, value in entries.items():
                draft.add_text(section, key, value)
    return draft, path.stem


def override_texts(keys: Mapping[str, Any]) -> list[str]:
    """Returns keys by their names alone, such as epochs=2, as overrides, such as ``training.epochs=2``.

    Raises:
        UserError: for a name that no section has.
    """
    home = {key: section for section, model in SECTIONS.items() for key in model.model_fields}
    if unknown := [key for key in keys if key not in home]:
        like = nearest(unknown[0], home)
        raise UserError(
            f"{unknown[0]}: no section of a config has this key"
            + (f"; did you mean {like}?" if like else "; configs/README.md lists them")
        )
    return [f"{home[key]}.{key}={_plain(value)!r}" for key, value in keys.items()]


def _plain(value: Any) -> Any:
    """Returns a path as text, a number of NumPy as Python's, anything else as it is."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if isinstance(value, np.generic) else value


def load_config(
    config: str | os.PathLike | Mapping[str, Any] | Config,
    overrides: Iterable[str] = (),
    models: Mapping[str, bool] | None = None,
    datasets: Mapping[str, int] | None = None,
) -> Config:
    """Reads and checks a configuration.

    Args:
        config: the INI file, a dict of sections, or a configuration to change.
        overrides: texts such as ``training.epochs=5``, taking the place of what the file says; the last wins.
        models: known networks, name -> whether it needs nrot; None: names are not checked.
        datasets: known data sets, name -> number of classes; None: names are not checked.

    Raises:
        UserError: with all mistakes of the file and of the overrides, a line each.
    """
    source = None
    if isinstance(config, Config):
        source, given = config.source, {section: getattr(config, section) for section in SECTIONS}
        content = {section: values.model_dump(exclude_unset=True) for section, values in given.items()}
        draft, name = _draft_of_dict({"name": config.name, **content}, config.name)
    elif isinstance(config, Mapping):
        draft, name = _draft_of_dict(config, "config")
    else:
        source = Path(config).expanduser()
        draft, name = _draft_of_file(source)
    overridden = tuple(draft.override(item) for item in overrides)
    sections = draft.finish(models, datasets)
    if sections["metrics"].outputdir is None:
        # Filled in here, so that the configuration stored with a run names that run's folder.
        default = Path("runs", name).as_posix()
        sections["metrics"] = MetricsSection.model_construct(_fields_set=set(), outputdir=default)
    return Config(**sections, name=name, source=source, overridden=tuple(o for o in overridden if o))


def describe(config: Config) -> str:
    """Returns the keys that were set as aligned text, and how many are left at their defaults."""
    lines, n_default = [], 0
    for section, model in SECTIONS.items():
        values = getattr(config, section)
        shown = [key for key in model.model_fields if key in values.model_fields_set]
        n_default += len(model.model_fields) - len(shown)
        lines += [f"[{section}]"] * bool(shown)
        for key in shown:
            mark = f"  ({COMMAND_LINE})" if f"{section}.{key}" in config.overridden else ""
            lines.append(f"  {key:<15} {getattr(values, key)!r}{mark}")
    return "\n".join([*lines, f"{n_default} other keys have their defaults (configs/README.md lists them)"])
