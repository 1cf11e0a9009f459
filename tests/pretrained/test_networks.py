"""The networks that do come along: they are as the list says, they predict, and their claims can be checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import radgal
from benchmarks.card import OFFICIAL_TESTS, SETS, look_at, open_set
from radgal.data.further import SAME_SKY_ARCSEC
from radgal.data.samesource import Sources
from radgal.pretrained import cards, registry
from radgal.runs import checkpoint
from utils import pick_device

MAX_BYTES = 10_000_000  # of all networks together
NAMES = registry.names()
NOTEST = [name for name in NAMES if name.endswith("-notest")]


def test_the_folder_holds_what_the_list_says() -> None:
    files = {path.name for path in registry.FOLDER.iterdir() if path.suffix in (".pt", ".json")}
    assert files == {f"{name}.{suffix}" for name in NAMES for suffix in ("pt", "json")}
    assert sum((registry.FOLDER / f"{name}.pt").stat().st_size for name in NAMES) < MAX_BYTES
    for name, sha256 in registry.checksums().items():
        assert registry.file_of(name).is_file() and registry.read_card(name)["file"]["sha256"] == sha256
        assert cards.markdown(name).startswith(f"# {name}\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_example_is_told(name: str, tmp_path: Path) -> None:
    """Both classes are told, though not all of them: what is neither is less sure than all of them."""
    from radgal.data.examples import write_examples

    labels = dict(write_examples(tmp_path / "cutouts"))
    catalog = radgal.open_run(name, device="cpu").predict(tmp_path / "cutouts")
    said = {f"{row['id']}.png": row for row in catalog}
    known = [file for file, label in labels.items() if label in ("FRI", "FRII")]
    assert [said[file]["pred_name"] for file in known] == [labels[file] for file in known]
    (compact,) = (file for file, label in labels.items() if label == "Compact")
    assert said[compact]["predictive_entropy"] > np.mean([said[file]["predictive_entropy"] for file in known])


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("name", NOTEST)
def test_the_claims_on_the_official_tests_are_true(name: str, real_data: Path, tmp_path: Path) -> None:
    """To a source or so, since another processor rounds in another way."""
    card, run = registry.read_card(name), checkpoint.load_run(name, pick_device("cpu"))
    learned = Sources.unpack(run.checkpoint["sources"])
    where = dict(root=tmp_path, download=False, mirror=str(real_data))
    for words, *choice in SETS:
        if words not in OFFICIAL_TESTS:
            continue
        images, sources, classes = open_set(run, *choice, **where)
        assert len(learned) and sources.rows_in(learned, SAME_SKY_ARCSEC) == []
        claimed = card["sets"][words]
        found = look_at(run, images, classes, card["cross_validation"], is_test=True)
        assert claimed["n_looked_at"] == claimed["n_sources"] == len(images) == 104
        for key in ("error", "averaged_error", "rotated_error"):
            assert found[key]["value"] == pytest.approx(claimed[key]["value"], abs=1.01 / len(images)), key
        assert found["nll"]["value"] == pytest.approx(claimed["nll"]["value"], rel=0.02)
        assert found["mean_predictive_entropy"] == pytest.approx(claimed["mean_predictive_entropy"], rel=0.05)
