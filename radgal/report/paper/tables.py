"""The tables of a paper: in LaTeX with few columns, and for machines with units and descriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radgal.evaluation.metrics import AVERAGED, CLASS_SCORES, DROPOUT, ROTATED, SCORES, UPRIGHT, Score, value_of
from radgal.evaluation.sourcetable import CATALOG_COLUMNS, KINDS
from radgal.files.tables import column_name, write_table
from radgal.report.paper.methods import latex
from radgal.report.savedrun import SavedRun, to_float
from utils import atomic_write, counted, without_warnings

if TYPE_CHECKING:
    from astropy.table import Table

CONDITIONS = {
    UPRIGHT: "upright",
    ROTATED: "rotated",
    AVERAGED: "averaged over poses",
    DROPOUT: "mean of dropout passes",
}
DIGITS = {"deg": ".6f", "arcsec": ".2f"}  # by unit, in tables for machines


def write_latex(path: Path, heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str, label: str) -> None:
    """Writes a table for the LaTeX package booktabs, atomically; cells and heads are LaTeX already."""
    lines = [
        r"\begin{table}",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{label}}}",
        r"\begin{tabular}{l" + "r" * (len(heads) - 1) + "}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(["% needs \\usepackage{booktabs}", *lines]) + "\n", encoding="utf-8")


def cell(of: Score, entry: Mapping[str, Any] | None) -> str:
    """Returns a score as 95.19 [89.2, 97.9], a dash without one."""
    entry = entry or {}
    value, ends = to_float(value_of(entry)), [to_float(entry.get(end)) for end in ("low", "high")]
    if value is None:
        return "--"
    text = of.number(value).replace("-", "$-$")
    return text if None in ends else f"{text} [{', '.join(of.number(end).replace('-', '$-$') for end in ends)}]"


def write_scores(run: SavedRun, folder: Path) -> list[str]:
    """Writes the scores of a test as scores.tex and scores.ecsv, and those by class; returns their names."""
    from astropy.table import Table

    metrics = run.metrics
    name = latex(run.name)
    heads = ["score", "upright", *(["averaged over poses"] if metrics.get("averaged") else [])]
    rows = []
    for of in SCORES:
        unit = r" (\%)" if of.unit == "%" else f" ({of.unit})" if of.unit else ""
        row = [latex(of.name) + unit, cell(of, metrics["upright"].get(of.key))]
        rows.append(row + ([cell(of, metrics["averaged"].get(of.key))] if len(heads) > 2 else []))
    tested = f"{counted(metrics['n_test'], 'source')} of {latex(metrics.get('dataset', 'the test set'))}"
    write_latex(
        folder / "scores.tex", heads, rows, f"Scores of {name} on {tested}, with 95 per cent intervals.", "scores"
    )
    found = [
        [
            of.key,
            CONDITIONS[condition],
            *_numbers(entry),
            of.unit.replace("%", "fraction") or "1",
            str(entry.get("interval", "")),
        ]
        for condition in CONDITIONS
        for of in SCORES
        if (entry := (metrics.get(condition) or {}).get(of.key))
    ]
    columns = {
        "score": "name of the score in metrics.json",
        "condition": "how the images were given to the network",
        "value": "the score; proportions are fractions",
        "low": "lower end of the 95 % interval",
        "high": "upper end of the 95 % interval",
        "unit": "unit of value, low and high",
        "interval": "kind of interval",
    }
    table = Table(rows=found, names=list(columns), masked=True)
    for key, text in columns.items():
        table[key].description = text
    for key in ("value", "low", "high"):
        table[key].mask = ~np.isfinite(np.asarray(table[key], dtype=float))
    write_table(table, folder / "scores.ecsv")
    heads = ["class", "sources", "missed", *(of.name + (r" (\%)" if of.unit == "%" else "") for of in CLASS_SCORES)]
    rows = [
        [latex(key), str(one["n_sources"]), str(one["n_missed"]), *(cell(of, one.get(of.key)) for of in CLASS_SCORES)]
        for key, one in metrics["upright"]["per_class"].items()
    ]
    caption = f"Scores of {name} by class, upright, with 95 per cent intervals."
    write_latex(folder / "classes.tex", heads, rows, caption, "classes")
    return ["scores.tex", "scores.ecsv", "classes.tex"]


def _numbers(entry: Mapping[str, Any]) -> list[float]:
    values = (to_float(value_of(entry)), to_float(entry.get("low")), to_float(entry.get("high")))
    return [float("nan") if value is None else value for value in values]


def typed(rows: Sequence[Mapping[str, str]]) -> Table:
    """Returns rows of text as a table: a column is of whole numbers, numbers or truths where all its cells are."""
    from astropy.table import MaskedColumn, Table

    table = Table(masked=False)
    for key in rows[0]:
        texts = [row[key] for row in rows]
        there = [text for text in texts if text != ""]
        if there and set(there) <= {"True", "False"}:
            table[key] = np.array([text == "True" for text in texts])
        elif there and all(text.lstrip("-").isdecimal() for text in there) and len(there) == len(texts):
            table[key] = np.array([int(text) for text in texts])
        elif there and all(to_float(text) is not None for text in there):
            values = [to_float(text) for text in texts]
            blank = [value is None for value in values]
            numbers = [0.0 if value is None else value for value in values]
            table[key] = MaskedColumn(numbers, mask=blank) if any(blank) else np.array(numbers)
        else:
            table[key] = np.array(texts, dtype=str)
    return table


def write_sources(run: SavedRun, folder: Path) -> list[str]:
    """Writes the test sources as sources.mrt, the machine-readable table of the journals; returns its name."""
    classes = [str(name) for name in run.metrics["classes"]]
    table, about = typed(run.sources), {"name": ("", "name of the source"), **CATALOG_COLUMNS}
    about |= {"label_name": ("", "class by eye"), "pred_name": ("", "class by the network, upright, dropout off")}
    for prefix, what in KINDS.items():
        about |= {column_name(prefix, name): ("", f"probability of {name}, {what}") for name in classes}
    about |= {
        "predictive_entropy": ("nat", "predictive entropy over dropout passes"),
        "mutual_information": ("nat", "mutual information over dropout passes"),
        "rotated_accuracy": ("", "fraction of random rotations in which it is right"),
    }
    kept = [key for key in about if key in table.colnames and _is_said(table[key])]
    table = table[kept]
    for key in kept:
        unit, text = about[key]
        table[key].description = text
        if table[key].dtype.kind == "f":
            table[key].format = DIGITS.get(unit, ".4f")
        if unit in ("deg", "arcsec"):
            table[key].unit = unit
        elif unit:
            table[key].description = f"{text}, {unit}s"
    with atomic_write(folder / "sources.mrt") as temporary, without_warnings():
        table.write(temporary, format="ascii.mrt", overwrite=True)
    return ["sources.mrt"]


def _is_said(column: Any) -> bool:
    """Returns whether a column says something of any source."""
    blank = getattr(column, "mask", None)
    return (blank is None or not np.all(blank)) and not (column.dtype.kind == "U" and not any(column.tolist()))


def write_comparison(
    runs: Sequence[SavedRun], names: Sequence[str], pairs: Sequence[Mapping[str, Any]], folder: Path
) -> list[str]:
    """Writes the runs side by side as comparison.tex, and their paired differences as differences.ecsv."""
    from astropy.table import Table

    shown = [of for of in SCORES if of.key in ("error", "roc_auc", "nll")]
    heads = ["run", *(latex(of.short) + (r" (\%)" if of.unit == "%" else "") for of in shown)]
    rows = [
        [latex(name), *(cell(of, (run.metrics.get("upright") or {}).get(of.key)) for of in shown)]
        for name, run in zip(names, runs, strict=True)
    ]
    caption = "The runs side by side, upright, with 95 per cent intervals; for paired differences see the text."
    write_latex(folder / "comparison.tex", heads, rows, caption, "comparison")
    if not pairs:
        return ["comparison.tex"]
    values = [
        [pair["first"], pair["other"], row["name"], *(_value(row[key]) for key in ("value", "low", "high", "p"))]
        for pair in pairs
        for row in pair["rows"]
    ]
    columns = {
        "first": "run that is subtracted",
        "other": "run that it is subtracted from",
        "score": "name of the score; accuracies are fractions",
        "difference": "score of other less score of first, on the same sources",
        "low": "lower end of the 95 % interval",
        "high": "upper end of the 95 % interval",
        "p": "two-sided p of no difference",
    }
    table = Table(rows=values, names=list(columns))
    for key, text in columns.items():
        table[key].description = text
    write_table(table, folder / "differences.ecsv")
    return ["comparison.tex", "differences.ecsv"]


def _value(number: Mapping[str, str] | None) -> float:
    return float("nan") if number is None else float(number["value"])
