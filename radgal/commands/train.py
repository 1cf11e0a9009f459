"""``python main.py --config FILE``: trains the network of a config and tests its kept epoch once."""

from __future__ import annotations

import json
import os
import shlex
import sys
from argparse import ArgumentParser
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radgal.commands.common import add_overrides, read_config
from utils import UserError, environment, sayer, set_seed, write_json


def make_report(folder: Path, say) -> None:
    """Writes the run's report.html; the run is whole without it, so a report that fails is only told."""
    from radgal.report.page import write_report

    try:
        for problem in write_report([folder])[1]:
            say(f"report: {problem}")
    except UserError as error:
        print(f"the report was not made: {error}")


@dataclass
class Run:
    """What ``main`` returns for a training run: after ``%run main.py ...`` a notebook has it as ``run``."""

    config: Any
    model: Any
    history: list[dict]
    metrics: dict | None
    folder: Path


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of a training run, which are those of main.py without a command."""
    parser.add_argument("--config", metavar="FILE", help="INI file that says what to train; see configs/README.md")
    add_overrides(parser)
    add_choices(parser)


def add_choices(parser: ArgumentParser) -> None:
    """Adds what every command that trains lets one choose."""
    parser.add_argument("--dry-run", action="store_true", help="check everything and build the network; do not train")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the config's output folder")
    parser.add_argument("--force", action="store_true", help="with --resume: go on even though the config has changed")
    parser.add_argument("--no-test", action="store_true", help="do not evaluate the test set at the end")


def run(args) -> Run:
    """Trains the network of a config, keeps its best epoch, and tests that once."""
    import models
    from radgal.config.config import describe
    from radgal.data import datasets
    from radgal.evaluation import results
    from radgal.figures import plots
    from radgal.runs import epochs, finetune, tensorboard
    from radgal.runs.checkpoint import load_run
    from radgal.runs.files import RunFile
    from radgal.runs.folder import RunFolder
    from radgal.training import team
    from radgal.training.precision import choose_precision
    from radgal.training.signals import leaving_on_sigterm

    with ExitStack() as held, leaving_on_sigterm():
        with team.join() as team:
            cfg = team.from_first(lambda: read_config(args.config, args.set))
            say = sayer(cfg.model.quiet or not team.is_first)
            say(describe(cfg))
            tensorboard.require(cfg)
            folder, device = RunFolder(cfg), team.pick_device(cfg.training.device)
            precision = choose_precision(cfg.training.precision, device)
            set_seed(cfg.training.seed)

            images = team.first_goes_first(lambda: datasets.load_training_data(cfg))
            say(datasets.describe(images))
            model = models.build_from_config(cfg, images.classes, images.mean, images.std)
            say(models.summary_text(model))
            if warning := models.equivariance_warning(model):
                say(warning)
            if not args.dry_run:
                team.from_first(lambda: folder.take(held, say))
            resume = team.from_first(lambda: args.resume or _goes_on(cfg, folder))
            started_from = None
            if cfg.training.start_from and not resume:
                started_from, said = finetune.begin(model, cfg, images)
                say(said)
            if args.dry_run:
                where = f"{device} in {precision.name}"
                say(f"nothing is wrong with {args.config}; a run on {where} would write to {folder.path}")
                return Run(cfg, model, [], None, folder.path)
            tested = images.has_test and not args.no_test
            if resume and not args.resume and team.from_first(lambda: _is_done(tested, cfg, folder, images, precision)):
                say(f"the run in {folder.path} is finished; raise [training] epochs, or give another outputdir")
                return _finished_run(cfg, folder, device, tested=tested)
            by = "" if team.size == 1 else f" and {team.size - 1} more"
            say(f"training on {device}{by} in {precision.name}, writing to {folder.path}")
            images, model = images.to(device), model.to(device)
            options = dict(resume=resume, force=args.force, say=say, team=team, started_from=started_from)
            try:
                progress = epochs.run_epochs(model, images, cfg, folder, **options)
            except epochs.Interrupted as interrupted:
                if team.is_first:
                    print(f"{interrupted}; go on with: {_command(args, interrupted.has_state)}", file=sys.stderr)
                raise SystemExit(interrupted.exit_code) from None
        if not team.is_first:
            return Run(cfg, model, progress.history, None, folder.path)
        kept = load_run(folder.best, models.build_from_config, device)
        folder.write_config(cfg)
        origin = epochs.provenance(images, device, precision) | {"started_from": progress.started_from}
        result = epochs.outcome(progress, kept.epoch, images, kept.model)
        write_json(RunFile.ENVIRONMENT.at(folder.path), environment() | origin | result)
        curves = (RunFile.LOSS.at(folder.path), RunFile.ERROR.at(folder.path))
        plots.save_training_curves(progress.history, kept.epoch, *curves)
        metrics = None
        if tested:
            metrics = results.test_run(kept, folder.path, device=device, say=say, training=images)
        make_report(folder.path, say)
        print(epochs.last_line(progress, kept.epoch, images, metrics, folder))
        return Run(cfg, kept.model, progress.history, metrics, folder.path)


def _goes_on(cfg, folder) -> bool:
    """Returns whether [training] resume finds something to go on with."""
    return cfg.training.resume == "auto" and folder.state() is not None


def _is_done(tested, cfg, folder, images, precision) -> bool:
    """Returns whether the run in the folder needs no more training and, if it is to be tested, was."""
    from radgal.runs.files import RunFile
    from radgal.runs.resume import differences, is_finished

    state, last_written = folder.state(), RunFile.SOURCES_FITS if tested else RunFile.ENVIRONMENT
    if not is_finished(state, cfg, images.val is not None) or differences(state, cfg, images, precision):
        return False
    return last_written.at(folder.path).is_file()


def _finished_run(cfg, folder, device, *, tested: bool) -> Run:
    """Returns a run of before as if it had just ended."""
    import models
    from radgal.runs.checkpoint import load_run

    kept, path, metrics = load_run(folder.best, models.build_from_config, device), folder.path / "metrics.json", None
    if tested:
        try:
            metrics = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(
                f"{path} cannot be read ({error}); python main.py evaluate {folder.path} makes it again"
            ) from None
    return Run(cfg, kept.model, folder.state()["history"], metrics, folder.path)


def _command(args, has_state: bool) -> str:
    """Returns the command line that goes on with a run that was stopped."""
    program = sys.argv[0] if sys.argv[0].endswith("main.py") else "main.py"
    team = os.environ.get("LOCAL_WORLD_SIZE") if "TORCHELASTIC_RUN_ID" in os.environ else None
    words = ["torchrun", "--nproc-per-node", team, program] if team else ["python", program]
    words += ["--config", str(args.config)] + (["--set", *args.set] if args.set else [])
    words += [word for word, given in (("--no-test", args.no_test), ("--resume", has_state)) if given]
    return shlex.join(words)
