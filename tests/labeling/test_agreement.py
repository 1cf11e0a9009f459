"""Two labelers' agreement: kappa against scikit-learn, its interval against resampling, and what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

import main
from radgal.labeling.agreement import cohen_kappa
from utils import UserError

HEAD = "path,label,ra,dec,answer,order,labeler,labeled_at\n"


def table(path: Path, labels: list[str]) -> str:
    lines = [f"{i}.png,{label},,,{'class' if label else 'unsure'},random,x,y" for i, label in enumerate(labels)]
    path.write_text(HEAD + "\n".join(lines) + "\n")
    return str(path)


def test_kappa_is_that_of_scikit_learn_and_its_interval_that_of_resampling() -> None:
    generator = np.random.default_rng(0)
    counts = np.array([[60, 7, 3], [12, 90, 5], [2, 9, 40]])
    pairs = [(i, j) for i in range(3) for j in range(3) for _ in range(counts[i, j])]
    one, other = np.array(pairs).T
    kappa, (low, high) = cohen_kappa(counts)
    assert kappa == pytest.approx(cohen_kappa_score(one, other), abs=1e-12)
    draws = generator.multinomial(len(one), counts.ravel() / counts.sum(), size=4000).reshape(-1, 3, 3)
    spread = np.std([cohen_kappa(draw)[0] for draw in draws])
    assert (high - low) / (2 * 1.96) == pytest.approx(spread, rel=0.04)
    assert cohen_kappa(np.array([[5, 0], [0, 5]])) == (1.0, None) and cohen_kappa(np.array([[5]])) == (None, None)


def test_the_command_says_how_far_and_where_two_labelers_differ(tmp_path, capsys) -> None:
    one = table(tmp_path / "a.csv", ["FRI"] * 10 + ["FRII"] * 10 + [""])
    other = table(tmp_path / "b.csv", ["FRI"] * 9 + ["FRII"] * 11 + ["FRI"])
    main.main(["label", "--agreement", one, other])
    said = capsys.readouterr().out
    assert "20 images in both tables, 1 in one only" in said and "they agree on 19: 0.950 [0.764, 0.991]" in said
    assert "Cohen's kappa: 0.900 [" in said and "9: FRI / FRII" in said
    with pytest.raises(UserError, match="no image in common"):
        (tmp_path / "c.csv").write_text(HEAD + "z.png,FRI,,,class,random,x,y\n")
        main.main(["label", "--agreement", one, str(tmp_path / "c.csv")])
