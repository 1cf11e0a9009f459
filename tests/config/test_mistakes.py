"""Configs that are refused, and in which words; nothing hostile gets through."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radgal.config.config import Config, load_config
from radgal.config.ini import MAX_FILE_BYTES, parse_literal
from tests.config.tools import SHORT, mistakes_in, only_mistake, write
from tests.conftest import ROOT
from utils import UserError


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
        ("data", "also: 3", "must be a list of different texts, such as ['FIRSTGalaxyData', 'mine.csv']"),
        ("data", "also: ['a.csv', 'a.csv']", "must be a list of different texts"),
        ("data", "train_on: 'test'", "must be 'train' or 'all'"),
        ("data", "train_on: 'all'\nfold: '1/5'", "[data] fold tests on a part of all sources, train_on = 'all' trains"),
        ("data", "datadir: mirabest/v1", "must be in quotes: datadir: 'mirabest/v1'"),
        ("data", "datadir: 'a\\x00b'", "must be text in quotes"),
        ("data", "datadir: ''", "must be text in quotes"),
        ("data", "mirror: '\\ud800'", "must be text in quotes"),
        ("model", "quiet: true", "must be written True"),
        ("model", "mask: 1", "must be True or False"),
        ("model", "dropout: 1.0", "at least 0 and below 1"),
        ("model", "nrot: 4", "VanillaLeNet takes none: remove nrot"),
        ("model", "nrot: 0", "at least 1"),
        ("training", "gpu: 'cuda:0'", "must be True or False (True is device: 'auto', False is device: 'cpu')"),
        ("training", "gpu: no", "gpu = 'no': must be True or False"),
        ("data", "datadir: 'C:\\new'", "a backslash in quotes begins a sign of its own"),
        ("data", "datadir: 'C:\\Users\\me'", "since a backslash begins a sign of its own: datadir: 'C:/Users/me'"),
        ("data", "datadir: C:\\Users\\me", "must be in quotes: datadir: 'C:/Users/me'"),
        (
            "data",
            "datadir: \u2018x\u2019",
            "must be in straight quotes, not in the curly ones of word processors: datadir: 'x'",
        ),
        ("data", "datadir: \u201cx\u201d", "curly ones"),
        ("training", "epochs: 5 ; few", "is followed by ;, but a comment behind a value begins with #"),
        ("data", "datadir: 'x' ; mine", "a comment behind a value begins with #"),
        ("data", "download: no", "must be written False"),
        ("data", "download: 'off'", "must be True or False; write False"),
        ("training", "compile: yes", "must be written True"),
        ("training", "compile: 1", "must be True or False; write True"),
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


@pytest.mark.parametrize("n_texts", [50, pytest.param(300, marks=pytest.mark.slow)])
def test_any_text_is_a_config_or_a_user_error(n_texts: int, tmp_path: Path) -> None:
    @settings(max_examples=n_texts, deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.text(max_size=30))
    def check(text: str, override: str) -> None:
        try:
            assert load_config(write(tmp_path, "[model]\n" + text, "fuzz.txt"), [override]).model.base
        except UserError as error:
            assert str(error)

    check()
