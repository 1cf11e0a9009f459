"""The tables of docs/results.md, from the committed tables of sources: ``python -m benchmarks.results --update``.

A file of docs/results/ is the sources.csv of one run, called SET_NETWORK_seed_K.csv or, of a fold,
SET_NETWORK_seed_K_fold_I_of_N.csv. What shares a SET was tested on the same sources and shares a table; NETWORK has no
underscore in it. Each table stands in the page between the marks ``<!-- SET: begin -->`` and ``<!-- SET: end -->``. The
figure of errors against the order of the group, of ``FIGURE_OF``, goes into the folder ``figures`` beside the page.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table import update_section
from radgal.evaluation.intervals import mean_and_sd
from radgal.evaluation.metrics import AVERAGED, BY_KEY, ERROR, IN_WORDS, ROTATED, UPRIGHT, Reading
from radgal.figures.style import GRAY, MARKERS, color_of, new_figure, save_figure, style
from radgal.files.tables import read_table
from radgal.repeats.collect import columns, pooled_scores, scores_of
from radgal.repeats.comparison import check_runs, successes
from radgal.repeats.differences import mean_interval, paired_difference
from radgal.repeats.tables import with_spread
from utils import UserError, counted

NAME = re.compile(r"(?P<set>\w+)_(?P<network>[^_]+)_seed_(?P<seed>\d+)(_fold_\d+_of_\d+)?\.csv")
CONDITIONS = (UPRIGHT, ROTATED, AVERAGED)
FIGURE_OF = "recipe_mb_v1"
"""The set that has networks of most groups."""
PAGES = {"ablation_mb": "recipe.md"}
"""Of the sets whose tables stand in another page, beside that of the results."""
FAMILIES = {"c": "C_N: rotations", "d": "D_N: and reflections"}
BESIDE = [BY_KEY[key] for key in ("roc_auc", "nll", "ece", "ece_debiased")]


def read_results(folder: Path) -> dict[str, list[dict]]:
    """Returns the runs of each set, in the form that ``repeat`` compares; the folds of a seed are one run.

    Raises:
        UserError: for a file of another name, or runs that cannot share a table.
    """
    tables: dict[tuple[str, str, int], list[Any]] = {}
    for path in sorted(folder.glob("*.csv")):
        if not (found := NAME.fullmatch(path.name)):
            raise UserError(f"{path}: results are called SET_NETWORK_seed_K.csv or SET_NETWORK_seed_K_fold_I_of_N.csv")
        tables.setdefault((found["set"], found["network"], int(found["seed"])), []).append(read_table(path))
    if not tables:
        raise UserError(f"{folder} holds no results")
    sets: dict[str, list[dict]] = {}
    for (name, network, seed), parts in tables.items():
        classes = [label for _, label in sorted({(int(i), str(k)) for part in parts for i, k in _labels(part)})]
        sources = [columns(part, classes) for part in parts]
        joined = {
            key: None if any(one[key] is None for one in sources) else [x for one in sources for x in one[key]]
            for key in sources[0]
        }
        if len(set(joined["names"])) < len(joined["names"]):
            raise UserError(f"{folder}: {name}_{network}, seed {seed}, has sources more than once")
        sets.setdefault(name, []).append({"config": network, "seed": seed, "classes": classes, **joined})
    for runs in sets.values():
        check_runs(runs)
    return sets


def _labels(table: Any) -> zip:
    return zip(table["label"], table["label_name"], strict=True)


def to_markdown(runs: Sequence[dict]) -> str:
    """Returns the tables of one set: each network, the ensemble of its seeds, and how they differ.

    Compared are all with the first, which is the plain one, and with the one of the largest group, if there is one.
    """
    names = sorted({run["config"] for run in runs}, key=_place)
    own = {name: [run for run in runs if run["config"] == name] for name in names}
    heads = ["network", "seeds", *(f"error, {IN_WORDS[condition] or condition} (%)" for condition in CONDITIONS)]
    heads += [f"{score.short} ({score.unit})" if score.unit else score.short for score in BESIDE]
    lines = [f"{counted(len(runs[0]['names']), 'source')}.", ""]
    lines += _table(heads, [row for name in names for row in _rows(name, own[name])])
    largest = names[-1] if _place(names[-1])[0] else None
    pairs = [_pair(a, b, own) for a, b in itertools.combinations(names, 2) if a == names[0] or b == largest]
    if pairs:
        words = [IN_WORDS[condition] or condition for condition in CONDITIONS]
        lines += ["", *_table(["a", "b", *(x for word in words for x in (f"b less a, {word} (%)", "p"))], pairs)]
    return "\n".join(lines) + "\n"


def _place(network: str) -> tuple[bool, str, int, str]:
    """Returns what sorts networks: the plain ones, then C4, C8, ..., then D4, ..."""
    found = re.match(r"([cd])(\d+)", network, re.IGNORECASE)
    return (True, found[1].lower(), int(found[2]), network) if found else (False, "", 0, network)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows)]


def _rows(name: str, runs: Sequence[dict]) -> list[list[str]]:
    scores, right = [pooled_scores(run, run["classes"]) for run in runs], successes(runs)
    cells = []
    for condition in CONDITIONS:
        key = Reading(ERROR, condition).key
        text = with_spread(mean_and_sd([one[key] for one in scores]), ERROR.number, "±")
        cells.append(f"{text} {_error_interval(mean_interval(right[condition]))}" if condition in right else "-")
    beside = [with_spread(mean_and_sd([one.get(score.key) for one in scores]), score.number, "±") for score in BESIDE]
    rows = [[name, str(len(runs)), *cells, *beside]]
    return rows if len(runs) == 1 else [*rows, _ensemble(name, runs)]


def _ensemble(name: str, runs: Sequence[dict]) -> list[str]:
    """Returns the row of the mean probabilities of all seeds."""
    order = [np.argsort(run["names"]) for run in runs]
    labels = np.array(runs[0]["labels"])[order[0]]
    found: dict[str, Mapping[str, Any]] = {}
    for condition in (UPRIGHT, AVERAGED):
        if all(run[condition] is not None for run in runs):
            probs = np.mean([np.array(run[condition])[rows] for run, rows in zip(runs, order, strict=True)], axis=0)
            found[condition] = scores_of(probs, labels, runs[0]["classes"])
    cells = ["-"] * len(CONDITIONS)
    for i, condition in enumerate(CONDITIONS):
        if condition in found:
            error = found[condition]["error"]
            ends = ", ".join(ERROR.number(error[end]) for end in ("low", "high"))
            cells[i] = f"{ERROR.number(error['value'])} [{ends}]"
    beside = [found[UPRIGHT][score.key]["value"] for score in BESIDE]
    return [
        f"{name}, ensemble",
        str(len(runs)),
        *cells,
        *("-" if value is None else score.number(value) for score, value in zip(BESIDE, beside, strict=True)),
    ]


def _error_interval(accuracy: Mapping[str, float]) -> str:
    return f"[{100 * (1 - accuracy['high']):.2f}, {100 * (1 - accuracy['low']):.2f}]"


def _pair(a: str, b: str, own: Mapping[str, Sequence[dict]]) -> list[str]:
    one, two = successes(own[a]), successes(own[b])
    cells = [a, b]
    for condition in CONDITIONS:
        if condition in one and condition in two:
            found = paired_difference(one[condition], two[condition])  # of accuracies
            value, low, high = (-100 * found[key] for key in ("difference", "high", "low"))
            cells += [f"{value:+.2f} [{low:+.2f}, {high:+.2f}]", f"{found['p']:.2g}"]
        else:
            cells += ["-", "-"]
    return cells


def save_group_figure(runs: Sequence[dict], path: Path) -> None:
    """Writes the figure of the error, turned at random, against the order of the group.

    Left the means over seeds with their intervals, and each seed; right how much less each errs than the plain network
    on the same sources.

    Args:
        runs: of networks called lenet, c4, d8 and so on; the plain one has a group of one element.
    """
    figure = new_figure(10, 4.2)
    left, right = figure.subplots(1, 2)
    order = "order of the group: rotations, and reflections of D"
    style(left, "Error on MiraBest v1, turned at random", order, "error (%)")
    style(right, "less the LeNet's, on the same sources", order, "difference (%)")
    names = sorted({run["config"] for run in runs}, key=_place)
    own = {name: successes([run for run in runs if run["config"] == name])[ROTATED] for name in names}
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(FAMILIES.get(_place(name)[1], name), []).append(name)
    for k, (family, members) in enumerate(families.items()):
        x = np.array([_order(name) * 1.04 ** (k - 1) for name in members])  # side by side, where two are alike
        look = dict(color=color_of(k), marker=MARKERS[k], capsize=3)
        shares = [mean_interval(own[name]) for name in members]
        errors = [(1 - one["value"], 1 - one["high"], 1 - one["low"]) for one in shares]
        _error_bars(left, x, errors, label=family, **look)
        for place, name in zip(x, members, strict=True):
            seeds = 100 * (1 - own[name].mean(axis=1))
            left.plot([place * 1.08 ** (1 if k > 1 else -1)] * len(seeds), seeds, ".", color=color_of(k), markersize=4)
        if family != names[0]:
            less = [paired_difference(own[name], own[names[0]]) for name in members]  # of accuracies: the plain less
            _error_bars(right, x, [(one["difference"], one["low"], one["high"]) for one in less], **look)
    right.axhline(0, color=GRAY, linewidth=0.8)
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
    left.set_ylim(bottom=0)
    left.legend(frameon=False, fontsize="small")
    save_figure(figure, path)


def _order(network: str) -> int:
    """Returns the number of elements of the group of 'c4', 'd8'; 1 of a network without one."""
    is_group, kind, n, _ = _place(network)
    return n * (2 if kind == "d" else 1) if is_group else 1


def _error_bars(axes: Any, x: np.ndarray, found: Sequence[tuple[float, float, float]], **look: Any) -> None:
    """Draws values with their ends, (value, low, high), in per cent."""
    y, low, high = 100 * np.array(found).T
    axes.errorbar(x, y, [y - low, high - y], **look)


def main(argv: Sequence[str]) -> None:
    """Prints the tables of a folder of results and, if asked, puts them into a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="docs/results", help="of the csv files (default: docs/results)")
    parser.add_argument("--update", nargs="?", const="docs/results.md", metavar="PAGE", help="put them into this page")
    args = parser.parse_args(argv)
    for name, runs in read_results(Path(args.folder)).items():
        text = to_markdown(runs)
        print(f"{name}\n\n{text}", flush=True)
        if args.update:
            page = Path(args.update)
            update_section(page.with_name(PAGES.get(name, page.name)), name, text)
            if name == FIGURE_OF:
                save_group_figure(runs, Path(args.update).parent / "figures" / "group_order.png")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
