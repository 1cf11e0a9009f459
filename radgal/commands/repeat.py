"""``repeat``: the same configs with several seeds, and the table of what they reach."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from radgal.commands.common import add_overrides, add_workers, read_config
from utils import UserError

if TYPE_CHECKING:
    from radgal.repeats.plan import Task

HELP = "train configs with several seeds, and make the table of means, spreads and paired differences"
EXAMPLE = "repeat --config configs/config_first_lenet.txt configs/config_first_dn4lenet.txt --seeds 5"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("--config", nargs="+", required=True, metavar="FILE", help="configs to train")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds: 0, 1, ... (default: 5)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="cross-validate: train K times per seed, each time testing on another K-th of all sources "
        "(default: the data set's own test set)",
    )
    parser.add_argument("--out", metavar="FOLDER", default="runs/repeat", help="where to write (default: runs/repeat)")
    add_workers(parser)
    add_overrides(parser)


SET_BY = {
    "training.seed": "--first-seed",
    "metrics.outputdir": "--out",
    "output.csvfile": "--out",
    "output.modfile": "--out",
    "data.fold": "--folds",
}


def plan_runs(args) -> list[Task]:
    """Returns every run that the table needs, finished or not.

    Raises:
        UserError: if the arguments make no list, or a config has mistakes.
    """
    from radgal.repeats import plan

    if args.seeds < 1:
        raise UserError(f"--seeds {args.seeds}: at least one seed is needed")
    if args.folds is not None and args.folds < 2:
        raise UserError(f"--folds {args.folds}: there must be at least two")
    stems = [Path(path).stem for path in args.config]
    if twice := [path for path, stem in zip(args.config, stems, strict=True) if stems.count(stem) > 1]:
        raise UserError(f"--config {twice[-1]}: two configs of one name would share a folder; rename one")
    given = {text.split("=")[0].strip() for text in args.set}
    if clash := sorted(given & plan.keys_set(args.folds)):
        raise UserError(f"--set {clash[0]}: repeat sets it for each run; use {SET_BY[clash[0]]}")
    tasks = plan.list_tasks(
        args.config,
        args.out,
        seeds=range(args.first_seed, args.first_seed + args.seeds),
        n_folds=args.folds,
        overrides=args.set,
        to_log=args.workers is not None or args.scheduler is not None,
    )
    for task in tasks:
        read_config(task.config, task.overrides)
    return tasks


def train_task(task: Task) -> None:
    """Trains and tests one run, going on with what is there; a finished run is left alone."""
    from radgal import api

    if task.is_finished(read_config(task.config, task.overrides)):
        return
    again = task.is_begun()
    print(f"{task}: {'going on' if again else 'training'} in {task.folder} (run {task.place})", flush=True)
    with ExitStack() as stack:
        if task.to_log:
            task.folder.mkdir(parents=True, exist_ok=True)
            log = stack.enter_context(task.log.open("a", encoding="utf-8"))
            stack.enter_context(redirect_stdout(log))
        done = api.train(task.config, overrides=task.overrides, resume=again)
    if done.metrics is None:
        raise UserError(
            f"{task}: repeat compares test results, but there are no test sources: write test into the column split of "
            "[data] table, or cross-validate with --folds 5"
        )


def run(args) -> None:
    """Trains every config with several seeds, skipping what is finished, and makes the tables."""
    from radgal.repeats.comparison import write_repeat
    from radgal.repeats.plan import collect
    from radgal.tasks import run_tasks

    tasks = plan_runs(args)
    run_tasks(train_task, tasks, workers=args.workers, scheduler=args.scheduler, unit="run")
    summary = write_repeat(args.out, [collect(task, read_config(task.config, task.overrides)) for task in tasks])
    print(Path(args.out, "repeat.md").read_text(encoding="utf-8"))
    pairs = "repeat_pairs.csv, " if summary["pairs"] else ""
    print(f"written to {args.out}: repeat.md, repeat.tex, repeat.csv, {pairs}learning_curves.png")
    firsts = [task.folder for task in tasks if (task.seed, task.fold) == (tasks[0].seed, tasks[0].fold)]
    paths = [path.as_posix() for path in (*firsts, Path(args.out, "report.html"))]
    print(f"next: python main.py report {shlex.join(paths[:-1])} --out {shlex.quote(paths[-1])}")
