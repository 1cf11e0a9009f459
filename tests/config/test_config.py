"""Configs: what is read, what overrides do, and that it is written and read again."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from radgal.config.config import Config, describe, load_config
from radgal.config.keys import OLD_KEYS, SECTIONS, allowed_values
from tests.config.tools import ALL_CONFIGS, CONFIGS, DATASETS, MODELS, PUBLISHED_STYLE, SHORT, mistakes_in, write

PUBLISHED_KEYS = {
    "model": "base nrot early_stopping quiet",
    "data": "dataset datadir datamean datastd",
    "training": "batch_size frac_val epochs imsize num_classes lr0 decay gpu",
    "output": "csvfile modfile",
    "metrics": "outputdir",
}


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
    old = {key for home, key in OLD_KEYS if home == section}
    assert set(PUBLISHED_KEYS[section].split()) <= set(SECTIONS[section].model_fields) | old


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "windows.txt"
    path.write_bytes(b"\xef\xbb\xbf" + SHORT.replace("\n", "\r\n").encode())
    assert load_config(path).model.base == "VanillaLeNet"


def test_none_is_as_good_as_absent(tmp_path: Path) -> None:
    """Files made from one template give a plain network ``nrot: None``."""
    text = SHORT.replace("[data]", "nrot: None\n[data]") + "datamean: None\n"
    assert load_config(write(tmp_path, text), models=MODELS) == load_config(write(tmp_path, SHORT))


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
    assert config.data.mirror == os.path.expanduser("~/my archives/v1")
    assert set(config.overridden) == {"training.epochs", "model.nrot", "data.mirror", "training.seed"}
    assert re.search(r"epochs +6  \(command line\)", describe(config))
    assert re.search(r"imsize +150\n", describe(config))


def test_the_keys_that_were_set_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    lines = describe(load_config(write(tmp_path, SHORT), ["data.pad=0"])).splitlines()
    n_keys = sum(len(section.model_fields) for section in SECTIONS.values())
    assert [line.split()[0] for line in lines[:-1]] == ["[model]", "base", "[data]", "dataset", "pad"]
    assert lines[-1] == f"{n_keys - 3} other keys have their defaults (configs/README.md lists them)"


@pytest.mark.parametrize(
    ("line", "words", "device"),
    [
        ("gpu: False", (), "cpu"),
        ("gpu: True", (), "auto"),
        ("GPU = False  # of 2021", (), "cpu"),
        ("gpu: False\ndevice: 'cuda:1'", (), "cuda:1"),
        ("device: 'cuda:1'\ngpu: False", (), "cuda:1"),
        ("device: 'cuda:1'", ("training.gpu=False",), "cpu"),
        ("gpu: False", ("training.device=auto",), "auto"),
    ],
)
def test_the_key_gpu_of_historic_files_says_the_device(tmp_path: Path, line, words, device) -> None:
    config = load_config(write(tmp_path, f"{SHORT}[training]\n{line}\n"), words)
    assert config.training.device == device and load_config(write(tmp_path, config.to_ini())) == config


def test_an_override_mends_a_mistake_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, SHORT + "pad: many\n")
    assert load_config(path, ["data.pad=1"]).data.pad == 1


def as_list(value: object) -> list:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("path", ALL_CONFIGS, ids=lambda p: p.stem)
def test_round_trips(path: Path, tmp_path: Path) -> None:
    config = load_config(path, ['data.mirror="it\'s a # 100 % path"', "training.seed=None", "training.lr0=0.1"])
    assert load_config(write(tmp_path, config.to_ini())) == config
    stored = config.to_dict()
    again = Config.from_dict(stored)
    assert again == config and again.name == path.stem and again.output_dir == config.output_dir
    plain = (str, int, float, bool, type(None))
    values = [one for section in SECTIONS for value in stored[section].values() for one in as_list(value)]
    assert all(isinstance(value, plain) for value in values)
    assert load_config(path) != config


def test_frozen(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, SHORT))
    with pytest.raises(ValidationError, match="frozen"):
        config.training.epochs = 3


def test_stored_configuration_of_an_older_program_gets_defaults() -> None:
    config = Config.from_dict({"model": {"base": "VanillaLeNet"}, "data": {"dataset": "FRDEEPF"}})
    assert config.training.epochs == 600


def test_table_in_readme_is_the_code() -> None:
    """``RADGAL_WRITE_DOCS=1`` makes the table anew."""
    rows = ""
    for section, model in SECTIONS.items():
        for key, info in model.model_fields.items():
            default = "required" if info.is_required() else f"`{info.default!r}`"
            origin = "published" if key in PUBLISHED_KEYS[section].split() else "new"
            words = f"{allowed_values(section, key)} | {default} | {info.description} | {origin}"
            rows += f"| [{section}] | `{key}` | {words} |\n"
    path = CONFIGS / "README.md"
    before, found, after = re.split(r"((?:^\| \[\w+\] \|.*\n)+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if os.environ.get("RADGAL_WRITE_DOCS"):
        path.write_text(before + rows + after, encoding="utf-8")
        found = rows
    assert found == rows, f"RADGAL_WRITE_DOCS=1 python -m pytest {__file__} makes it anew"


def test_list_in_readme_is_the_folder() -> None:
    readme = (CONFIGS / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[([\w/.]+\.txt)\]\(\1\) \| (\w+)(?:, `nrot` (\d+))? \| (\w+) \|$", readme, re.MULTILINE)
    assert sorted(row[0] for row in listed) == [str(p.relative_to(CONFIGS)) for p in ALL_CONFIGS]
    for name, base, nrot, dataset in listed:
        config = load_config(CONFIGS / name)
        assert (config.model.base, str(config.model.nrot or ""), config.data.dataset) == (base, nrot, dataset)
