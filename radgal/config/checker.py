"""Values of a configuration while they are collected and checked, with every mistake met on the way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from radgal.config.ini import parse_literal, shorten
from radgal.config.keys import OLD_KEYS, SECTIONS, Section, allowed_values
from utils import UserError, nearest

COMMAND_LINE = "command line"
MAX_MISTAKES_SHOWN = 40


class Draft:
    """Values being collected, with every mistake met on the way."""

    def __init__(self, origin: str, mistakes: Iterable[str] = (), spoiled: Iterable[str] = ()) -> None:
        self.origin = origin
        self.mistakes = list(mistakes)
        self.spoiled = set(spoiled)  # keys that stand in a mistake already: no need to say they are missing
        self.values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        self.origins: dict[tuple[str, str], str] = {}
        self.bad: dict[tuple[str, str], str] = {}  # values that cannot be read, with the reason

    def knows_section(self, section: str, origin: str | None = None) -> bool:
        """Returns whether there is such a section; notes the mistake if not."""
        if section in SECTIONS:
            return True
        known = ", ".join(f"[{name}]" for name in SECTIONS)
        text = f"{origin or self.origin}: [{shorten(section)[1:-1]}]: unknown section; known: {known}"
        self.mistakes.append(text + _did_you_mean(section, SECTIONS))
        close = nearest(section, SECTIONS)
        self.spoiled.update(SECTIONS[close].model_fields if close else ())
        return False

    def add(self, section: str, key: str, value: object, origin: str) -> bool:
        """Takes a value of a known section; returns whether there is such a key."""
        known = SECTIONS[section].model_fields
        if (section, key) in OLD_KEYS:
            self._add_old(section, key, value, origin)
            return False
        if key not in known:
            text = f"{origin}: [{section}] {shorten(key)[1:-1]} = {shorten(value)}: unknown key"
            home = next((other for other in SECTIONS if key in SECTIONS[other].model_fields), None)
            way = f"; it belongs to [{home}]" if home else _did_you_mean(key, known)
            self.mistakes.append(f"{text}; known: {', '.join(known)}{way}")
            self.spoiled.add(key if home else nearest(key, known) or key)
            return False
        self.values[section][key] = value
        self.origins[section, key] = origin
        self.bad.pop((section, key), None)
        return True

    def _add_old(self, section: str, key: str, value: object, origin: str) -> None:
        """Takes a key of the published program's history for the one of today, which goes before it in a file."""
        new, meanings = OLD_KEYS[section, key]
        if not (isinstance(value, bool) and value in meanings):
            ways = ", ".join(f"{old} is {new}: {today!r}" for old, today in meanings.items())
            self.mistakes.append(f"{origin}: [{section}] {key} = {shorten(value)}: must be True or False ({ways})")
        elif new not in self.values[section] or origin == COMMAND_LINE:
            self.add(section, new, meanings[value], origin)

    def add_text(self, section: str, key: str, text: str) -> None:
        """Takes the text of a value as a file holds it."""
        try:
            value, problem = parse_literal(text, key), None
        except ValueError as error:
            value, problem = text, _truth(section, key, text) or str(error)
        if self.add(section, key, value, self.origin) and problem:
            self.bad[section, key] = problem

    def override(self, item: str) -> str | None:
        """Takes ``section.key=value`` from the command line; returns its ``section.key`` or None."""
        target, equals, text = str(item).partition("=")
        section, dot, key = target.strip().partition(".")
        key = key.lower()
        if not equals or not dot:
            word = target.strip().lower()
            home = next((name for name in SECTIONS if word in SECTIONS[name].model_fields), None)
            example = f"{home}.{word}" if home else "training.epochs"
            self.mistakes.append(
                f"{COMMAND_LINE}: {shorten(item)}: write section.key=value, such as {example}={text or 5}"
            )
            return None
        if not self.knows_section(section, COMMAND_LINE):
            return None
        problem = None
        try:
            value = parse_literal(text, key)
        except ValueError as error:
            value = text.strip()
            # Shells eat quotes, so a plain word or path stands for itself here.
            if truth := _truth(section, key, value):
                problem = truth
            elif not re.fullmatch(r"[^'\"()\[\]{}#]+", value):
                problem = str(error)
        if not self.add(section, key, value, COMMAND_LINE):
            return None
        if problem:
            self.bad[section, key] = problem
        return f"{section}.{key}"

    def finish(self, models: Mapping[str, bool] | None, datasets: Mapping[str, int | None] | None) -> dict[str, Any]:
        """Returns the checked sections by name, or raises one UserError with all mistakes."""
        for (section, key), problem in self.bad.items():
            self._note(section, key, problem)
            del self.values[section][key]
        done = {section: self._check(section) for section in SECTIONS}
        self._check_names(models, datasets)
        if self.mistakes:
            count = f"{len(self.mistakes)} mistakes" if len(self.mistakes) > 1 else "1 mistake"
            shown = self.mistakes[:MAX_MISTAKES_SHOWN]
            rest = ["  ..."] if len(self.mistakes) > len(shown) else []
            raise UserError("\n".join([f"{count} in the configuration:", *(f"  {m}" for m in shown), *rest]))
        return done

    def _check(self, section: str) -> Section | None:
        try:
            return SECTIONS[section].model_validate(self.values[section])
        except ValidationError as error:
            for key in dict.fromkeys(str(item["loc"][0]) for item in error.errors()):
                allowed = allowed_values(section, key)
                if key in self.values[section]:
                    value = self.values[section].pop(key)
                    self._note(section, key, f"must be {allowed}{_hint(allowed, value)}", value)
                elif (section, key) not in self.bad and key not in self.spoiled:
                    meaning = SECTIONS[section].model_fields[key].description
                    self.mistakes.append(f"{self.origin}: [{section}] {key}: is missing; write {allowed}: {meaning}")
                self.bad[section, key] = "reported"
        return None

    def _note(self, section: str, key: str, problem: str, value: object = None) -> None:
        origin = self.origins.get((section, key), self.origin)
        shown = shorten(value) if (section, key) not in self.bad else shorten(self.values[section][key])[1:-1]
        self.mistakes.append(f"{origin}: [{section}] {key} = {shown}: {problem}")

    def _get(self, section: str, key: str) -> Any:
        """The value of a key, its default if it was not given or is known to be mistaken."""
        return self.values[section].get(key, SECTIONS[section].model_fields[key].default)

    def _check_names(self, models: Mapping[str, bool] | None, datasets: Mapping[str, int | None] | None) -> None:
        """Checks what depends on more than one key, or on the tables of networks and data sets."""
        for section, key, known in (("model", "base", models), ("data", "dataset", datasets)):
            name = self.values[section].get(key)
            if known is not None and name is not None and name not in known:
                way = _did_you_mean(name, known)
                self._note(section, key, f"unknown name; known: {', '.join(map(repr, known))}{way}", name)
        base, nrot = self.values["model"].get("base"), self._get("model", "nrot")
        if models and base in models and ("model", "nrot") not in self.bad:
            if models[base] and nrot is None:
                need = allowed_values("model", "nrot").removesuffix(", or None")
                self._note("model", "nrot", f"{base} needs it: {need}, such as 4", nrot)
            if not models[base] and nrot is not None:
                self._note("model", "nrot", f"{base} takes none: remove nrot, or write None", nrot)
        dataset, given = self.values["data"].get("dataset"), self._get("training", "num_classes")
        n_classes = (datasets or {}).get(dataset) or given
        if given != n_classes and ("training", "num_classes") not in self.bad:
            self._note("training", "num_classes", f"{dataset} has {n_classes} classes: write {n_classes}", given)
        if self._get("training", "freeze_epochs") and self._get("training", "start_from") is None:
            problem = "without start_from there are no trained layers to freeze: write 0, or a run to start from"
            self._note("training", "freeze_epochs", problem, self._get("training", "freeze_epochs"))
        table = self._get("data", "table")
        own = [name for name, count in (datasets or {}).items() if count is None]  # those that read a table
        if dataset in own and table is None:
            self._note("data", "table", f"{dataset} needs it: a csv with the columns path and label", table)
        if own and dataset not in (*own, None) and table is not None:
            self._note("data", "table", f"only {own[0]!r} reads a table: remove it, or change dataset", table)
        if self._get("data", "train_on") == "all" and self._get("data", "fold") is not None:
            problem = (
                "[data] fold tests on a part of all sources, train_on = 'all' trains on them: remove one of the two"
            )
            self._note("data", "train_on", problem, "all")
        self._check_downsample()
        warmup = self._get("training", "warmup")
        if warmup != SECTIONS["training"].model_fields["warmup"].default:
            if self._get("training", "scheduler") != "onecycle":
                self._note("training", "warmup", "only scheduler 'onecycle' warms up: remove it", warmup)
        rotations = self._get("training", "val_rotations")
        if rotations != 1 and self._get("training", "val_augment"):
            problem = "val_augment = True turns the validation images at random: remove one of the two"
            self._note("training", "val_rotations", problem, rotations)
        self._check_choice_of_epoch()

    def _check_choice_of_epoch(self) -> None:
        """Checks what is to be kept, and when to stop, against what there is to judge by."""
        patience, keep = self._get("training", "patience"), self._get("training", "keep")
        if self._get("training", "frac_val") == 0:
            problem = "frac_val = 0 leaves no validation images to judge by: write {}, or a frac_val above 0"
            if patience is not None:
                self._note("training", "patience", problem.format(None), patience)
            if keep == "best":
                self._note("training", "keep", problem.format("'last'"), keep)
        if keep == "best" and self._get("model", "early_stopping") is False:
            problem = "[model] early_stopping = False keeps the last epoch: remove one of the two"
            self._note("training", "keep", problem, keep)
        if keep == "last" and patience is not None:
            problem = "the epoch that patience stops at is none to keep: write keep: 'best', or patience: None"
            self._note("training", "keep", problem, keep)

    def _check_downsample(self) -> None:
        if not {("training", "imsize"), ("data", "pad"), ("data", "downsample")}.isdisjoint(self.bad):
            return
        side, factor = self._get("training", "imsize") + self._get("data", "pad"), self._get("data", "downsample")
        if side % factor:
            low = side // factor * factor
            problem = f"imsize + pad = {side} is no multiple of it: make that {low} or {low + factor}"
            self._note("data", "downsample", problem, factor)


TRUTHS = dict.fromkeys(("true", "yes", "on", "y", "1"), "True") | dict.fromkeys(
    ("false", "no", "off", "n", "0"), "False"
)
"""What other programs write for True and False, in lower case."""


def _truth(section: str, key: str, text: str) -> str | None:
    """Returns how to write a value of a key that is True or False; None if it is another key or says neither."""
    info, word = SECTIONS[section].model_fields.get(key), text.split("#")[0].strip().lower()
    return f"must be written {TRUTHS[word]}" if info and info.annotation is bool and word in TRUTHS else None


def _did_you_mean(word: object, known: Iterable[str]) -> str:
    close = nearest(str(word), known)
    return f"; did you mean {close!r}?" if close else ""


def _hint(allowed: str, value: object) -> str:
    """More words for the ways in which a value is often wrong."""
    if "whole number" in allowed and isinstance(value, float) and value.is_integer():
        return f"; write {value:.0f}, without the decimal point"
    if allowed.startswith("True or False") and (truth := TRUTHS.get(str(value).lower())):
        return f"; write {truth}"
    if isinstance(value, str) and not value.isprintable():
        return "; a backslash in quotes begins a sign of its own (\\n, \\t): write / or \\\\ in paths"
    if isinstance(value, bool) and "number" in allowed:
        return "; True and False are no numbers"
    if isinstance(value, str):
        names = re.findall(r"'[^']+'|True|False|None", allowed)
        return _did_you_mean(value, [name.strip("'") for name in names])
    return ""
