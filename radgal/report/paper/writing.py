"""``report --paper``: a folder with all that a paper takes from one run, or from several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from radgal.figures.style import COLUMNS
from radgal.files.tables import file_name
from radgal.report.comparison import common_sources, compare_pair, names_of
from radgal.report.differing import differences
from radgal.report.paper import figures, methods, tables
from radgal.report.paper.references import to_bibtex
from radgal.report.questionviews import answered
from radgal.report.savedrun import SavedRun, read_run
from radgal.report.values import attempt
from utils import UserError, atomic_write

GENERATOR = "% Methods, by E2CNNRadGal from the saved files of"
METHODS, BIBLIOGRAPHY, FIGURES = "methods.txt", "references.bib", "figures.tex"


def write_paper(folders: Sequence[str | Path], out: str | Path) -> tuple[Path, list[str]]:
    """Writes figures, tables and methods of one run; of several, of each in a folder of its name, and compared.

    Args:
        folders: of the runs, or checkpoints in them.
        out: the folder to write to.

    Returns:
        Where it was written, and what is missing or could not be made, a line each.

    Raises:
        UserError: if a run is none, or the folder holds other things by these names.
    """
    runs = list({run.folder.resolve(): run for run in map(read_run, folders)}.values())
    out, names = Path(out), names_of(runs)
    _forbid_overwriting(out)
    if len(runs) == 1:
        return out, _write_run(runs[0], out)
    problems = []
    for name, run in zip(names, runs, strict=True):
        place = out / file_name(name)
        _forbid_overwriting(place)
        problems += [f"{name}: {problem}" for problem in _write_run(run, place)]
    return out, problems + _write_compared(runs, names, out)


def _forbid_overwriting(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--paper {out} is a file; give a folder, which may be a new one")
    ours = out / METHODS
    if ours.is_file() and not ours.read_text(encoding="utf-8", errors="replace").startswith(GENERATOR):
        raise UserError(f"--paper {out}: its {METHODS} is not of this program; choose another folder")
    if (out / "config.txt").is_file():
        raise UserError(f"--paper {out} is the folder of a run; choose another, such as {out / 'paper'}")


def _write_run(run: SavedRun, out: Path) -> list[str]:
    """Writes all of one run; returns what is missing or could not be made."""
    out.mkdir(parents=True, exist_ok=True)
    cite = methods.Citations()
    text, problem = attempt(methods.describe_methods, run, cite)
    problems = [f"{METHODS} is not whole: {problem}"] if problem else []
    stems, undrawn = figures.draw_all(figures.drawings_of(run), out)
    if run.metrics.get("upright"):
        problems += [p for p in (attempt(tables.write_scores, run, out)[1],) if p]
        if run.sources:
            problems += [p for p in (attempt(tables.write_sources, run, out)[1],) if p]
    more = {one.key: methods.latex(f"{one.title}: {one.says(answer)}.", 1000) for one, answer in answered(run)}
    _write_words(out, [run], text or "", cite, {stem: (figures.CAPTIONS | more).get(stem, stem) for stem in stems})
    return problems + undrawn + methods.missing_from(run)


def _write_compared(runs: Sequence[SavedRun], names: Sequence[str], out: Path) -> list[str]:
    """Writes what compares the runs."""
    out.mkdir(parents=True, exist_ok=True)
    cite = methods.Citations()
    common, problem = attempt(common_sources, runs)
    pairs = [compare_pair(common, k, names) for k in range(1, len(runs))] if common else []
    stems, undrawn = figures.draw_all(figures.drawings_of_several(runs, names), out)
    _, of_tables = attempt(tables.write_comparison, runs, names, pairs, out)
    lines = []
    for row in differences(runs):
        values = ", ".join(f"{methods.latex(v)} ({methods.latex(n)})" for n, v in zip(names, row["cells"], strict=True))
        lines.append(f"{methods.latex(row['name'])}: {values}")
    text = "\\paragraph{What differs}\n" + ("; ".join(lines) if lines else "Nothing that is written down") + "."
    if pairs:
        text += "\n\n" + methods.describe_difference(pairs, len(common.names), cite)
    _write_words(out, runs, text, cite, {stem: figures.CAPTIONS.get(stem, stem) for stem in stems})
    reasons = [f"no paired differences: {problem}"] if problem else []
    return reasons + undrawn + ([of_tables] if of_tables else [])


def _write_words(
    out: Path, runs: Sequence[SavedRun], text: str, cite: methods.Citations, captions: Mapping[str, str]
) -> None:
    """Writes the methods, their BibTeX, and how the figures are included."""
    of = ", ".join(methods.clean(run.folder.as_posix()) for run in runs)
    _write(out / METHODS, f"{GENERATOR} {of}. LaTeX with natbib; entries in {BIBLIOGRAPHY}.\n\n{text}\n")
    _write(out / BIBLIOGRAPHY, to_bibtex(cite.keys))
    name = " and ".join(methods.latex(run.name) for run in runs)
    width = next(iter(COLUMNS))
    blocks: list[Any] = [
        f"\\begin{{figure}}\n\\includegraphics{{{width}/{stem}.pdf}}\n\\caption{{{caption} Of {name}.}}\n"
        f"\\label{{fig:{stem}}}\n\\end{{figure}}"
        for stem, caption in captions.items()
    ]
    others = ", ".join(list(COLUMNS)[1:])
    _write(
        out / FIGURES, f"% In the widths of the columns of {width}; also in {others}.\n\n" + "\n\n".join(blocks) + "\n"
    )


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
