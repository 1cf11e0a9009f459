"""Configs: what is read, what is refused and in which words, and that nothing hostile gets through."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from radgal.config.config import Config, describe, load_config
from radgal.config.ini import MAX_FILE_BYTES, parse_literal
from radgal.config.keys import SECTIONS, allowed_values
from tests.conftest import ROOT
from utils import UserError

CONFIGS = ROOT / "configs"
ALL_CONFIGS = sorted(CONFIGS.rglob("*.txt"))
MODELS = {"VanillaLeNet": False, "CNSteerableLeNet": True, "DNSteerableLeNet": True}
DATASETS = {"MBFRConfident": 2, "FRDEEPF": 2, "FIRSTGalaxyData": 2, "MiraBest_full": 10}
PUBLISHED_KEYS = {
    "model": "base nrot early_stopping quiet",
    "data": "dataset datadir datamean datastd",
    "training": "batch_size frac_val epochs imsize num_classes lr0 decay",
    "output": "csvfile modfile",
    "metrics": "outputdir",
}
PUBLISHED_STYLE = """
[model]
base: 'CNSteerableLeNet'    # network
nrot: 4                     # order of the group
early_stopping: True
quiet = False

[data]
dataset: 'MBFRConfident'
datadir: 'mirabest'
datamean: 0.0031
datastd: 0.0350             # of pixel/255

[training]
Batch_Size: 50
frac_val: 0.2
epochs: 600
imsize: 150
num_classes: 2
lr0: 1e-4
decay: 1e-6

[output]
csvfile: 'lenet # one.csv'  # a hash in quotes is no comment
modfile: "lenet.pt"
"""
SHORT = "[model]\nbase: 'VanillaLeNet'\n[data]\ndataset: 'MBFRConfident'\n"


def write(folder: Path, text: str, name: str = "some.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def mistakes_in(path: Path, overrides: tuple[str, ...] = ()) -> list[str]:
    """The lines of the report, less its headline."""
    with pytest.raises(UserError) as caught:
        load_config(path, overrides, models=MODELS, datasets=DATASETS)
    return str(caught.value).splitlines()[1:]


def only_mistake(folder: Path, line: str, section: str = "training") -> str:
    """The one mistake that an otherwise good config with ``line`` has."""
    extra = f"{line}\n" if section == "data" else f"[{section}]\n{line}\n"
    text = SHORT.replace("[data]", f"{line}\n[data]") if section == "model" else SHORT + extra
    (mistake,) = mistakes_in(write(folder, text))
    return mistake


@pytest.mark.parametrize("path", ALL_CONFIGS, ids=lambda p: str(p.relative_to(CONFIGS)))
def test_every_config_here_loads(path: Path) -> None:
    config = load_config(path, models=MODELS, datasets=DATASETS)
    assert config.output_dir == Path("runs", path.stem)
    assert path.read_text(encoding="utf-8").startswith("# "), "a header says what this trains on what"


def test_names_of_configs_differ() -> None:
    """Their names are the names of their output folders."""
    stems = [path.stem for path in ALL_CONFIGS]
    assert len(set(stems)) == len(stems) >= 19


def test_paper_configs_spell_the_published_choices_out() -> None:
    for path in sorted((CONFIGS / "paper").glob("*.txt")):
        config = load_config(path)
        data, training, model = config.data, config.training, config.model
        assert (data.pad, data.split, data.augment, training.val_augment) == (1, "first", "rotate", True)
        assert (training.epochs, training.batch_size, training.lr0, training.decay) == (600, 50, 1e-4, 1e-6)
        assert (training.frac_val, training.scheduler, training.patience) == (0.2, "plateau", None)
        assert model.mask == (model.base == "VanillaLeNet")
        spelled = model.model_fields_set | data.model_fields_set | training.model_fields_set
        assert {"mask", "head", "dropout", "pad", "augment", "split", "val_augment", "scheduler"} <= spelled


def test_published_style_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, PUBLISHED_STYLE, "old.txt"), models=MODELS, datasets=DATASETS)
    assert (config.model.base, config.model.nrot, config.model.quiet) == ("CNSteerableLeNet", 4, False)
    assert (config.data.datastd, config.training.lr0, config.training.batch_size) == (0.035, 1e-4, 50)
    assert config.csv_path == Path("lenet # one.csv")
    assert config.model_path == Path("lenet.pt")
    assert config.output_dir == Path("runs/old")
    assert (config.model.mask, config.data.pad, config.training.seed) == (True, 0, 42)


@pytest.mark.parametrize("section", SECTIONS)
def test_published_keys_are_all_known(section: str) -> None:
    assert set(PUBLISHED_KEYS[section].split()) <= set(SECTIONS[section].model_fields)


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "windows.txt"
    path.write_bytes(b"\xef\xbb\xbf" + SHORT.replace("\n", "\r\n").encode())
    assert load_config(path).model.base == "VanillaLeNet"


def test_none_is_as_good_as_absent(tmp_path: Path) -> None:
    """Files made from one template give a plain network ``nrot: None``."""
    text = SHORT.replace("[data]", "nrot: None\n[data]") + "datamean: None\n"
    assert load_config(write(tmp_path, text), models=MODELS) == load_config(write(tmp_path, SHORT))


def test_five_mistakes_are_five_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "[model]\nbase: 'VanilaLeNet'\nhead: 'flaten'\n"
        "[data]\ndataset: 'MBFRConfident'\ndatasdt: 0.03\n"
        "[training]\nepochs: 0\nfrac_val: '20 %'\n",
    )
    mistakes = mistakes_in(path)
    assert len(mistakes) == 5
    for key, bad, way in (
        ("[model] base", "'VanilaLeNet'", "did you mean 'VanillaLeNet'?"),
        ("[model] head", "'flaten'", "must be 'flatten' or 'invariant'; did you mean 'flatten'?"),
        ("[data] datasdt", "0.03", "did you mean 'datastd'?"),
        ("[training] epochs", "0", "must be a whole number, at least 1"),
        ("[training] frac_val", "'20 %'", "must be a number, at least 0 and below 1"),
    ):
        (line,) = (m for m in mistakes if key in m)
        assert line.strip().startswith(f"{path}: {key} = {bad}: ") and way in line


@pytest.mark.parametrize(
    ("section", "line", "words"),
    [
        ("training", "epochs: 50.0", "write 50, without the decimal point"),
        ("training", "epochs: True", "True and False are no numbers"),
        ("training", "lr0: True", "True and False are no numbers"),
        ("training", "lr0: 0", "must be a number, above 0"),
        ("training", "lr0: 1e999", "lr0 = inf: must be a number"),
        ("training", "decay: -1e-6", "must be a number, at least 0"),
        ("training", "frac_val: 1.0", "at least 0 and below 1"),
        ("training", "batch_size: 0", "at least 1"),
        ("training", "imsize: 9", "at least 10"),
        ("training", "num_classes: 3", "MBFRConfident has 2 classes: write 2"),
        ("training", "seed: -1", "at least 0"),
        ("training", "patience: 0", "at least 1, or None"),
        (
            "training",
            "monitor: 'test_accuracy'",
            "must be 'val_accuracy' or 'val_loss'; did you mean 'val_accuracy'?",
        ),
        ("training", "device: 'gpu'", "must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"),
        ("training", "frac_val: 0\npatience: 5", "frac_val = 0 leaves no validation images"),
        ("training", "optimizer: 'adamW'", "must be 'adam' or 'adamw'; did you mean 'adamw'?"),
        ("training", "scheduler: 'one-cycle'", "'plateau', 'cosine', 'onecycle' or 'none'; did you mean 'onecycle'?"),
        ("training", "warmup: 0.3", "only scheduler 'onecycle' warms up"),
        ("training", "scheduler: 'onecycle'\nwarmup: 1.0", "at least 0 and below 1"),
        ("training", "val_rotations: 0", "at least 1"),
        ("training", "val_rotations: 4\nval_augment: True", "val_augment = True turns the validation images at random"),
        ("data", "augment: 'rotate+rotate'", "must be 'none', or, joined with '+', some of 'rotate', 'flip', 'scale'"),
        ("data", "augment: 'none+flip'", "must be 'none', or"),
        ("data", "augment: ''", "must be 'none', or"),
        ("data", "augment: 'rotat'", "did you mean 'rotate'?"),
        ("training", "ema: 1", "must be a number, above 0 and below 1, or None"),
        ("training", "label_smoothing: 1.0", "at least 0 and below 1"),
        ("training", "keep: 'beste'", "must be 'best' or 'last', or None; did you mean 'best'?"),
        ("training", "frac_val: 0\nkeep: 'best'", "keep = 'best': frac_val = 0 leaves no validation images"),
        ("training", "patience: 5\nkeep: 'last'", "keep = 'last': the epoch that patience stops at is none to keep"),
        ("model", "early_stopping: False\n[training]\nkeep: 'best'", "early_stopping = False keeps the last epoch"),
        ("training", "datadir: 'x'", "it belongs to [data]"),
        ("training", "epochs: (1, 2)", "must be a whole number"),
        ("training", "epochs: 6 * 100", "is not a Python literal"),
        ("training", "epochs:", "has no value"),
        ("training", "epochs 600", "line 6, 'epochs 600': cannot be read"),
        (
            "training",
            "epochs: 1\nEpochs: 2",
            "line 7, 'Epochs: 2': [training] epochs is given twice; keep one",
        ),
        ("data", "pad: -1", "at least 0"),
        ("data", "datastd: 0.0", "must be a number, above 0, or None"),
        ("data", "split: 'frist'", "did you mean 'first'?"),
        ("data", "augment: 'rotate + flip'", "must be 'none', or, joined with '+'"),
        ("data", "datadir: mirabest/v1", "must be in quotes: datadir: 'mirabest/v1'"),
        ("data", "datadir: 'a\\x00b'", "must be text in quotes"),
        ("data", "datadir: ''", "must be text in quotes"),
        ("data", "mirror: '\\ud800'", "must be text in quotes"),
        ("model", "quiet: true", "must be written True"),
        ("model", "mask: 1", "must be True or False"),
        ("model", "dropout: 1.0", "at least 0 and below 1"),
        ("model", "nrot: 4", "VanillaLeNet takes none: remove nrot"),
        ("model", "nrot: 0", "at least 1"),
        ("evaluation", "n: 1", "[evaluation]: unknown section; known: [model], [data]"),
        ("DEFAULT", "n: 1", "[DEFAULT]: unknown section"),
    ],
)
def test_each_mistake_has_its_words(tmp_path: Path, section: str, line: str, words: str) -> None:
    assert words in only_mistake(tmp_path, line, section)


def test_missing_keys(tmp_path: Path) -> None:
    mistakes = mistakes_in(write(tmp_path, "[model]\nnrot: 4\n[training]\nepochs: 1\n"))
    assert len(mistakes) == 2
    assert "[model] base: is missing" in mistakes[0] and "[data] dataset: is missing" in mistakes[1]


@pytest.mark.parametrize("bad", ["base 'VanillaLeNet'", "base: VanillaLeNet", "bass: 'VanillaLeNet'"])
def test_a_misspelled_key_is_not_called_missing_as_well(tmp_path: Path, bad: str) -> None:
    assert len(mistakes_in(write(tmp_path, SHORT.replace("base: 'VanillaLeNet'", bad)))) == 1


@pytest.mark.parametrize("nrot", ["", "nrot: None"])
def test_nrot_is_missed_by_a_network_that_needs_it(tmp_path: Path, nrot: str) -> None:
    (mistake,) = mistakes_in(
        write(tmp_path, f"[model]\nbase: 'CNSteerableLeNet'\n{nrot}\n[data]\ndataset: 'FRDEEPF'\n")
    )
    assert "[model] nrot = None: CNSteerableLeNet needs it: a whole number, at least 1" in mistake


def test_sections_twice(tmp_path: Path) -> None:
    text = SHORT + "[training]\nepochs: 1\n[training]\nseed: -1\n"
    mistakes = mistakes_in(write(tmp_path, text))
    assert len(mistakes) == 2
    assert "line 7, '[training]': section [training] appears twice" in mistakes[0]
    assert "[training] seed = -1" in mistakes[1]


def test_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, PUBLISHED_STYLE)
    words = (
        "training.epochs=5",
        "model.NROT=8",
        "data.mirror=~/my archives/v1",
        "training.seed=None",
        "training.epochs=6",
    )
    config = load_config(path, words, models=MODELS, datasets=DATASETS)
    assert (config.training.epochs, config.model.nrot, config.training.seed) == (6, 8, None)
    assert config.data.mirror == "~/my archives/v1"
    assert set(config.overridden) == {"training.epochs", "model.nrot", "data.mirror", "training.seed"}
    assert re.search(r"epochs +6  \(command line\)", describe(config))
    assert re.search(r"pad +0  \(default\)", describe(config))
    assert re.search(r"imsize +150\n", describe(config))


def test_an_override_mends_a_mistake_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, SHORT + "pad: many\n")
    assert load_config(path, ["data.pad=1"]).data.pad == 1


def test_mistaken_overrides_take_part_in_the_report(tmp_path: Path) -> None:
    path = write(tmp_path, SHORT + "pad: -1\n")
    overrides = (
        "epochs=5",
        "training.epoch=5",
        "trainin.epochs=5",
        "training.epochs=five",
        "data.mirror=(1",
        "junk",
    )
    mistakes = mistakes_in(path, overrides)
    assert len(mistakes) == 7
    text = "\n".join(mistakes)
    assert "command line: 'epochs=5': write section.key=value, such as training.epochs=5" in text
    assert "command line: [training] epoch = 5: unknown key" in text and "did you mean 'epochs'?" in text
    assert "command line: [trainin]: unknown section" in text and "did you mean 'training'?" in text
    assert "command line: [training] epochs = 'five': must be a whole number" in text
    assert "command line: [data] mirror = (1: is not a Python literal" in text
    assert "command line: 'junk': write section.key=value" in text
    assert f"{path}: [data] pad = -1" in text


@pytest.mark.parametrize("path", ALL_CONFIGS, ids=lambda p: p.stem)
def test_round_trips(path: Path, tmp_path: Path) -> None:
    config = load_config(path, ['data.mirror="it\'s a # 100 % path"', "training.seed=None", "training.lr0=0.1"])
    assert load_config(write(tmp_path, config.to_ini())) == config
    stored = config.to_dict()
    again = Config.from_dict(stored)
    assert again == config and again.name == path.stem and again.output_dir == config.output_dir
    plain = (str, int, float, bool, type(None))
    assert all(isinstance(v, plain) for section in SECTIONS for v in stored[section].values())
    assert load_config(path) != config


def test_frozen(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, SHORT))
    with pytest.raises(ValidationError, match="frozen"):
        config.training.epochs = 3


def test_stored_configuration_of_an_older_program_gets_defaults() -> None:
    config = Config.from_dict({"model": {"base": "VanillaLeNet"}, "data": {"dataset": "FRDEEPF"}})
    assert config.training.epochs == 600


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "not a configuration"),
        ([], "not a configuration"),
        ({"name": 3}, "not a configuration"),
        ({"model": 3}, "[model] must hold keys"),
        ({"modle": {}}, "unknown section"),
        ({3: {}}, "unknown section"),
        ({"model": {"base": "x", "bias": 1}}, "unknown key"),
        ({"model": {"base": "x" * 1000}}, "must be text in quotes"),
        ({"model": {"base": "x"}, "data": {"dataset": "y", "pad": float("nan")}}, "pad = nan"),
    ],
)
def test_stored_configuration_that_is_none(content: object, words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        Config.from_dict(content)


def test_missing_file_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no config file confg_mb_lenet\.txt.*config_mb_lenet\.txt\?"):
        load_config("confg_mb_lenet.txt")
    with pytest.raises(UserError, match=r"no config file zzz; configs that are there: config_first"):
        load_config("zzz")


def test_what_is_no_config(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    large, binary, latin = tmp_path / "large", tmp_path / "binary", tmp_path / "latin"
    large.write_bytes(b"[model]\n" + b"#" * MAX_FILE_BYTES)
    binary.write_bytes(b"[model]\x00\n")
    latin.write_bytes("[model]\n# café".encode("latin1"))
    for path, words in (
        (tmp_path, "is a folder, not a config file"),
        (pipe, "is not a regular file"),
        (large, "is larger than 256 KiB"),
        (binary, "is a binary file"),
        (latin, "not a text file in UTF-8"),
        (ROOT / "main.py", "has no [section] line"),
        (write(tmp_path, "", "empty"), "has no [section] line"),
        (write(tmp_path, "[model]\n" + "junk\n" * 5000, "junk"), "cannot be read as a config"),
        (Path("\x00"), "cannot read the config file|no config file"),
        (Path("x" * 5000), "cannot read the config file|no config file"),
    ):
        with pytest.raises(UserError, match=words.replace("[", r"\[")):
            load_config(path)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 900,
        "-" * 900 + "1",
        "[" * 190 + "]" * 190,
        "9" * 900 + "e9",
        "{[]: 1}",
        "1" * 1001,
        "'\\N{x}'",
        "\x01",
    ],
)
def test_hostile_values(text: str) -> None:
    """They give a value, which its key will refuse, or a ValueError with words: nothing else."""
    try:
        parse_literal(text, "key")
    except ValueError as error:
        assert str(error).startswith(("is ", "must be "))


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.text(max_size=30))
def test_any_text_is_a_config_or_a_user_error(tmp_path_factory, text: str, override: str) -> None:
    path = write(tmp_path_factory.getbasetemp(), "[model]\n" + text, "fuzz.txt")
    try:
        assert load_config(path, [override]).model.base
    except UserError as error:
        assert str(error)


def test_table_in_readme_is_the_code() -> None:
    rows = []
    for section, model in SECTIONS.items():
        for key, info in model.model_fields.items():
            default = "required" if info.is_required() else f"`{info.default!r}`"
            origin = "published" if key in PUBLISHED_KEYS[section].split() else "new"
            words = f"{allowed_values(section, key)} | {default} | {info.description} | {origin}"
            rows.append(f"| [{section}] | `{key}` | {words} |")
    readme = (CONFIGS / "README.md").read_text(encoding="utf-8")
    assert [line for line in readme.splitlines() if re.match(r"\| \[\w+\] \|", line)] == rows


def test_list_in_readme_is_the_folder() -> None:
    readme = (CONFIGS / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[([\w/.]+\.txt)\]\(\1\) \| (\w+)(?:, `nrot` (\d+))? \| (\w+) \|$", readme, re.MULTILINE)
    assert sorted(row[0] for row in listed) == [str(p.relative_to(CONFIGS)) for p in ALL_CONFIGS]
    for name, base, nrot, dataset in listed:
        config = load_config(CONFIGS / name)
        assert (config.model.base, str(config.model.nrot or ""), config.data.dataset) == (base, nrot, dataset)
