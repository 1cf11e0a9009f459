"""The tables of docs/results.md come from the committed tables of sources."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.results import PAGES, main, read_results, to_markdown
from tests.conftest import ROOT
from utils import UserError

COMMITTED = ROOT / "docs" / "results"


def rows_of(path: Path) -> list[dict]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.slow
def test_the_page_has_the_tables_of_the_committed_files():
    """``python -m benchmarks.results --update`` makes them anew."""
    for name, runs in read_results(COMMITTED).items():
        page = (ROOT / "docs" / PAGES.get(name, "results.md")).read_text(encoding="utf-8")
        assert f"<!-- {name}: begin -->\n{to_markdown(runs)}<!-- {name}: end -->" in page


def test_tables_have_the_numbers_of_their_files_and_go_between_the_marks(tmp_path: Path, capsys):
    seeds = [rows_of(COMMITTED / f"recipe_mb_v1_lenet_seed_{k}.csv") for k in (0, 1)]
    for k, rows in enumerate(seeds):
        half = len(rows) // 2  # as folds, the second in another order
        write(tmp_path / f"mine_lenet_seed_{k}_fold_1_of_2.csv", rows[:half])
        write(tmp_path / f"mine_lenet_seed_{k}_fold_2_of_2.csv", rows[: half - 1 : -1])
        write(tmp_path / f"mine_d4-also_seed_{k}.csv", [row | {"rotated_accuracy": 1.0} for row in rows])
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- mine: begin -->\nold\n<!-- mine: end -->\nafter\n")
    main([str(tmp_path), "--update", str(page)])
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert text.split("begin -->\n")[1].split("<!--")[0] in capsys.readouterr().out
    lines = {line.split(" | ")[0]: line.split(" | ") for line in text.split("| a | b |")[0].splitlines()}
    rotated = [100 - 100 * np.mean([float(row["rotated_accuracy"]) for row in rows]) for rows in seeds]
    mean, sd, low, high = map(float, re.findall(r"[\d.]+", lines["| lenet"][3]))
    assert (mean, sd) == pytest.approx((np.mean(rotated), np.std(rotated, ddof=1)), abs=0.006)
    assert low < mean < high and lines["| lenet"][1] == "2"
    probs = np.mean([[float(row["prob_FRII"]) for row in rows] for rows in seeds], axis=0)
    wrong = 100 * np.mean((probs > 0.5) != [row["label"] == "1" for row in seeds[0]])
    assert lines["| lenet, ensemble"][2].startswith(f"{wrong:.2f} [")
    rows = [line for line in text.splitlines() if line.startswith("| lenet | d4-also |")]
    assert len(rows) == 1 and f"{-np.mean(rotated):+.2f} [" in rows[0]


def test_what_cannot_share_a_table_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="holds no results"):
        read_results(tmp_path)
    shutil.copy(COMMITTED / "recipe_mb_v1_lenet_seed_0.csv", tmp_path / "set_a_seed_0.csv")
    shutil.copy(COMMITTED / "recipe_mb_v2_lenet_seed_0.csv", tmp_path / "set_b_seed_0.csv")
    with pytest.raises(UserError, match="b, seed 0, was tested on other sources than a, seed 0"):
        read_results(tmp_path)
    (tmp_path / "set_b_seed_0.csv").rename(tmp_path / "set_a_seed_0_fold_1_of_2.csv")
    shutil.copy(tmp_path / "set_a_seed_0.csv", tmp_path / "set_a_seed_0_fold_2_of_2.csv")
    with pytest.raises(UserError, match="more than once"):
        read_results(tmp_path)
    (tmp_path / "notes.csv").touch()
    with pytest.raises(UserError, match="notes.csv: results are called SET_NETWORK_seed_K.csv"):
        read_results(tmp_path)
