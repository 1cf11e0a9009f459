"""The command ``models``: the list, a card, cutouts to try a network on."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import main
from radgal.data.firstgalaxy import FIRSTGalaxyOthers
from radgal.images.finding import find_images
from radgal.images.reading import read_image
from utils import UserError


def test_the_list(comes_along: Path, capsys) -> None:
    main.main(["models"])
    head, row, *_ = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["name", "network", "parameters"]
    for text in ("fr-small", "VanillaLeNet", "12,345", "1.23 MB", "7 of FIRSTGalaxyData", "25.00 % [20.00, 30.00]"):
        assert text in row
        assert row.index(text) >= 0


def test_a_card(comes_along: Path, capsys) -> None:
    main.main(["models", "fr-small"])
    said = capsys.readouterr().out
    for text in (
        "# fr-small\n",
        "- 2 sources were left out\n",
        "- the recipe differed in [training] epochs: 3 there, 2 here\n",
        "- with the temperature 1.750: NLL 0.500 nats",
        "95 % are below 0.625",
        "| MiraBest v1, official test | 86 of 104 trained on: not looked at |",
        "| MiraBest, uncertain | 7 of 9 | 25.00 % [20.00, 30.00] |  | 12.5 % | 87.5 % | 0.312 | 37.5 % |",
        "| FR-DEEP, NVSS | 9, unknown which were trained on |",
        "- a limit\n",
        "- a paper\n",
    ):
        assert text in said
    table = [line for line in said.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1


def test_cutouts_are_written_and_read_as_images(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "my cutouts"
    main.main(["models", "--example", str(folder)])
    assert "next: python main.py predict" in capsys.readouterr().out
    images = find_images(folder)
    assert len(images) == 6 and "University of California" in (folder / "TERMS.txt").read_text()
    for path in images:
        assert Image.open(path).size == (150, 150) and read_image(path, recipe="mirabest_v1").pixels.max() > 0
    with pytest.raises(UserError, match="is there already"):
        main.main(["models", "--example", str(folder)])
    with pytest.raises(UserError, match="not both"):
        main.main(["models", "fr-small", "--example", str(folder)])


def test_the_sources_that_are_neither_class() -> None:
    counts = [[FIRSTGalaxyOthers(train=train).targets.count(k) for k in (0, 1)] for train in (True, False)]
    assert counts == [[341, 298], [50, 50]]
