"""``repeat``: the same configs with several seeds, and the table of what they reach."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, BooleanOptionalAction
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from radgal.commands.common import add_overrides, add_workers, read_config
from utils import UserError

if TYPE_CHECKING:
    from radgal.repeats.plan import Task

CAUTION = "a network is wrong more often than a label, so look at each source before anything is changed"
HELP = "train configs with several seeds, and make the table of means, spreads and paired differences"
EXAMPLE = "repeat --config configs/config_first_lenet.txt configs/config_first_dn4lenet.txt --seeds 5 --test"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("-C", "--config", nargs="+", required=True, metavar="FILE", help="configs to train")
    parser.add_argument(
        "--variant",
        action="append",
        nargs="+",
        default=[],
        metavar=("NAME", "SECTION.KEY=VALUE"),
        help="train each config with these changes, too; may be repeated",
    )
    parser.add_argument(
        "--train-sizes",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        help="train each config on so few training sources, too: error against their number",
    )
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds: 0, 1, ... (default: 5)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="cross-validate: train K times per seed, each time with another K-th held out: of all sources, to test "
        "on, or with --no-test of the training sources, to validate on (default: the data set's own parts)",
    )
    parser.add_argument(
        "--test",
        action=BooleanOptionalAction,
        help="compare by the test set, or by validation sources alone, to choose without it (default: --test for a "
        "single config, --no-test where several configs or variants are compared)",
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
    "data.val_fold": "--folds",
    "data.train_size": "--train-sizes",
}


def plan_runs(args) -> list[Task]:
    """Returns every run that the table needs, finished or not.

    Raises:
        UserError: if the arguments make no list, or a config has mistakes.
    """
    from radgal.repeats import plan
    from radgal.repeats.checks import check_tasks

    if args.seeds < 1:
        raise UserError(f"--seeds {args.seeds}: at least one seed is needed")
    if args.folds is not None and args.folds < 2:
        raise UserError(f"--folds {args.folds}: there must be at least two")
    recipes = plan.list_recipes(args.config, args.variant, args.train_sizes)
    is_tested = len(recipes) == 1 if args.test is None else args.test
    for option, texts in (("--set", args.set), *((f"--variant {name}", texts) for name, *texts in args.variant)):
        given = {text.split("=")[0].strip() for text in texts}
        own = plan.keys_set(args.folds, is_tested) | ({plan.TRAIN_SIZE} if args.train_sizes else set())
        if clash := sorted(given & own):
            raise UserError(f"{option} {clash[0]}: repeat sets it for each run; use {SET_BY[clash[0]]}")
    tasks = plan.list_tasks(
        recipes,
        args.out,
        seeds=range(args.first_seed, args.first_seed + args.seeds),
        n_folds=args.folds,
        overrides=args.set,
        to_log=args.workers is not None or args.scheduler is not None,
        is_tested=is_tested,
    )
    check_tasks(tasks, [read_config(task.config, task.overrides) for task in tasks])
    return tasks


def train_task(task: Task) -> None:
    """Trains one run and tests or validates it, going on with what is there; a finished run is left alone."""
    from radgal import api
    from radgal.evaluation.validation import validate_run
    from radgal.runs import lock

    if task.result(read_config(task.config, task.overrides)) is not None:
        lock.remove_dead(task.folder)  # of one that was killed once all was written
        return
    again = task.is_begun()
    print(f"{task}: {'going on' if again else 'training'} in {task.folder} (run {task.place})", flush=True)
    with ExitStack() as stack:
        if task.to_log:
            task.folder.mkdir(parents=True, exist_ok=True)
            log = stack.enter_context(task.log.open("a", encoding="utf-8"))
            stack.enter_context(redirect_stdout(log))
        done = api.train(task.config, overrides=task.overrides, resume=again, test=task.is_tested)
        if not task.is_tested:
            own = done.config
            run = api.open_run(task.folder, device=own.training.device, datadir=own.data.datadir)
            validate_run(run, task.folder)


def run(args) -> None:
    """Trains every recipe with several seeds, skipping what is finished, and makes the tables."""
    from radgal.figures.style import titled
    from radgal.repeats.comparison import write_repeat
    from radgal.repeats.plan import collect
    from radgal.tasks import run_tasks

    tasks = plan_runs(args)
    part, name = ("test", "repeat") if tasks[0].is_tested else ("validation", "validation")
    if part == "validation":
        print("compared by validation sources; the test set is not touched (--test opens it, once all is chosen)")
    run_tasks(train_task, tasks, workers=args.workers, scheduler=args.scheduler, unit="run")
    runs = [collect(task, read_config(task.config, task.overrides)) for task in tasks]
    data = dict.fromkeys(read_config(task.config, task.overrides).data.dataset for task in tasks)
    with titled(", ".join(data)):
        summary = write_repeat(args.out, runs, part=part)
        answers = _answer(args, tasks, runs, summary)
    print(Path(args.out, f"{name}.md").read_text(encoding="utf-8"))
    pairs = f"{name}_pairs.csv, " if summary["pairs"] else ""
    sized = ", train_sizes.csv, train_sizes.png" if args.train_sizes else ""
    print(f"written to {args.out}: {name}.md, {name}.tex, {name}.csv, {pairs}learning_curves.png{sized}")
    if args.folds:
        print(f"and in the folder of each recipe: label_errors.csv, label_errors.png; {CAUTION}")
    print("\n".join(answers))
    firsts = [task.folder for task in tasks if (task.seed, task.fold) == (tasks[0].seed, tasks[0].fold)]
    paths = [path.as_posix() for path in (*firsts, Path(args.out, "report.html"))]
    print(f"next: python main.py report {shlex.join(paths[:-1])} --out {shlex.quote(paths[-1])}")


def _answer(args, tasks, runs, summary) -> list[str]:
    """Writes what surveys ask of the runs together: error by training size, and doubted labels; a line for each."""
    from radgal.evaluation.questions import doubted, learning
    from radgal.repeats import labels, sizes
    from radgal.repeats.comparison import add_answers

    found, firsts = {}, {task.recipe: task for task in reversed(tasks)}
    recipes = list(dict.fromkeys(task.recipe for task in tasks))
    if args.train_sizes:
        found[learning.ASKED] = sizes.write_train_sizes(Path(args.out), recipes, runs, summary)
    if args.folds:
        found[doubted.ASKED] = {
            recipe.name: labels.write_doubted(
                Path(args.out, recipe.name),
                [run for run in runs if run["config"] == recipe.name],
                read_config(firsts[recipe].config, firsts[recipe].overrides),
            )
            for recipe in recipes
        }
    return add_answers(args.out, summary, **found) if found else []
