"""What is shown first: by a seed, by what a network is unsure of, by what is unlike the rest."""

from __future__ import annotations

import numpy as np
import pytest

import main
from radgal.labeling.orders import Opinions, Order, ask
from tests.labeling.tools import save_images
from tests.prediction.tools import make_run
from utils import UserError

ALL = np.ones(6, dtype=bool)


def opinions(**changes) -> Opinions:
    given = dict(entropy=np.array([0.1, 0.5, np.nan, 0.3, 0.6, 0.2]), disagreement=np.arange(6.0))
    given["embedding"] = np.array([[0, 0], [0.2, 0], [np.nan, np.nan], [5, 0], [9, 0], [5.1, 0]], dtype=np.float32)
    return Opinions(("a", "b"), np.full((6, 2), 0.5), **(given | changes))


def test_the_least_sure_come_first_and_the_unreadable_last() -> None:
    assert Order("uncertain", 6, opinions=opinions()).first(ALL, 6) == [4, 1, 3, 5, 0, 2]
    assert Order("disagreement", 6, opinions=opinions()).first(ALL, 2) == [5, 4]
    allowed = ALL.copy()
    allowed[[4, 1]] = False
    assert Order("uncertain", 6, opinions=opinions()).first(allowed) == [3]


def test_a_seed_shuffles_and_another_one_otherwise() -> None:
    orders = [Order("random", 50, seed).first(np.ones(50, dtype=bool), 50) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == list(range(50))


def test_the_most_different_is_the_farthest_from_all_that_is_labeled() -> None:
    order, open_ones, came = Order("different", 6, opinions=opinions()), ALL.copy(), []
    for _ in range(6):
        came.append(order.first(open_ones)[0])
        open_ones[came[-1]] = False
        order.labeled(came[-1])
    assert came == [3, 0, 4, 1, 5, 2]  # the usual one, the farthest from it, and so on; the unreadable last


def test_a_network_is_asked_about_every_image(tmp_path) -> None:
    images = save_images(tmp_path / "images", 4)
    (images / "s1.npy").write_bytes(b"no image")
    paths = sorted(map(str, images.glob("*")))
    runs = [str(make_run(tmp_path / f"r{seed}", seed=seed)) for seed in (0, 1)]
    one, both = ask(runs[:1], paths, "cpu"), ask(runs, paths, "cpu")
    good = [0, 2, 3]
    for found in (one, both):
        assert found.probabilities[good].sum(axis=1) == pytest.approx(np.ones(3))
        assert np.isnan(found.probabilities[1]).all() and np.isnan(found.embedding[1]).all()
        assert (found.disagreement[good] > 0).all() and (found.entropy[good] <= np.log(2)).all()
    assert np.array_equal(one.embedding, both.embedding, equal_nan=True)
    assert not np.allclose(one.probabilities[good], both.probabilities[good])


def test_mistakes_are_said_before_anything_is_read(tmp_path) -> None:
    images = str(save_images(tmp_path / "images", 1))
    table = ["--table", str(tmp_path / "l.csv")]
    for words, message in (
        ([images], "give the images, --table"),
        ([images, *table, "--classes", "a", "a"], "two to 9 different names"),
        ([images, *table, "--classes", "a"], "two to 9 different names"),
        ([images, *table, "--classes", "=a(1)", "b"], "cannot be a cell"),
        ([images, "--table", "l.fits", "--classes", "a", "b"], "end its name in .csv"),
        ([images, *table, "--classes", "a", "b", "--order", "different"], "give it by --run"),
        ([images, *table, "--classes", "a", "b", "--ensemble", "fr-d4"], "beside --run"),
        ([images, *table, "--classes", "a", "b", "--run", "fr-d5"], "no network of that name"),
        ([images + "x", *table, "--classes", "a", "b"], "there is no file or folder"),
    ):
        with pytest.raises(UserError, match=message):
            main.main(["label", *words])
    assert not (tmp_path / "l.csv").exists()
