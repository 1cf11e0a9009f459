"""The paragraph on methods: every choice, number, version and citation of a run, from its saved files.

It is LaTeX, to be pasted into a paper; what a file does not say is named at its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radgal.evaluation.metrics import AVERAGED, BY_KEY, ROTATED, UPRIGHT, Reading
from radgal.evaluation.results import describe_poses
from radgal.repeats.tables import escape_latex
from radgal.report.paper.recipe import describe_recipe
from radgal.report.paper.references import OF_PACKAGE, of_dataset
from radgal.report.runviews import kept_epoch, training_seconds
from radgal.report.savedrun import SavedRun
from radgal.report.values import clean
from utils import counted, format_duration

CITED_FOR = {
    "accuracy": ("Wilson1927",),
    "roc_auc": ("DeLong1988",),
    "mcc": ("Kerman2011",),
    "nll": ("Hall1992",),
    "ece": ("Guo2017", "Broecker2007"),
}
"""Scores that the paragraph gives -> what is cited for their interval."""
SHOWN = (
    *((condition, "accuracy") for condition in (UPRIGHT, ROTATED, AVERAGED)),
    *((UPRIGHT, key) for key in ("mcc", "roc_auc", "nll", "ece")),
)


class Citations:
    """Gives \\citep commands, and remembers what was cited."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, *keys: str) -> str:
        self.keys += [key for key in keys if key not in self.keys]
        return f"\\citep{{{','.join(keys)}}}" if keys else ""


def latex(text: Any, limit: int = 400) -> str:
    """Returns a text of a file so that LaTeX takes it as it is, whatever it holds."""
    return escape_latex(clean(text, limit))


def recipe_as_latex(config: Mapping[str, Mapping[str, Any]], cite: Citations) -> list[str]:
    """Returns the recipe of a config as sentences in which all but the citations is escaped."""
    marks: list[tuple[str, ...]] = []

    def mark(*keys: str) -> str:
        marks.append(keys)
        return f"\x01{len(marks) - 1}\x01"

    sentences = []
    for sentence in describe_recipe(config, mark):
        pieces = sentence.split("\x01")
        shown = [cite(*marks[int(piece)]) if i % 2 else latex(piece, 4000) for i, piece in enumerate(pieces)]
        sentences.append(f"{''.join(shown)}.")
    return sentences


def describe_methods(run: SavedRun, cite: Citations) -> str:
    """Returns the paragraphs on one run: data, recipe, test, software, and what is not known."""
    parts = [
        ("Data", _data(run, cite)),
        ("Network and training", _training(run, cite)),
        ("Test", _test(run, cite)),
        ("Software", _software(run, cite)),
    ]
    paragraphs = [f"\\paragraph{{{title}}}\n{' '.join(lines)}" for title, lines in parts if lines]
    if missing := missing_from(run):
        paragraphs.append(
            "% Not in the files of this run, and so not said here:\n" + "\n".join(f"% - {one}" for one in missing)
        )
    return "\n\n".join(paragraphs)


def missing_from(run: SavedRun) -> list[str]:
    """Returns what the files of a run do not say."""
    needed = {
        "the recipe (config.txt)": run.config,
        "the epochs (history.csv)": run.history,
        "versions, device and class counts (environment.json)": run.environment,
        "the test result (metrics.json): python main.py evaluate makes it": run.metrics.get("upright"),
        "single test sources (sources.csv)": run.sources,
        "the test of orientation: python main.py rotate makes it": run.rotation_sources,
        "the equivariance errors: python main.py equivariance makes them": run.equivariance_summary,
    }
    found = [what for what, there in needed.items() if not there]
    return found + [clean(problem, 400) for problem in run.problems]


def _data(run: SavedRun, cite: Citations) -> list[str]:
    env, lines = run.environment, []
    own = run.metrics.get("trained_on") or run.metrics  # a test on other data says what the network learned from
    name = env.get("dataset") or own.get("dataset") or run.option("data", "dataset")
    if name:
        version = env.get("dataset_version") or own.get("version")
        checksum = env.get("dataset_checksum")
        of = f" {latex(version)}" if version else ""
        sum_of = f" (checksum {latex(checksum)})" if checksum else ""
        lines.append(
            f"The network was trained on {latex(name)}{of}{sum_of} {cite(*of_dataset(str(name)))}".rstrip() + "."
        )
    for part, words in (("train", "Training"), ("validation", "Validation")):
        if counts := env.get("class_counts", {}).get(part):
            by_class = ", ".join(f"{n} {latex(one)}" for one, n in counts.items())
            lines.append(f"{words} sources: {sum(counts.values())} ({by_class}).")
    for other, one in (env.get("also") or {}).items():
        lines.append(
            f"{one['trained_on']} of the training sources are from {latex(other)} {latex(one['version'])} "
            f"{cite(*of_dataset(other))}".rstrip()
            + f" ({', '.join(f'{n} left out for {why}' for why, n in one['left_out'].items())})."
        )
    if left_out := env.get("sources_left_out"):
        lines.append(f"{counted(left_out, 'source')} of the data set itself left out of training.")
    if members := run.metrics.get("members"):
        lines.append(
            f"The result is of the mean probability of {len(members)} networks {cite('Lakshminarayanan2017')}: "
            f"{', '.join(latex(one) for one in members)}."
        )
    return lines


def _training(run: SavedRun, cite: Citations) -> list[str]:
    if not run.config:
        return []

    lines = recipe_as_latex(run.config, cite)
    epochs, kept, seconds = len(run.history), kept_epoch(run), training_seconds(run)
    if epochs:
        text = f"Training took {counted(epochs, 'epoch')}"
        text += f", of which epoch {kept} was kept" if kept else ""
        text += f", in {format_duration(seconds)} (h:m:s)" if seconds is not None else ""
        lines.append(f"{text}.")
    if parameters := run.environment.get("trainable_parameters"):
        lines.append(f"The network has {parameters} trainable parameters.")
    return lines


def _test(run: SavedRun, cite: Citations) -> list[str]:
    m = run.metrics
    if not m.get("upright"):
        return []
    by_class = ", ".join(f"{one['n_sources']} {latex(name)}" for name, one in m["upright"]["per_class"].items())
    name = m.get("dataset")
    of = f" of {latex(name)} {latex(m.get('version', ''))}".rstrip() if name else ""
    lines = [f"The network was tested on {counted(m['n_test'], 'source')}{of} ({by_class}); {_apart(m)}."]
    lines.append("Intervals are of 95 per cent.")
    found = [_score_text(m, condition, key, cite) for condition, key in SHOWN if _has(m, condition, key)]
    lines.append(f"The scores are: {'; '.join(found)}.")
    if rotated := m.get("rotated"):
        lines.append(
            f"Rotated scores are means over {rotated['n_rotations']} passes, each turning every image by a random angle"
            + (
                f", which spread by {100 * rotated['accuracy']['sd']:.2f} per cent."
                if rotated["accuracy"].get("sd") is not None
                else "."
            )
        )
    if averaged := m.get("averaged"):
        lines.append(f"Scores averaged over poses are of the mean probability over {describe_poses(averaged)}.")
    if dropout := m.get("mc_dropout"):
        lines.append(
            f"Predictive entropies are of {dropout['mc_samples']} passes with dropout on {cite('Gal2016')}; their mean "
            f"is {dropout['mean_predictive_entropy']:.4f} nats, of which {dropout['mean_mutual_information']:.4f} nats "
            "are mutual information."
        )
    if temperature := m.get("temperature"):
        before, after = m["upright"]["ece"]["value"], temperature["scaled"]["ece"]["value"]
        lines.append(
            f"A temperature of {temperature['temperature']:.3f}, fitted to the validation sources {cite('Guo2017')}, "
            f"changes the expected calibration error from {before:.3f} to {after:.3f}."
        )
    if run.rotation_sources:
        mean = sum(float(row["overlap_index"]) for row in run.rotation_sources) / len(run.rotation_sources)
        lines.append(
            f"In the test of orientation of {cite('Scaife2021')} the mean overlap index of "
            f"{counted(len(run.rotation_sources), 'source')} is {mean:.4f}."
        )
    return lines


def _apart(metrics: Mapping[str, Any]) -> str:
    """Returns whether the tested sources were learned from."""
    leak, left_out = metrics.get("test_sources_trained_on"), metrics.get("left_out")
    if leak and leak["count"]:
        return (
            f"{counted(leak['count'], 'source', 'are')} among those that it was trained on, so the scores are too good"
        )
    if left_out:
        return f"{counted(len(left_out), 'source', 'are')} left out, since it learned from them"
    if leak or left_out is not None:
        return "it learned from none of them"
    return "whether it learned from any of them is not in the files"


def _has(metrics: Mapping[str, Any], condition: str, key: str) -> bool:
    return bool((metrics.get(condition) or {}).get(key))


def _score_text(metrics: Mapping[str, Any], condition: str, key: str, cite: Citations) -> str:
    """Returns a score with its interval, and what is cited for that, once."""
    of = BY_KEY[key]
    text = of.text(metrics[condition][key]).replace(" %", " per cent")
    new = [one for one in CITED_FOR.get(key, ()) if one not in cite.keys]
    return f"{Reading(of, condition).name(of.name)} {text} {cite(*new)}".rstrip()


def _software(run: SavedRun, cite: Citations) -> list[str]:
    env = run.environment
    if not env:
        return []
    packages = env.get("packages") or {}
    shown = [
        f"{latex(name)} {latex(version)} {cite(OF_PACKAGE[name]) if name in OF_PACKAGE else ''}".rstrip()
        for name, version in packages.items()
        if version is not None
    ]
    commit, changed = env.get("git_commit"), env.get("git_changed_files")
    program = "E2CNNRadGal" + (f", commit {latex(commit)}" if commit else "")
    program += f" with {changed} changed files" if commit and changed else ""
    text = f"We used {program}, on Python {latex(env.get('python', 'of unknown version'))}"
    lines = [text + (f", with {', '.join(shown)}." if shown else ".")]
    device = env.get("cuda_device") or env.get("processor")
    if device:
        threads = f", {counted(int(env['threads']), 'thread')}" if "threads" in env else ""
        lines.append(
            f"It was computed on {latex(device)} ({latex(env.get('device', ''))}, {latex(env.get('precision', ''))}, "
            f"{latex(env.get('platform', ''))}{threads})."
        )
    return lines


def describe_difference(pairs: Sequence[Mapping[str, Any]], n_common: int, cite: Citations) -> str:
    """Returns a sentence for each pair of runs, as the page that compares them has them."""
    lines = []
    for pair in pairs:
        shown = "; ".join(
            f"{latex(row['name'])} {_plain(row['value'])}"
            + (f" [{_plain(row['low'])}, {_plain(row['high'])}], p = {row['p']['text']}" if row["low"] else "")
            for row in pair["rows"]
        )
        both, first, other, neither = (one["text"] for one in pair["counts"])
        lines.append(
            f"On the same {n_common} sources {latex(pair['other'])} less {latex(pair['first'])} is {shown}. Both were "
            f"right on {both} sources, only {latex(pair['first'])} on {first}, only {latex(pair['other'])} on {other}, "
            f"neither on {neither}; McNemar's exact test {cite('McNemar1947')} gives p = {pair['p']['text']}."
        )
    lines.append(
        f"Differences are paired by source; intervals, of 95 per cent, are of the accuracy those of "
        f"{cite('Bonett2012')}, "
        f"of the ROC area those of {cite('DeLong1988')}, of means those of Student's t. They are of these trained "
        "networks, not of their recipes, and no p is corrected for the number of comparisons."
    )
    return "\\paragraph{Differences}\n" + " ".join(lines)


def _plain(number: Mapping[str, str] | None) -> str:
    return "not defined" if number is None else number["text"].replace("\u2212", "$-$")
