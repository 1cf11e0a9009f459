"""What a paper takes from a run: every choice and number in words, tables that can be read again, figures."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

from radgal.config.keys import SECTIONS
from radgal.report.paper import figures, tables, writing
from radgal.report.paper.methods import Citations, describe_methods
from radgal.report.paper.recipe import CHANGE_NO_NUMBER, describe_recipe
from radgal.report.paper.references import OF_PACKAGE, REFERENCES, of_dataset, to_bibtex
from radgal.report.savedrun import read_run
from tests.report.tools import HOSTILE, rewrite
from utils import UserError

# A config in which every key has a say
FULL = {
    "model": {"base": "DNSteerableLeNet", "nrot": 8},
    "data": {"dataset": "ImageTable", "pixel_scale": 1.8, "recipe": "mirabest_v1", "datamean": 0.1, "datastd": 0.2},
    "training": {"start_from": "runs/x", "patience": 5, "scheduler": "onecycle", "ema": 0.99, "frac_val": 0.2},
}
OTHER = {"recipe": "frdeep", "nrot": 4, "fold": "2/5", "val_fold": "3/5", "augment": "rotate+flip", "keep": "last"}
KEYS = [
    (section, key)
    for section in ("model", "data", "training")
    for key in SECTIONS[section].model_fields
    if key not in CHANGE_NO_NUMBER[section] and key != "dataset"  # which the data are said by
]


def another(key: str, value, field) -> object:
    """Returns another value of a key."""
    if key in OTHER:
        return OTHER[key]
    if get_origin(field.annotation) is Literal:
        return next(one for one in get_args(field.annotation) if one != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return [f"{key}_other"] if isinstance(value, list) else f"{key}_other"


@pytest.mark.parametrize("section, key", KEYS, ids=str)
def test_every_key_of_a_config_is_said(section: str, key: str) -> None:
    field = SECTIONS[section].model_fields[key]
    value = FULL[section].get(key, None if field.is_required() else field.default)
    config = {name: dict(values) for name, values in FULL.items()}
    before = describe_recipe(config, lambda *keys: "")
    config[section][key] = another(key, value, field)
    assert describe_recipe(config, lambda *keys: "") != before


def test_the_methods_have_the_numbers_of_the_files_and_cite_what_is_in_the_bibliography(run: Path) -> None:
    cite, saved = Citations(), read_run(run)
    text = describe_methods(saved, cite)
    metrics, env = (json.loads((run / name).read_text()) for name in ("metrics.json", "environment.json"))
    for wanted in (
        f"{100 * metrics['upright']['accuracy']['value']:.2f} per cent",
        f"{metrics['temperature']['temperature']:.3f}",
        f"{metrics['mc_dropout']['mean_predictive_entropy']:.4f} nats",
        "1055 (356 FRI, 699 FRII)",
        f"torch {env['packages']['torch']}",
        str(env["trainable_parameters"]),
        "learning rate of 0.001",
        "the seed is 42",
        env["git_commit"],
    ):
        assert wanted in text, wanted
    cited = {key for keys in re.findall(r"\\citep\{([^}]*)\}", text) for key in keys.split(",")}
    assert cited == set(cite.keys) and {"Scaife2021", "Griese2023", "Gal2016", "Guo2017", "Paszke2019"} <= cited
    entries = to_bibtex(cite.keys)
    assert set(re.findall(r"@\w+\{(\w+),", entries)) == cited and entries.count("{") == entries.count("}")
    assert re.search(r"(?<!\\)[%&#$_]", text.split("% Not in the files")[0]) is None
    assert {*OF_PACKAGE.values(), *of_dataset("MBFRConfident"), *of_dataset("FRDEEPN")} <= set(REFERENCES)


def test_what_is_missing_is_said_and_the_rest_is_there(copy: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(figures, "COLUMNS", {"mnras_single": 3.3})
    for name in ("metrics.json", "sources.csv", "history.csv", "equivariance.csv", "equivariance_summary.csv"):
        (copy / name).unlink(missing_ok=True)
    path, problems = writing.write_paper([copy], tmp_path / "paper")
    text = (path / "methods.txt").read_text(encoding="utf-8")
    assert "the test result (metrics.json): python main.py evaluate makes it" in text and "AdamW" not in text
    assert any("metrics.json" in problem for problem in problems) and "learning rate" in text
    assert not (path / "scores.tex").exists() and (path / "references.bib").read_text().count("@") > 5


def test_an_ensemble_names_its_members_and_a_test_elsewhere_what_was_left_out(copy: Path) -> None:
    def change(metrics):
        del metrics["test_sources_trained_on"]
        return metrics | {"members": ["runs/a/best.pt", "runs/b_1/best.pt"], "left_out": ["x", "y"]}

    rewrite(copy / "metrics.json", change)
    for name in ("config.txt", "environment.json", "history.csv"):
        (copy / name).unlink()
    text = describe_methods(read_run(copy), Citations())
    assert "2 networks \\citep{Lakshminarayanan2017}: runs/a/best.pt, runs/b\\_1/best.pt" in text
    assert "2 sources are left out, since it learned from them" in text and "trained on FIRSTGalaxyData" in text
    assert "% - the recipe (config.txt)" in text and "Adam" not in text


def test_tables_can_be_read_again_and_have_units_and_descriptions(run: Path, tmp_path: Path) -> None:
    from astropy.table import Table

    saved = read_run(run)
    tables.write_scores(saved, tmp_path)
    tables.write_sources(saved, tmp_path)
    scores = Table.read(tmp_path / "scores.ecsv")
    assert all(scores[name].description for name in scores.colnames)
    row = scores[(scores["score"] == "accuracy") & (scores["condition"] == "upright")][0]
    assert row["value"] == saved.metrics["upright"]["accuracy"]["value"]
    sources = Table.read(tmp_path / "sources.mrt", format="ascii.mrt")
    assert (
        len(sources) == 100
        and str(sources["ra_deg"].unit) == "deg"
        and "right ascension" in sources["ra_deg"].description
    )
    assert sources["prob_FRI"][0] == pytest.approx(float(saved.sources[0]["prob_FRI"]), abs=6e-5)
    latex = (tmp_path / "scores.tex").read_text()
    assert latex.count("&") == 2 * (latex.count("\\\\")) and r"\toprule" in latex and r"accuracy (\%)" in latex


def test_what_files_hold_is_no_latex(copy: Path) -> None:
    rewrite(copy / "metrics.json", lambda metrics: {**metrics, "dataset": r"\input{/etc/passwd}", "version": HOSTILE})
    rewrite(copy / "environment.json", lambda content: {**content, "dataset": r"\write18{rm}", "git_commit": "a%b\nc"})
    (copy / "config.txt").write_text(r"[model]" + "\n" + r"base: '\\input{x}'" + "\n[more]\nkey: '\\\\def'\n")
    text = describe_methods(read_run(copy), Citations())
    assert re.search(r"\\(input|write|def)", text) is None and "textbackslash" in text


def test_a_folder_of_something_else_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "methods.txt").write_text("my thesis")
    for folder, message in ((tmp_path / "mine", "not of this program"), (run, "the folder of a run")):
        with pytest.raises(UserError, match=message):
            writing.write_paper([run], folder)
    assert (tmp_path / "mine" / "methods.txt").read_text() == "my thesis"


@pytest.mark.slow
@pytest.mark.usefixtures("drawing")
def test_all_of_two_runs(run: Path, copy: Path, tmp_path: Path) -> None:
    path, problems = writing.write_paper([run, copy], tmp_path / "paper")
    assert not [problem for problem in problems if "not drawn" in problem or "not whole" in problem]
    for name in ("out", "run"):
        stems = {one.stem for one in (path / name / "mnras_single").iterdir()}
        assert {"loss", "error", "confusion", "roc", "reliability", "equivariance"} <= stems
        included = re.findall(r"includegraphics\{([^}]*)\}", (path / name / "figures.tex").read_text())
        assert included and all((path / name / one).is_file() for one in included)
    assert {one.stem for one in (path / "aa_double").iterdir()} == {"learning_curves", "roc_curves"}
    assert "McNemar" in (path / "methods.txt").read_text() and (path / "differences.ecsv").is_file()
    shutil.rmtree(path)
