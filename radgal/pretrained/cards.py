"""The cards of the networks that come along, as text: a table of all, and all that is known of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from radgal.pretrained import registry
from utils import counted

COLUMNS = ("name", "network", "parameters", "size", "trained on", "cross-validated error")


def table_text(names: Iterable[str]) -> str:
    """Returns a row for each network, in aligned columns."""
    rows = [COLUMNS, *(row_of(name, registry.read_card(name)) for name in names)]
    form = "  ".join(f"{{:{max(map(len, column))}}}" for column in zip(*rows, strict=True))
    return "\n".join(form.format(*row).rstrip() for row in rows)


def row_of(name: str, card: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the cells of a network in the table of all."""
    crossed = card["cross_validation"]
    return (
        name,
        network_text(card),
        f"{card['network']['parameters']:,}",
        f"{card['file']['bytes'] / 1e6:.2f} MB",
        trained_text(card),
        "none" if crossed is None else per_cent(crossed["error"]),
    )


def network_text(card: Mapping[str, Any]) -> str:
    """Returns what kind of network it is."""
    network = card["network"]
    words = [network["base"], "" if network["nrot"] is None else f"N = {network['nrot']}"]
    return ", ".join(filter(None, [*words, "" if network["head"] == "flatten" else f"{network['head']} head"]))


def trained_text(card: Mapping[str, Any]) -> str:
    """Returns how many sources of what it was trained on."""
    data = card["training"]["recipe"]["data"]
    n_sources = sum(sum(counts.values()) for counts in card["training"]["counts"].values())
    return f"{n_sources} of {' and '.join([card['training']['dataset'], *data.get('also', ())])}"


def per_cent(entry: Mapping[str, Any]) -> str:
    """Returns a share with its 95 % interval, in per cent."""
    value, low, high = (entry.get(key) for key in ("value", "low", "high"))
    if value is None:
        return "not defined"
    return f"{100 * value:.2f} %" + ("" if None in (low, high) else f" [{100 * low:.2f}, {100 * high:.2f}]")


def number(entry: Mapping[str, Any]) -> str:
    """Returns a score that is no share."""
    return "not defined" if entry.get("value") is None else f"{entry['value']:.3f}"


def markdown(name: str) -> str:
    """Returns the card of a network as Markdown.

    Raises:
        UserError: if no network of that name comes along.
    """
    card = registry.read_card(registry.check_name(name))
    parts = [
        [f"# {name}", "", f"{network_text(card)}, trained on {trained_text(card)}."],
        ["## File", "", *bullets(file_lines(card))],
        ["## Data and recipe", "", *bullets(training_lines(card))],
        ["## Cross-validated", "", *bullets(crossed_lines(card["cross_validation"]))],
        ["## On other sources", "", *set_lines(card)],
        ["## Limits", "", *bullets(card["limits"])],
        ["## Licence and citation", "", *bullets([*card["licence"].values(), *card["cite"]])],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def bullets(lines: Iterable[str]) -> list[str]:
    """Returns a Markdown list."""
    return [f"- {line}" for line in lines]


def file_lines(card: Mapping[str, Any]) -> Iterator[str]:
    """Yields what is known of the file."""
    file = card["file"]
    yield f"{card['network']['parameters']:,} trainable parameters, {file['bytes']:,} bytes in {file['precision']}"
    yield f"SHA-256 {file['sha256']}"
    yield (
        f"in this precision no probability of {file['images_compared']} training images, upright and turned, changed "
        f"by more than {file['largest_difference']:.1e}"
    )


def training_lines(card: Mapping[str, Any]) -> Iterator[str]:
    """Yields what it was trained on and how."""
    training = card["training"]
    yield f"{training['dataset']} {training['version']}, {training['checksum']}"
    for part, counts in training["counts"].items():
        yield f"{part}: " + ", ".join(f"{n} {name}" for name, n in counts.items())
    yield from training["notes"]
    changed = training["git_changed_files"]
    commit = training["git_commit"] or "not known"
    yield f"commit {commit}" + (f", with {changed} changed files" if changed else "")
    yield (
        f"seed {training['seed']}, epoch {training['kept_epoch']} kept, {training['training_seconds'] / 60:.0f} minutes"
    )
    for section, keys in training["recipe"].items():
        yield f"[{section}] " + ", ".join(f"{key}: {value!r}" for key, value in keys.items())


def crossed_lines(crossed: Mapping[str, Any] | None) -> Iterator[str]:
    """Yields the scores of the cross-validation of its recipe."""
    if crossed is None:
        yield "not cross-validated: nothing is known of its error on sources like those that it was trained on"
        return
    yield (
        f"{counted(crossed['n_sources'], 'source')} in {counted(crossed['n_folds'], 'fold')}, "
        f"{counted(crossed['n_seeds'], 'seed')}: networks of this recipe, "
        "each tested on the sources that it was not trained on"
    )
    for difference in crossed["folder_recipe_differs"]:
        yield f"the recipe differed in {difference}"
    yield f"error {per_cent(crossed['error'])}, over random rotations {per_cent(crossed['rotated_error'])}"
    if crossed["averaged_error"] is not None:
        yield f"error of the probability averaged over poses {per_cent(crossed['averaged_error'])}"
    for name, recall in crossed["recall"].items():
        rotated = 100 * crossed["rotated_error_per_class"][name]
        yield f"{name}: {per_cent(recall)} found; over random rotations {rotated:.2f} % missed"
    yield from score_lines(crossed, crossed["temperature"])
    mean = crossed["mean_predictive_entropy"]
    yield f"predictive entropy {mean:.3f} nats on average; 95 % are below {unsure_text(crossed)}"


def unsure_text(crossed: Mapping[str, Any]) -> str:
    """Returns the entropy above which a source counts as unsure."""
    return f"{crossed['unsure_above']:.3f}"


def score_lines(entry: Mapping[str, Any], temperature: float | None = None) -> Iterator[str]:
    """Yields the scores of the probabilities, as they are and with the temperature."""
    yield "ROC area {}, NLL {} nats, Brier score {}, ECE {}".format(
        *(number(entry[key]) for key in ("roc_auc", "nll", "brier", "ece"))
    )
    calibrated = entry["with_temperature"]
    which = "" if temperature is None else f" {temperature:.3f}"
    yield f"with the temperature{which}: " + "NLL {} nats, Brier score {}, ECE {}".format(
        *(number(calibrated[key]) for key in ("nll", "brier", "ece"))
    )


def set_lines(card: Mapping[str, Any]) -> Iterator[str]:
    """Yields what it says of sets of other sources: a table, and below it the scores where there are any."""
    crossed = card["cross_validation"]
    unsure = [] if crossed is None else ["unsure"]
    yield "Sources that it was trained on are left out." + (
        f" Unsure: of a predictive entropy above {unsure_text(crossed)} nats, as 5 % of the cross-validated sources."
        if unsure
        else ""
    )
    yield ""
    classes = card["training"]["classes"]
    heads = ["set", "sources", "error", "rotated", *(f"called {name}" for name in classes), "mean entropy", *unsure]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for words, found in card["sets"].items():
        yield f"| {' | '.join(set_cells(words, found, classes)[: len(heads)])} |"
    scored = {words: found for words, found in card["sets"].items() if "error" in found}
    for words, found in scored.items():
        recalls = ", ".join(f"{name} {per_cent(recall)} found" for name, recall in found["recall"].items())
        averaged = f"averaged over poses, error {per_cent(found['averaged_error'])}"
        yield f"\n{words}: {recalls}; {averaged}; {'; '.join(score_lines(found))}."


def set_cells(words: str, found: Mapping[str, Any], classes: Iterable[str]) -> list[str]:
    """Returns a row of the table of sets."""
    left, trained_on = found["n_looked_at"], found["n_trained_on"]
    sources = f"{left}" if trained_on == 0 else f"{left} of {found['n_sources']}"
    if trained_on is None:
        sources = f"{found['n_sources']}, unknown which were trained on"
    if "predicted" not in found:
        return [words, f"{trained_on} of {found['n_sources']} trained on: not looked at", "", "", "", "", "", ""]
    unsure = found["unsure"]
    return [
        words,
        sources,
        per_cent(found["error"]) if "error" in found else "",
        per_cent(found["rotated_error"]) if "rotated_error" in found else "",
        *(f"{100 * found['predicted'][name]:.1f} %" for name in classes),
        f"{found['mean_predictive_entropy']:.3f}",
        "" if unsure is None else f"{100 * unsure:.1f} %",
    ]
