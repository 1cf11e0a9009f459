"""The rotation demo: input, maps and arrows turn together, and what is printed and drawn is what was computed."""

from __future__ import annotations

import math
import re
import shlex
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import models
from radgal.commands import demo as command
from radgal.data.datasets import preparation_of
from radgal.demo import fieldnetworks, formats, turning
from radgal.demo import frames as demofigure
from radgal.layers.basis import Symmetry
from radgal.runs.checkpoint import FORMAT
from tests.conftest import ROOT
from tests.networks import classifier_of
from utils import UserError

C4, D4 = Symmetry("C", 4), Symmetry("D", 4)
SIDE = 30


@pytest.fixture
def lopsided() -> torch.Tensor:
    """Returns an image, (1, 1, SIDE, SIDE), that no rotation or reflection leaves as it is."""
    pixels = np.zeros((SIDE, SIDE), dtype=np.uint8)
    pixels[9:14, 7:19] = 180
    pixels[14:20, 15:18] = 255
    return turning.prepare_image(pixels, SIDE)


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def quarter_turn(vectors: torch.Tensor) -> torch.Tensor:
    """Returns vector fields (m, 2, s, s) turned by 90 degrees: the map moves, and (x, y) becomes (-y, x)."""
    moved = torch.rot90(vectors, 1, dims=(-2, -1))
    return torch.stack([-moved[:, 1], moved[:, 0]], dim=1)


def trained(name: str, nrot: int | None) -> fieldnetworks.FieldNetwork:
    torch.manual_seed(1)
    model = models.build_model(name, n_classes=2, side=SIDE, nrot=nrot, background=-0.07).eval()
    return fieldnetworks.trained_network(classifier_of(model, mean=0.0019, std=0.0281), name)


STEERABLE = {
    "C4": lambda: fieldnetworks.steerable_network(C4),
    "D4": lambda: fieldnetworks.steerable_network(D4),
    "D3": lambda: fieldnetworks.steerable_network(Symmetry("D", 3)),
    "a D4 run": lambda: trained("DNSteerableLeNet", 4),
    "a C8 run": lambda: trained("CNSteerableLeNet", 8),
}


@pytest.mark.parametrize("name", [name for name in STEERABLE if "D3" not in name])
def test_maps_and_arrows_turn_with_the_image(name: str, lopsided: torch.Tensor) -> None:
    network = STEERABLE[name]()
    with torch.inference_mode():
        scalars, vectors = network.fields(network.prepare(lopsided))
        turned = network.fields(network.prepare(torch.rot90(lopsided, 1, dims=(-2, -1))))
    assert difference(turned[0], torch.rot90(scalars, 1, dims=(-2, -1))) < 1e-5
    assert difference(turned[1], quarter_turn(vectors)) < 1e-5
    assert difference(turned[1], torch.rot90(vectors, 1, dims=(-2, -1))) > 0.5, "the arrows did not turn"


@pytest.mark.parametrize("name", [name for name in STEERABLE if "D" in name and "D3" not in name])
def test_arrows_are_mirrored_with_the_image(name: str, lopsided: torch.Tensor) -> None:
    network = STEERABLE[name]()
    with torch.inference_mode():
        scalars, vectors = network.fields(network.prepare(lopsided))
        mirrored = network.fields(network.prepare(lopsided.flip(-1)))
    assert difference(mirrored[0], scalars.flip(-1)) < 1e-5
    assert difference(mirrored[1], vectors.flip(-1) * torch.tensor([-1.0, 1.0])[:, None, None]) < 1e-5


@pytest.mark.parametrize("group", [C4, D4, Symmetry("C", 8), Symmetry("D", 5)], ids=str)
def test_the_group_fourier_transform_gives_a_scalar_and_a_vector(group: Symmetry) -> None:
    to_scalar, to_vector = fieldnetworks.group_fourier(group)
    irrep = fieldnetworks.frequency_one(group)
    regular = irrep.group.regular_representation
    for element in irrep.group.elements:
        matrix = torch.from_numpy(regular(element)).float()
        torch.testing.assert_close(to_scalar @ matrix, to_scalar)
        torch.testing.assert_close(to_vector @ matrix, torch.from_numpy(irrep(element)).float() @ to_vector)


def test_an_arrow_to_the_right_turns_to_an_arrow_up() -> None:
    arrow = torch.zeros(1, 3, 5, 5)
    arrow[0, :2, 2, 4] = torch.tensor([2.0, 1.0])  # at the right edge, to the right
    turned = turning.turn(arrow, 90)
    torch.testing.assert_close(turned[0, :, 0, 2], torch.tensor([2.0, 0.0, 1.0]))  # at the top, up
    assert int((turned.abs() > 1e-6).sum()) == 2


def test_turning_there_and_back_is_nearly_nothing(lopsided: torch.Tensor) -> None:
    smooth = torch.nn.functional.avg_pool2d(lopsided, 5, 1, 2)
    assert difference(turning.turn(turning.turn(smooth, 25), -25), smooth) < 0.02
    assert torch.equal(turning.turn(turning.turn(smooth, 270), -270), smooth)


@pytest.mark.parametrize("name", STEERABLE)
def test_stabilized_fields_stand_still_but_for_the_grid(name: str, lopsided: torch.Tensor) -> None:
    result = turning.run_demo(STEERABLE[name](), lopsided, [0.0, 180.0, 270.0])
    exact = (90.0, 180.0) if "3" not in name else ()
    assert result.equivariant
    assert all(result.exact_change[angle] < 1e-5 for angle in exact)
    assert result.change[0] == 0
    if exact:
        assert max(result.change) < 1e-5
    else:  # three rotations: a turn by 90 or by 180 degrees is no element of the group
        assert min(result.exact_change.values()) > 1e-3


def test_a_run_whose_group_has_no_vector_fields_is_named() -> None:
    with pytest.raises(UserError, match="^CNSteerableLeNet: its group C2 has no vector fields.* 3 rotations"):
        trained("CNSteerableLeNet", 2)


CONVENTIONAL = {
    "untrained": lambda: fieldnetworks.plain_network(D4),
    "a run": lambda: trained("VanillaLeNet", None),
    "a run with one steerable layer": lambda: trained("DNRestrictedLeNet", 4),
}


@pytest.mark.parametrize("name", CONVENTIONAL)
def test_the_maps_of_a_conventional_network_change(name: str, lopsided: torch.Tensor) -> None:
    network = CONVENTIONAL[name]()
    result = turning.run_demo(network, lopsided, [0.0, 90.0])
    assert not result.equivariant
    assert min(result.exact_change.values()) > 0.1


def test_conventional_and_steerable_network_have_the_same_layers() -> None:
    x = torch.zeros(1, 1, SIDE, SIDE)
    shapes = [
        [t.shape for t in network(D4).fields(x)]
        for network in (fieldnetworks.steerable_network, fieldnetworks.plain_network)
    ]
    assert shapes[0] == shapes[1]


def test_relative_change_by_hand() -> None:
    upright = torch.ones(3, 6, 6)
    assert turning.relative_change(upright, upright) == 0
    scalar_gone, vector_doubled = upright.clone(), upright.clone()
    scalar_gone[0], vector_doubled[1:] = 0, 2
    assert turning.relative_change(scalar_gone, upright) == pytest.approx(math.sqrt(0.5))
    assert turning.relative_change(vector_doubled, upright) == pytest.approx(math.sqrt(0.5))
    with pytest.raises(UserError, match="empty fields.*--seed"):
        turning.relative_change(upright, torch.zeros(3, 6, 6))


def arguments(*words: str):
    parser = ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(list(words))


def demo(*words: str) -> None:
    args = arguments(*words)
    command.check(args)
    command.run(args)


@pytest.fixture
def small(monkeypatch, tmp_path: Path):
    """Returns a function that runs the command on a small file image, with small networks, in a scratch folder."""
    monkeypatch.setattr(turning, "UNTRAINED_SIDE", SIDE)
    monkeypatch.chdir(tmp_path)
    pixels = np.zeros((150, 150), dtype=np.uint8)
    pixels[60:75, 50:90] = 255
    pixels[75:95, 80:88] = 128
    Image.fromarray(pixels).save(tmp_path / "galaxy.png")
    return lambda *words: demo("--image", "galaxy.png", "--group", "C4", "--size", "300", *words)


def test_a_gif_has_its_frames_size_duration_and_says_what_was_computed(small, capsys, tmp_path: Path) -> None:
    small("--frames", "8", "--duration", "1.6", "--out", "a.gif")
    with Image.open(tmp_path / "a.gif") as gif:
        assert (gif.n_frames, gif.info["duration"], gif.info["loop"], gif.width) == (8, 200, 0, 300)
    assert (tmp_path / "a.gif").stat().st_size < demofigure.MAX_GIF_BYTES
    printed = capsys.readouterr().out
    image = turning.prepare_image(np.asarray(Image.open("galaxy.png")), SIDE, command.CROP)
    again = turning.run_demo(fieldnetworks.steerable_network(C4, 3), image, [45.0 * i for i in range(8)])
    said = re.search(r"untrained: (\S+) at 90°, (\S+) at 180°, (\S+) % at most", printed).groups()
    assert [float(text) for text in said[:2]] == [
        float(f"{again.exact_change[angle]:.0e}") for angle in turning.QUARTER_TURNS
    ]
    assert float(said[2]) == pytest.approx(100 * max(again.change), rel=0.06)
    assert max(float(text) for text in said[:2]) < 1e-5
    assert "python main.py demo --both" in printed


def test_the_drawn_numbers_are_the_computed_ones(lopsided: torch.Tensor) -> None:
    result = turning.run_demo(fieldnetworks.plain_network(C4), lopsided, [0.0, 90.0])
    text = demofigure.exact_text(result)
    assert text == " at 90°, ".join(
        [f"{100 * result.exact_change[90.0]:.0f} %", f"{100 * result.exact_change[180.0]:.0f} % at 180°"]
    )
    assert [demofigure.percent(v) for v in (0.0, 3.21e-7, 0.0123, 0.0996, 1.5)] == [
        "0",
        "3e-07",
        "1.2 %",
        "10 %",
        "150 %",
    ]


def test_png_strip_of_both_networks(small, tmp_path: Path, capsys) -> None:
    small("--both", "--step", "60", "--angles", "30", "90", "--out", "strip.png")
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.size == (300, 2 * 294)
    assert len(re.findall("at 180°", capsys.readouterr().out)) == 2


def test_the_frames_differ_where_they_should(lopsided: torch.Tensor) -> None:
    result = turning.run_demo(fieldnetworks.steerable_network(D4), lopsided, [0.0, 90.0])
    frames = demofigure.make_frames([result], width_px=300, cmap="magma")
    strip, alone = frames.strip([0, 1]), [frames.draw(i) for i in (0, 1)]
    height, head = len(alone[0]), round(0.075 * len(alone[0]))
    np.testing.assert_array_equal(strip[:height], alone[0])
    assert len(strip) == 2 * height - head and np.ptp(alone[1][:head].astype(int)) > 50  # the titles, said once
    upright, turned = (frames.draw(i)[:100].astype(int) for i in (0, 1))  # without the text below
    third = upright.shape[1] // 3
    changed = [int(np.abs(upright - turned)[:, k * third : (k + 1) * third].max()) for k in range(3)]
    assert min(changed[:2]) > 100
    assert changed[2] <= 2, "the stabilized panel moved"


def test_video_needs_an_encoder_and_gif_does_not(small, monkeypatch, tmp_path: Path) -> None:
    if formats.find_encoder() is not None:
        small("--frames", "4", "--out", "a.mp4")
        assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"
    monkeypatch.setattr(formats, "find_encoder", lambda: None)
    with pytest.raises(UserError, match="no ffmpeg is found.*gif"):
        small("--out", "b.mp4")
    assert not (tmp_path / "b.mp4").exists()


def test_a_gif_that_stays_too_large_is_kept_and_said(small, monkeypatch, tmp_path: Path, capsys) -> None:
    small("--frames", "2", "--out", "a.gif")
    assert "smaller --size" not in capsys.readouterr().out
    monkeypatch.setattr(demofigure, "MAX_GIF_BYTES", 1000)
    small("--frames", "2", "--out", "b.gif")
    assert "less with a smaller --size or fewer --frames" in capsys.readouterr().out
    assert (tmp_path / "b.gif").stat().st_size <= (tmp_path / "a.gif").stat().st_size


@pytest.mark.parametrize(
    "words, message",
    [
        (["--group", "D0"], r"--group D0: not a group.*at least 3.*C8 or D16"),
        (["--group", "C2"], "--group C2: not a group"),
        (["--group", "D64"], "at most 64 for C or 32 for D"),
        (["--group", "SO2"], "--group SO2: not a group"),
        (["--image", "nowhere.fits"], "nowhere.fits"),
        (["--out", "demo.tiff"], r"--out demo.tiff: the demo is written as .gif"),
        (["--cmap", "magmaa"], "nearest: magma"),
        (["--frames", "1"], "--frames 1 is not from 2"),
        (["--step", "0"], "--step 0 is not from 0.5"),
        (["--size", "10"], "--size 10 is not from 240"),
        (["--duration", "0"], "--duration 0 is not"),
        (["--seed", "-1"], "--seed -1 is not"),
        (["--angles", "0", "nan", "--out", "a.png"], "--angles nan is not from -360 to 360"),
        (["--angles", "0", "45"], r"--angles is for a .png, .* demo.gif; an animation has --frames"),
        (["--out", "galaxy.png/a.gif"], r"--out galaxy.png/a.gif: .*galaxy.png is not a folder that can be written"),
        (["--image", "folder.gif"], "folder.gif is not a file"),
        (["--out", "folder.gif"], "--out folder.gif is a folder; name a file in it, such as folder.gif/mine.gif"),
        (["--image", "black.png"], "black.png is empty inside the circle"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_said_before_anything_is_written(
    small, words: list[str], message: str, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "folder.gif").mkdir()
    Image.new("L", (150, 150)).save(tmp_path / "black.png")
    monkeypatch.setattr(turning, "run_demo", lambda *_, **__: pytest.fail("it began to compute"))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message):
        small(*words)
    assert set(tmp_path.rglob("*")) == before


def test_an_unknown_source_names_the_nearest(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"FIRSTGalaxyData has no such source; nearest: 202.155_63.488_1_MiraBest"):
        demo("--source", "202.155_63.489_1_MiraBest")
    with pytest.raises(UserError, match="--source : FIRSTGalaxyData has no such source"):
        demo("--source", "")


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    """Returns checkpoints of an untrained steerable and an untrained conventional network."""
    from radgal.commands.common import read_config

    config = ROOT / "configs" / "config_first_lenet.txt"
    paths = {}
    for name, options in {
        "steerable": ["model.base=CNSteerableLeNet", "model.nrot=4"],
        "conventional": [],
    }.items():
        cfg = read_config(str(config), ["training.imsize=30", "data.downsample=1", *options])
        content = dict(format=FORMAT, config=cfg.to_dict(), classes=["FRI", "FRII"], mean=0.0019, std=0.0281)
        model = models.build_from_config(cfg, ("FRI", "FRII"), preparation_of(cfg, (0.0019, 0.0281)))
        torch.save(content | dict(model=model.state_dict(), epoch=1, seed=0, history=[]), tmp_path / f"{name}.pt")
        paths[name] = tmp_path / f"{name}.pt"
    return paths


def test_trained_runs_are_shown_and_mixed_up_ones_refused(small, runs, capsys, tmp_path: Path) -> None:
    both = [str(path) for path in (runs["conventional"], runs["steerable"])]
    image = ["--image", str(tmp_path / "galaxy.png"), "--size", "300"]
    demo(*both, "--both", *image, "--step", "90", "--out", "both.png")
    numbers = re.findall(r"\((\S+)\): (\S+)( %)? at 90°", capsys.readouterr().out)
    assert [kind for kind, *_ in numbers] == ["C4-steerable", "conventional"]
    assert float(numbers[0][1]) < 1e-5 < float(numbers[1][1])
    for words, message in (
        ([both[0]], "it is not steerable; add --conventional"),
        ([both[1], "--conventional"], "leave --conventional out"),
        ([both[0], both[0], "--both"], "a steerable and a conventional RUN"),
        ([both[0], "--both"], "two RUNs"),
        ([both[1], "--group", "C4"], "a RUN has its own group"),
        ([both[1], "--seed", "4"], "a RUN has its own weights"),
        ([str(tmp_path / "nowhere")], "there is no run folder"),
    ):
        with pytest.raises(UserError, match=message):
            demo(*words, *image)


def test_long_and_odd_names_of_runs_fit_the_figure(runs, tmp_path: Path, small, capsys) -> None:
    content = torch.load(runs["steerable"], weights_only=True)
    content["config"]["name"] = "a$^$" + "long" * 20
    folder = tmp_path / "my runs"
    folder.mkdir()
    torch.save(content, folder / "best.pt")
    demo(str(folder), "--image", "galaxy.png", "--size", "300", "--out", "a.png")
    said = capsys.readouterr().out
    assert re.search(r"a\$\^\$\S{,25} \(C4-steerable\)", said)
    assert shlex.split(said)[-4:] == ["python", "main.py", "rotate", str(folder)]


@pytest.mark.parametrize("name", ["demo_steerable.gif", "demo_conventional.gif"])
def test_the_default_animations_are_whole_and_small(name: str) -> None:
    path = ROOT / "docs" / "figures" / name
    assert path.stat().st_size < demofigure.MAX_GIF_BYTES
    with Image.open(path) as gif:
        assert gif.n_frames == arguments().frames
