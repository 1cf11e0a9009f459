"""``repeat``: the same configs with several seeds, and the table of what they reach."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from radgal.commands.common import add_overrides, add_workers, read_config
from utils import UserError

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


@dataclass(frozen=True)
class Task:
    """One training run of the list: a config with a seed and, for cross-validation, a fold such as '2/5'."""

    config: str
    seed: int
    fold: str | None
    folder: Path
    overrides: tuple[str, ...]
    place: str  # in the list, such as '3 of 10'
    to_log: bool  # what the run prints goes to log.txt in its folder

    def __str__(self) -> str:
        return f"{Path(self.config).stem}, seed {self.seed}" + (f", fold {self.fold}" if self.fold else "")


def list_tasks(args) -> list[Task]:
    """Returns every run that the table needs, finished or not.

    Raises:
        UserError: if the arguments make no list, or a config has mistakes.
    """
    if args.seeds < 1:
        raise UserError(f"--seeds {args.seeds}: at least one seed is needed")
    if args.folds is not None and args.folds < 2:
        raise UserError(f"--folds {args.folds}: there must be at least two")
    stems = [Path(path).stem for path in args.config]
    if twice := [path for path, stem in zip(args.config, stems, strict=True) if stems.count(stem) > 1]:
        raise UserError(f"--config {twice[-1]}: two configs of one name would share a folder; rename one")
    given = {text.split("=")[0].strip() for text in args.set}
    ours = {"training.seed": "--first-seed", "metrics.outputdir": "--out", "output.csvfile": "--out",
            "output.modfile": "--out"} | ({"data.fold": "--folds"} if args.folds else {})  # fmt: skip
    if clash := sorted(given & ours.keys()):
        raise UserError(f"--set {clash[0]}: repeat sets it for each run; use {ours[clash[0]]}")
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    folds = [f"{k}/{args.folds}" for k in range(1, args.folds + 1)] if args.folds else [None]
    combinations = list(product(args.config, seeds, folds))
    tasks = []
    for i, (path, seed, fold) in enumerate(combinations, start=1):
        folder = Path(args.out, Path(path).stem, f"seed_{seed}", f"fold_{fold.replace('/', '_of_')}" if fold else "")
        own = [f"training.seed={seed}", f"metrics.outputdir={folder.as_posix()}"]
        own += [f"output.{key}=None" for key in ("csvfile", "modfile")]
        own += [f"data.fold={fold}"] if fold else []
        by_workers = args.workers is not None or args.scheduler is not None
        tasks.append(Task(path, seed, fold, folder, (*args.set, *own), f"{i} of {len(combinations)}", by_workers))
        read_config(path, tasks[-1].overrides)
    return tasks


def train_task(task: Task) -> None:
    """Trains and tests one run, going on with what is there; a finished run is left alone."""
    from radgal import api
    from radgal.evaluation.results import finished_test

    if finished_test(task.folder, read_config(task.config, task.overrides)) is not None:
        return
    again = any((task.folder / name).is_file() for name in ("last.pt", "unfinished.pt"))
    print(f"{task}: {'going on' if again else 'training'} in {task.folder} (run {task.place})", flush=True)
    with ExitStack() as stack:
        if task.to_log:
            task.folder.mkdir(parents=True, exist_ok=True)
            log = stack.enter_context((task.folder / "log.txt").open("a", encoding="utf-8"))
            stack.enter_context(redirect_stdout(log))
        done = api.train(task.config, overrides=task.overrides, resume=again)
    if done.metrics is None:
        raise UserError(
            f"{task}: repeat compares test results, but there are no test sources: write test into the column split of "
            "[data] table, or cross-validate with --folds 5"
        )


def collect(task: Task) -> dict:
    """Returns a finished run as the table needs it."""
    import models
    from radgal.data.datasets import preparation_of
    from radgal.evaluation.results import finished_test
    from radgal.repeats.comparison import collect_run
    from radgal.runs.checkpoint import read

    cfg = read_config(task.config, task.overrides)
    metrics, table = finished_test(task.folder, cfg)
    network = models.build_from_config(cfg, tuple(metrics["classes"]), preparation_of(cfg, 0.0, 1.0))
    return collect_run(
        cfg.name,
        task.seed,
        metrics,
        table,
        read(task.folder / "last.pt")["history"],
        parameters=models.count_parameters(network)[0],
        multiply_adds=models.count_multiply_adds(network, network.imsize),
        fold=int(task.fold.split("/")[0]) - 1 if task.fold else None,
    )


def run(args) -> None:
    """Trains every config with several seeds, skipping what is finished, and makes the tables."""
    from radgal.repeats.comparison import write_repeat
    from radgal.tasks import run_tasks

    tasks = list_tasks(args)
    run_tasks(train_task, tasks, workers=args.workers, scheduler=args.scheduler, unit="run")
    summary = write_repeat(args.out, [collect(task) for task in tasks])
    print(Path(args.out, "repeat.md").read_text(encoding="utf-8"))
    pairs = "repeat_pairs.csv, " if summary["pairs"] else ""
    print(f"written to {args.out}: repeat.md, repeat.tex, repeat.csv, {pairs}learning_curves.png")
    firsts = [task.folder for task in tasks if (task.seed, task.fold) == (tasks[0].seed, tasks[0].fold)]
    paths = [path.as_posix() for path in (*firsts, Path(args.out, "report.html"))]
    print(f"next: python main.py report {shlex.join(paths[:-1])} --out {shlex.quote(paths[-1])}")
