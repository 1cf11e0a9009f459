"""The table of repeated runs as Markdown and LaTeX, and as rows for csv."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from radgal.evaluation.metrics import ACCURACY, IN_WORDS, Reading, readings
from utils import counted


def shown() -> list[Reading]:
    """Returns the scores of the table; the csv has all."""
    return readings(lambda score: score.in_table)


def with_spread(value: Mapping[str, float | None], write: Callable[[float], str], plus_minus: str) -> str:
    """Returns mean +- sd as text: the mean alone if there is no sd, a dash if there is no mean."""
    if value["mean"] is None:
        return "-"
    return write(value["mean"]) + ("" if value["sd"] is None else f" {plus_minus} {write(value['sd'])}")


def notes(summary: Mapping[str, Any]) -> list[str]:
    """Returns what a reader of the table must know, as sentences."""
    n = summary["n_sources"]
    over = _over(summary)
    how = "random rotations" if summary["part"] == "test" else "rotations in even steps from upright"
    lines = [f"Mean and standard deviation over seeds; {over}; rotated: over {summary['n_rotations']} {how}."]
    smaller = dict.fromkeys(one.score.short for one in shown() if not one.score.larger_is_better)
    lines.append(f"Of {', '.join(smaller)} the smaller is the better, of the other scores the larger.")
    lines.append("The interval in brackets, 95 %, is of the mean accuracy over seeds and over sources.")
    if any(config["n_seeds"] == 1 for config in summary["configs"]):
        lines.append("A value without a spread is from one seed: nothing is known of how it varies with the seed.")
    if chosen := [config["config"] for config in summary["configs"] if config["chose_epoch"]]:
        lines.append(
            f"Kept the epoch that these very sources rated best, so that the scores are too good: {', '.join(chosen)}. "
            "Compare such a recipe with others by folds and training.keep=last."
        )
    errors = sorted({f"{100 * config['binomial_error']:.2f}" for config in summary["configs"]}, key=float)
    lines.append(
        f"One source is {100 / n:.2f} %, and the binomial standard error of the accuracy is "
        f"{' to '.join(dict.fromkeys((errors[0], errors[-1])))} %, whatever the number of seeds."
    )
    return lines


def _over(summary: Mapping[str, Any]) -> str:
    """Returns in words which sources were tested or validated on."""
    n, n_folds, n_different = summary["n_sources"], summary["n_folds"], summary["n_different"]
    if summary["part"] == "test":
        if n_folds:
            return f"{counted(n, 'source')}, each tested once in {n_folds}-fold cross-validation"
        return counted(n, "test source")
    if n_folds:
        return f"{n} training sources, each held out once a seed in {n_folds}-fold cross-validation, test untouched"
    drawn = "" if n == n_different else f" a seed, {n_different} in all"
    return f"{n} validation sources{drawn}, test untouched"


def pair_notes(summary: Mapping[str, Any]) -> list[str]:
    """Returns how the differences were tested, as sentences."""
    lines = [
        "Differences are accuracy of b less accuracy of a on the same sources, in percentage points, with the 95 % "
        "interval and the two-sided p of an analysis of variance with seeds and sources crossed, both drawn at random.",
        "No p is corrected for the number of pairs.",
    ]
    if summary["n_folds"]:
        lines.append("Networks of several folds share training sources, which the intervals know nothing of.")
    if any(pair["n_seeds"] == 2 for pair in summary["pairs"]):
        lines.append("Two seeds tell little of how seeds differ: the intervals are wide, three seeds are better.")
    if alone := [pair for pair in summary["pairs"] if pair["n_seeds"] == 1]:
        which = "; ".join(f"{pair['a']} and {pair['b']}" for pair in alone)
        lines.append(
            "From one seed each, so that only sources were taken as drawn, and a small p says that these trained "
            f"networks differ, not that their configs do: {which}."
        )
    return lines


def config_cells(config: Mapping[str, Any], plus_minus: str) -> list[str]:
    """Returns one row of the table of configs, as text."""
    scores = [_score_cell(config, one, plus_minus) for one in shown()]
    missed = " / ".join(with_spread(value, "{:.2f}".format, plus_minus) for value in config["missed"].values())
    counts = [_count(config["parameters"]), _millions(config["multiply_adds"])]
    seconds = config["seconds_per_epoch"]
    costs = ["-" if cost is None else f"{cost:.3g}" for cost in (seconds, config["minutes"])]
    return [str(config["n_seeds"]), *scores, missed, *counts, *costs]


def _score_cell(config: Mapping[str, Any], one: Reading, plus_minus: str) -> str:
    text = with_spread(config["scores"][one.key], one.score.number, plus_minus)
    over = config["accuracy_over"].get(one.condition) if one.score is ACCURACY else None
    return text if over is None else f"{text} [{', '.join(one.score.number(over[end]) for end in ('low', 'high'))}]"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{round(value):,}"


def _millions(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e6:.1f}"


def headings(summary: Mapping[str, Any]) -> list[str]:
    """Returns the headings of the table of configs."""
    missed = "missed " + " / ".join(summary["configs"][0]["missed"]) + ", rotated"
    return [
        "config",
        "seeds",
        *(one.heading for one in shown()),
        missed,
        "parameters",
        "multiply-adds (M)",
        "s / epoch",
        "minutes / run",
    ]


def pair_cells(pair: Mapping[str, Any]) -> list[str]:
    """Returns one row of the table of differences, as text: interval and p by condition."""
    cells = []
    for condition in conditions(pair):
        found = pair[condition]
        low, high = (f"{100 * found[end]:+.2f}" for end in ("low", "high"))
        cells += [f"{100 * found['difference']:+.2f} [{low}, {high}]", f"{found['p']:.3g}"]
    return cells


def conditions(pair: Mapping[str, Any]) -> list[str]:
    """Returns the conditions of a test that a pair was compared under."""
    return [condition for condition in IN_WORDS if condition in pair]


def pair_headings(pair: Mapping[str, Any]) -> list[str]:
    """Returns the headings of the table of differences."""
    words = [IN_WORDS[condition] or condition for condition in conditions(pair)]
    return [text for word in words for text in (f"b less a, {word}", "p")]


def to_markdown(summary: Mapping[str, Any]) -> str:
    """Returns the tables of configs and of differences in Markdown."""

    def table(head: list[str], rows: list[list[str]]) -> list[str]:
        lines = [head, ["---"] * len(head), *rows]
        return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]

    rows = [[config["config"], *config_cells(config, "±")] for config in summary["configs"]]
    lines = [*table(headings(summary), rows), "", *notes(summary)]
    if summary["pairs"]:
        rows = [[pair["a"], pair["b"], *pair_cells(pair)] for pair in summary["pairs"]]
        lines += ["", *table(["a", "b", *pair_headings(summary["pairs"][0])], rows), "", *pair_notes(summary)]
    return "\n".join(lines) + "\n"


def to_latex(summary: Mapping[str, Any]) -> str:
    """Returns the same tables in LaTeX, for the booktabs package."""

    def table(head: list[str], rows: list[list[str]], caption: list[str]) -> list[str]:
        return [
            r"\begin{table}",
            r"\caption{" + escape_latex(" ".join(caption)) + "}",
            r"\begin{tabular}{l" + "r" * (len(head) - 1) + "}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *(" & ".join(row) + r" \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]

    rows = [[escape_latex(one["config"]), *config_cells(one, r"$\pm$")] for one in summary["configs"]]
    lines = table([escape_latex(heading) for heading in headings(summary)], rows, notes(summary))
    if summary["pairs"]:
        rows = [[escape_latex(p["a"]), escape_latex(p["b"]), *pair_cells(p)] for p in summary["pairs"]]
        lines += ["", *table(["a", "b", *pair_headings(summary["pairs"][0])], rows, pair_notes(summary))]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Returns text with LaTeX's special characters made literal."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)


def config_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns a row per config with every number unrounded; None where it is not defined."""
    rows = []
    for config in summary["configs"]:
        row = {"config": config["config"], "n_seeds": config["n_seeds"], "n_sources": summary["n_sources"]}
        values = config["scores"] | {f"missed_{name}": value for name, value in config["missed"].items()}
        for key, value in values.items():
            row |= {f"{key}_mean": value["mean"], f"{key}_sd": value["sd"]}
        row |= {
            key: config[key]
            for key in ("binomial_error", "parameters", "multiply_adds", "seconds_per_epoch", "minutes")
        }
        rows.append(row)
    return rows


def pair_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns a row per pair of configs with every number unrounded."""
    rows = []
    for pair in summary["pairs"]:
        row = {key: pair[key] for key in ("a", "b", "n_seeds")}
        for condition in conditions(pair):
            row |= {f"{condition}_{key}": value for key, value in pair[condition].items()}
        rows.append(row)
    return rows
