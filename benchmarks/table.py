"""The numbers of a benchmark as Markdown."""

from __future__ import annotations

from pathlib import Path

from utils import UserError, atomic_write

# What, of which network, must be how many times as good as the published pipeline; and the goal.
TARGETS = (
    ("cpu", "LeNet", "epoch", 2, 4),
    ("cpu", "C16", "training step", 2, 4),
    ("cpu", "D4", "training step", 2, 4),
    ("cpu", "D8", "training step", 2, 4),
    ("cpu", "D16", "training step", 4, 8),
    ("cpu", "D16", "peak memory beyond imports", 4, 4),
    ("cuda", "D16", "epoch", 5, 20),
)
LIMIT = (
    "Limit: the larger of the two, as a share of what was measured. Above 100 % fewer operations are made than dense "
    "convolutions have: empty sky is left out, and filters act on plane waves or frequencies of the group."
)
LOGITS_MUST, LOGITS_GOAL = 1e-4, 1e-5
DIFFERENCES = {
    "logits_train_mode": "logits, train mode",
    "logits_eval_mode": "logits, eval mode",
    "gradients": "gradients",
    "stock_gradients": "gradients of stock layers, to float64",
    "own_gradients": "gradients here, to float64",
    "float64_gradients": "gradients, both in float64",
}
MARKS = ("<!-- {}: begin -->", "<!-- {}: end -->")


def markdown(result: dict) -> str:
    """Returns all of a benchmark: on what machine, equality, targets, and a table of what was measured."""
    parts = [_machine(result), _equality(result), _targets(result), _rows(result), _limits(result), _gpu(result)]
    return "\n\n".join(part for part in parts if part) + "\n"


def growth_caption(result: dict) -> str:
    """Returns the figure and what it shows, for the page that it is in."""
    return (
        "![Time of a training step against N of C_N and D_N, and against the side of the image](figures/growth.png)\n\n"
        f"{_machine(result)}\n"
    )


def time_to_accuracy(result: dict) -> str:
    """Returns when the recipe reached the paper's error, a row per network."""
    lines = [
        f"{_machine(result)}\n",
        "| network | paper's rotated error | this program, seconds until it is reached | epoch | error then | "
        "seconds of all epochs | error at the end | published pipeline, seconds an epoch | 600 epochs, hours | ratio |",
        "|" + "---|" * 10,
    ]
    for row in result["time_to_accuracy"]:
        reached, end, epoch = row["reached"], row["end"], row["stock_epoch_seconds"]["median"]
        then = ("**not reached**", "-", "-")
        if reached:
            then = (f"{reached['seconds']:.0f}", str(reached["epoch"]), f"{100 * reached['error']:.2f} %")
        whole = 600 * epoch
        ratio = f"{whole / reached['seconds']:.0f}x" if reached else "-"
        cells = [row["model"], f"{100 * row['target']:.2f} %", *then, f"{end['seconds']:.0f}"]
        cells += [f"{100 * end['error']:.2f} %", f"{epoch:.1f}", f"{whole / 3600:.1f}", ratio]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def section_name(result: dict) -> str:
    """Returns the name of the section that a result belongs to, such as 'cpu MBFRConfident 151' or 'growth'."""
    device = result["device"].split(":")[0]
    if "time_to_accuracy" in result:
        return f"time-to-accuracy {device}"
    if "by_group" in result:
        return "growth"
    what = device if "rows" in result else "equality"
    return f"{what} {result['dataset']} {result['side']}"


def _machine(result: dict) -> str:
    where = result["environment"]
    packages = ", ".join(f"{name} {where['packages'][name]}" for name in ("torch", "torchvision", "e2cnn", "numpy"))
    device = where["cuda_device"] if result["device"].startswith("cuda") else where["processor"]
    before, after = (f"{load[0]:.1f}" for load in (result["load_before"], result["load_after"]))
    return (
        f"`{result['command']}`, {result['date']}: {device}, {where['threads']} of {result['cores']} cores, "
        f"Python {where['python']}, {packages}; {result['dataset']}, {result['side']} x {result['side']} px. "
        f"Load average {before} before and {after} after (above the number of threads it means that other programs "
        "ran, and that ratios say more than times)."
    )


def _targets(result: dict) -> str:
    device = result["device"].split(":")[0]
    lines = [
        "| target | must | goal | measured | must | goal |",
        "|---|---|---|---|---|---|",
    ]
    for kind, model, what, must, goal in TARGETS:
        found = [row for row in result["rows"] if kind == device and (row["model"], row["what"]) == (model, what)]
        for row in found:
            name = f"{model}, {what}, batch {row['batch_size']}, {row['precision']}"
            verdicts = " | ".join(_verdict(row["ratio"] >= bound) for bound in (must, goal))
            lines.append(f"| {name} | {must}x | {goal}x | {row['ratio']:.2f}x | {verdicts} |")
    worst = max(max(e["logits_train_mode"], e["logits_eval_mode"]) for e in result["equality"].values())
    verdicts = f"{_verdict(worst <= LOGITS_MUST)} | {_verdict(worst <= LOGITS_GOAL)}"
    lines.append(f"| logits, same weights, fp32, relative | {LOGITS_MUST} | {LOGITS_GOAL} | {worst:.1e} | {verdicts} |")
    return "\n".join(lines)


def _verdict(met: bool) -> str:
    return "met" if met else "**not met**"


def _equality(result: dict) -> str:
    heads = ["fp32, relative difference", *DIFFERENCES.values()]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, found in result["equality"].items():
        lines.append(f"| {name} | " + " | ".join(f"{found[key]:.1e}" for key in DIFFERENCES) + " |")
    return "\n".join(lines)


def worst_equality(result: dict) -> str:
    """Returns the largest difference of each kind over all networks, and how many have no larger one than the goal."""
    found = result["equality"]
    lines = [
        f"{_machine(result)}\n",
        f"| fp32, relative difference | largest of {len(found)} groups | of | groups up to {LOGITS_GOAL:g} |",
        "|---|---|---|---|",
    ]
    for key, words in DIFFERENCES.items():
        worst = max(found, key=lambda name: found[name][key])
        n_within = sum(one[key] <= LOGITS_GOAL for one in found.values())
        lines.append(f"| {words} | {found[worst][key]:.1e} | {worst} | {n_within} |")
    return "\n".join(lines) + "\n"


def _rows(result: dict) -> str:
    lines = [
        "| network | batch | what | precision | unit | published | here | ratio | ratio of processor time |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        processor = row["ratio_processor_time"]
        cells = [row["model"], row["batch_size"], _what(row), row["precision"], row["unit"]]
        cells += [_spread(row[path]) for path in ("stock", "ours")]
        cells += [f"{row['ratio']:.2f}", "" if processor is None else f"{processor:.2f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n\nMedians, with the quartiles in brackets."


def _limits(result: dict) -> str:
    rates = result["rates"]
    lines = [
        f"This machine's rates, measured in the same run: {rates['multiply_adds'] / 1e9:.0f} G multiply-adds a second "
        f"in a product of float32 matrices, {rates['bytes'] / 1e9:.0f} GB a second moved by a copy. At those rates a "
        "training step takes, counted as dense convolutions that read and write every map once a pass:",
        "",
        "| network | M multiply-adds an image | MB an image | ms, computing | ms, moving | ms, measured | limit |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        if found := row.get("limit"):
            cells = [row["model"] + ("" if row["precision"] == "fp32" else f", {row['precision']}")]
            cells += [f"{found['multiply_adds'] / 1e6:.3g}", f"{found['bytes'] / 1e6:.3g}"]
            cells += [f"{found[key]:.3g}" for key in ("computing_ms", "moving_ms")]
            measured = row["ours"]["median"]
            share = max(found["computing_ms"], found["moving_ms"]) / measured
            lines.append("| " + " | ".join([*cells, f"{measured:.3g}", f"{100 * share:.0f} %"]) + " |")
    return "\n".join([*lines, "", LIMIT])


def _what(row: dict) -> str:
    if row["what"] == "epoch":
        return f"epoch ({row['training_images']} + {row['validation_images']} images)"
    return row["what"]


def _spread(values: dict) -> str:
    return f"{values['median']:.3g} ({values['low']:.3g} to {values['high']:.3g})"


def _gpu(result: dict) -> str:
    if result["device"] == "cpu":
        return ""
    rate = result["convolution_rate"]
    lines = [f"bf16 convolutions of this card, channels last: {rate['best_tflops']:.0f} TFLOP/s at best."]
    for row in result["rows"]:
        if "share_of_conv_rate" in row:
            share = 100 * row["share_of_conv_rate"]
            lines.append(
                f"- {row['model']}, batch {row['batch_size']}: the training step computes at {row['dense_tflops']:.1f} "
                f"TFLOP/s counted as dense convolutions, {share:.1f} % of that."
            )
        if row["what"] == "epoch":
            images = row["training_images"] + row["validation_images"]
            minutes = 600 * images * row["ours"]["median"] / 6e4
            lines.append(
                f"- {row['model']}, batch {row['batch_size']}, {row['precision']}: 600 epochs of {images} images take "
                f"{minutes:.1f} min, from one epoch."
            )
    for run in result.get("full_runs", ()):
        lines.append(
            f"- {run['config']}, {run['precision']}: {run['epochs']} epochs in {run['seconds'] / 60:.1f} min, test "
            f"error {100 * run['test_error_upright']:.2f} % ({run['n_test']} sources)."
        )
    return "\n".join(lines)


def update_section(path: Path, name: str, text: str) -> None:
    """Puts ``text`` between the marks of section ``name`` in a Markdown file, in place of what was there.

    Raises:
        UserError: if the file, or its marks, are not there.
    """
    begin, end = (mark.format(name) for mark in MARKS)
    try:
        before, rest = path.read_text(encoding="utf-8").split(f"{begin}\n", 1)
        _, after = rest.split(end, 1)
    except (OSError, ValueError):
        raise UserError(f"{path} has no section between {begin} and {end}") from None
    with atomic_write(path) as temporary:
        temporary.write_text(f"{before}{begin}\n{text}{end}{after}", encoding="utf-8")
