"""Rotation, reflection and normalization of batches, held against PIL and torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from radgal.images import transforms
from radgal.images.preparation import Preparation
from radgal.images.transforms import random_poses, rotate


def blob(side: int = 50) -> torch.Tensor:
    """A smooth, lopsided image in 0-255, empty at the edge."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    first = 200 * torch.exp(-((x - 15.0) ** 2 + (y - 22.0) ** 2) / 18)
    return (first + 90 * torch.exp(-((x - 30.0) ** 2 + (y - 30.0) ** 2) / 50)).round()[None, None]


@pytest.mark.parametrize("side", [50, 51])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_quarter_turns_move_pixels_exactly_counter_clockwise(side: int, turns: int) -> None:
    image = torch.rand(1, 1, side, side, dtype=torch.float64)
    turned = rotate(image, torch.tensor([90.0 * turns]))
    torch.testing.assert_close(turned, image.rot90(turns, (2, 3)), atol=1e-9, rtol=0)


@pytest.mark.parametrize("angle", [17.0, 45.0, 123.4, 301.0])
def test_agrees_with_pil_and_torchvision(angle: float) -> None:
    image = blob()
    ours = rotate(image, torch.tensor([angle]))[0, 0]
    pil = Image.fromarray(image[0, 0].numpy().astype(np.uint8)).rotate(angle, Image.Resampling.BILINEAR)
    assert np.abs(ours.numpy() - np.asarray(pil)).max() < 1.01  # PIL cuts to whole grey levels
    vision = tv.rotate(image, angle, InterpolationMode.BILINEAR)[0, 0]
    torch.testing.assert_close(ours, vision, atol=1e-3, rtol=0)


def test_every_image_has_its_own_angle_and_flip() -> None:
    images = torch.rand(3, 1, 20, 20)
    turned = rotate(images, torch.tensor([0.0, 90.0, 90.0]), torch.tensor([False, False, True]))
    expected = [images[0], images[1].rot90(1, (1, 2)), images[2].flip(2).rot90(1, (1, 2))]
    torch.testing.assert_close(turned, torch.stack(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(7, 1, 40, 40), (4, 3, 31, 44), (2, 1, 150, 150)])
@pytest.mark.parametrize("fill", [0.0, 0.4])
def test_few_pixels_are_turned_like_whole_images(shape: tuple[int, ...], fill: float, monkeypatch) -> None:
    """Corners and edges, which leave the image, among them."""
    generator = torch.Generator().manual_seed(4)
    images = torch.rand(shape, generator=generator, dtype=torch.float64)
    images = torch.where(torch.rand(shape, generator=generator) < 0.01, images, fill)
    images[:, :, 0, 0] = images[:, :, -1, -1] = images[:, :, 0, shape[3] // 2] = images[0, :, :, -1] = 1.0
    angles, flip = random_poses(shape[0], "rotate+flip", generator)
    angles[0] = 90.0
    results = []
    for share in (0.0, 1.0):
        monkeypatch.setattr(transforms, "SPARSE_BELOW", share)
        results.append(rotate(images, angles, flip, fill))
    torch.testing.assert_close(*results, atol=1e-10, rtol=0)
    assert torch.equal(rotate(torch.full_like(images, fill), angles, flip, fill), torch.full_like(images, fill))


def test_the_sky_outside_takes_the_fill_value() -> None:
    turned = rotate(torch.full((1, 1, 20, 20), 3.0), torch.tensor([45.0]), fill=3.0)
    torch.testing.assert_close(turned, torch.full((1, 1, 20, 20), 3.0))


def test_turned_background_has_no_edge_after_normalization() -> None:
    empty = torch.zeros(1, 1, 20, 20, dtype=torch.uint8)
    how = Preparation(0.0031, 0.035, empty.shape[-1])
    x = how.to_input(empty, (torch.tensor([33.0]), None))
    torch.testing.assert_close(x, torch.full_like(x, how.background))


def test_normalization_is_that_of_totensor_and_normalize() -> None:
    images = torch.randint(0, 256, (4, 1, 9, 9), dtype=torch.uint8)
    expected = tv.normalize(images.float() / 255, [0.0031], [0.035])
    torch.testing.assert_close(Preparation(0.0031, 0.035, images.shape[-1]).to_input(images), expected)


def test_poses_follow_the_seed_and_the_choice() -> None:
    def draw(augment: str) -> tuple:
        return random_poses(1000, augment, torch.Generator().manual_seed(5))

    angles, flip = draw("rotate")
    assert flip is None and 0 <= angles.min() < 10 and 350 < angles.max() < 360
    torch.testing.assert_close(draw("rotate")[0], angles)
    assert 400 < draw("rotate+flip")[1].sum() < 600
    assert draw("none") == (None, None)
