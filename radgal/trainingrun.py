"""A training run from its config to its last line: what is read, built, trained, tested and written, in that order."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import models
from radgal.classifier import Classifier
from radgal.config.config import Config, describe
from radgal.data import splits
from radgal.data.leakage import describe_leak, trained_on
from radgal.evaluation import results
from radgal.evaluation.calibration import store_temperature
from radgal.figures import plots
from radgal.figures.style import spared, titled
from radgal.progress import sayer, working
from radgal.runs import epochs, finetune, finished, outputs, tensorboard
from radgal.runs.checkpoint import load_run
from radgal.runs.files import RunFile
from radgal.runs.folder import RunFolder
from radgal.runs.learned import inherited_by
from radgal.runs.resume import Start, differences, is_finished
from radgal.training import team as processes
from radgal.training.precision import choose_precision
from utils import UserError, environment, set_seed, write_json


class Outcome(NamedTuple):
    """What a training run came to: the kept network, a row per epoch, and the test's metrics, if it was tested."""

    classifier: Classifier
    history: list[dict]
    metrics: dict | None


class TrainingRun:
    """A training run from its config to its last line; the methods are called in the order they stand."""

    def __init__(self, cfg: Config, team: processes.Team, folder: RunFolder, test: bool):
        self.cfg, self.team, self.folder, self.test = cfg, team, folder, test
        self.say = sayer(cfg.model.quiet or not team.is_first)

    def prepare(self, held: ExitStack, *, resume: bool, dry_run: bool) -> Outcome | None:
        """Reads the data, builds the network and takes the folder; returns the outcome if nothing is left to train."""
        cfg, say, team = self.cfg, self.say, self.team
        say(describe(cfg))
        tensorboard.require(cfg)
        team.from_first(lambda: outputs.check_outputs(cfg))
        self.device = team.pick_device(cfg.training.device)
        self.precision = choose_precision(cfg.training.precision, self.device)
        set_seed(cfg.training.seed)
        together = team.from_first(lambda: self._keeps_together(resume))
        with working("reading the data"):
            self.images = team.first_goes_first(lambda: splits.load_training_data(cfg, together))
        say(splits.describe(self.images))
        self.model = models.build_from_config(cfg, self.images.classes, self.images.preparation)
        say(models.summary_text(self.model))
        if warning := models.equivariance_warning(self.model, self.images.preparation.downsample):
            say(warning)
        if not dry_run:
            team.from_first(lambda: self.folder.take(held, say))
        goes_on = team.from_first(lambda: resume or self._finds_a_run())
        self.started_from = None
        if cfg.training.start_from and not goes_on:
            self.started_from, said, self.images = finetune.begin(self.model, cfg, self.images)
            say(said)
        elif goes_on and team.is_first and (state := self.folder.state()):
            inherited, unknown = inherited_by(state)
            self.images = replace(self.images, inherited=inherited, inherited_unknown=tuple(unknown))
        self.test = self.test and self.images.has_test
        if team.is_first and (self.test or (dry_run and self.images.has_test)):
            self._warn_of_leak()
        more = "" if team.size == 1 else f" and {team.size - 1} more"
        where = f"{self.device}{more} in {self.precision.name}"
        if dry_run:
            say(f"nothing is wrong with {cfg.source or cfg.name}; a run on {where} would write to {self.folder.path}")
            return Outcome(self._untrained(), [], None)
        if goes_on and team.from_first(self._is_done):
            more = "" if cfg.training.ends_a_cycle else "raise [training] epochs, or "
            say(f"the run in {self.folder.path} is finished; {more}give another outputdir")
            return self._finished_run()
        self.goes_on = goes_on
        say(f"training on {where}, writing to {self.folder.path}")
        return None

    def _warn_of_leak(self) -> None:
        """Says, also where all else is quiet, if the first weights have learned from sources of the test."""
        if self.images.inherited.names:
            tested = splits.load_test_data(self.cfg, self.images.together).sources
            if tested is not None and (warning := describe_leak(trained_on(tested, self.images.inherited))):
                print(warning)

    def fit(self, *, force: bool) -> None:
        """Trains, with a row and a checkpoint as each epoch ends."""
        self.images, self.model = self.images.to(self.device), self.model.to(self.device)
        start = Start(self.goes_on, force, self.started_from)
        who = dict(say=self.say, team=self.team, precision=self.precision)
        self.progress = epochs.run_epochs(self.model, self.images, self.cfg, self.folder, start, **who)

    def finish(self) -> Outcome:
        """Tests the kept epoch, and writes what the run came to."""
        cfg, say, progress, folder = self.cfg, self.say, self.progress, self.folder
        if not self.team.is_first:
            return Outcome(self._untrained(), progress.history, None)
        kept = store_temperature(load_run(folder.best, self.device), self.images.val)
        folder.write_config(cfg)
        origin = epochs.provenance(self.images, self.device, self.precision) | {"started_from": progress.started_from}
        record = environment() | origin | epochs.outcome(progress, kept.epoch, self.images, kept.model)
        write_json(RunFile.ENVIRONMENT.at(folder.path), record)
        curves = (RunFile.LOSS.at(folder.path), RunFile.ERROR.at(folder.path))
        about = f"{cfg.name}, {self.images.dataset} {self.images.version}"
        with working("drawing the training curves"), spared(print), titled(about):
            plots.save_training_curves(progress.history, kept.epoch, *curves)
        metrics = results.test_run(kept, folder.path, say=say, training=self.images) if self.test else None
        if metrics is not None:  # once more, with what only the test tells
            leak = {"test_sources_trained_on": metrics["test_sources_trained_on"]}
            write_json(RunFile.ENVIRONMENT.at(folder.path), record | leak)
        make_report(folder.path, say)
        finished.mark(folder.path, progress.epoch, kept.epoch, metrics is not None)
        print(epochs.last_line(progress, kept.epoch, self.images, metrics, folder, self.cfg.keeps_last))
        return Outcome(kept, progress.history, metrics)

    def _untrained(self) -> Classifier:
        return Classifier(
            model=self.model,
            classes=self.images.classes,
            preparation=self.images.preparation,
            device=next(self.model.parameters()).device,
        )

    def _finds_a_run(self) -> bool:
        """Returns whether [training] resume finds something to go on with."""
        return self.cfg.training.resume == "auto" and self.folder.state() is not None

    def _keeps_together(self, resume: bool) -> bool:
        """Returns whether twins are kept together: a run that goes on has the parts that it began with."""
        state = self.folder.state() if resume or self.cfg.training.resume == "auto" else None
        return state is None or bool(state.get("together", False))

    def _is_done(self) -> bool:
        """Returns whether the run in the folder needs no more training and, if it is to be tested, was."""
        state, folder = self.folder.state(), self.folder.path
        if state is None or not is_finished(state, self.cfg, self.images.val is not None):
            return False
        if differences(state, self.cfg, self.images, self.precision):
            return False
        ended = finished.find(folder)
        if ended is None or ended.last_epoch != state["epoch"]:
            return False
        if self.test and not (ended.tested and RunFile.METRICS.at(folder).exists()):
            return False
        if ended.by_files:
            self.say(f"{folder} has no {RunFile.FINISHED.file}, as of an earlier version: its other files decide")
        return True

    def _finished_run(self) -> Outcome:
        """Returns a run of before as if it had just ended."""
        kept, metrics = load_run(self.folder.best, self.device), None
        if self.test:
            path = RunFile.METRICS.at(self.folder.path)
            try:
                metrics = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as error:
                raise UserError(
                    f"{path} cannot be read ({error}); python main.py evaluate {self.folder.path} makes it again"
                ) from None
        return Outcome(kept, self.folder.state()["history"], metrics)


def make_report(folder: Path, say: Callable[..., None]) -> None:
    """Writes the run's report.html; the run is whole without it, so a report that fails is only told."""
    from radgal.report.page import write_report

    try:
        for problem in write_report([folder])[1]:
            say(f"report: {problem}")
    except UserError as error:
        print(f"the report was not made: {error}")
