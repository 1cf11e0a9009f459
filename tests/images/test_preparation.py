"""How pixels become a network's input: cropped, turned, averaged, normalized."""

from __future__ import annotations

import pytest
import torch

from radgal.images.preparation import Preparation
from radgal.images.transforms import rotate


@pytest.fixture
def images() -> torch.Tensor:
    """Three sparse images, uint8 (3, 1, 12, 12), as kept."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (3, 1, 12, 12), generator=generator)
    return (pixels * (torch.rand(pixels.shape, generator=generator) < 0.4)).to(torch.uint8)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_squares_of_pixels_are_averaged_and_then_normalized(images, factor) -> None:
    how = Preparation(0.1, 0.5, imsize=10, pad=2, downsample=factor)
    x = how.to_input(images)
    assert x.shape == (3, 1, 12 // factor, 12 // factor) and how.side == 12 // factor
    square = images[1, 0, :factor, factor : 2 * factor].double() / 255
    assert x[1, 0, 0, 1].item() == pytest.approx((square.mean().item() - 0.1) / 0.5, abs=1e-6)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_images_are_turned_before_they_are_averaged(images, factor) -> None:
    how = Preparation(0.0, 1.0, imsize=12, downsample=factor)
    angles, flip = torch.tensor([30.0, 200.0, 90.0]), torch.tensor([True, False, False])
    turned = rotate(images.float(), angles, flip) / 255
    expected = torch.nn.functional.avg_pool2d(turned, factor)
    torch.testing.assert_close(how.to_input(images, (angles, flip)), expected)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_quarter_turn_before_is_one_after(images, factor) -> None:
    how = Preparation(0.2, 0.3, imsize=12, downsample=factor)
    turned = how.to_input(images, (torch.full((3,), 90.0), None))
    torch.testing.assert_close(turned, torch.rot90(how.to_input(images), 1, (-2, -1)), atol=1e-4, rtol=0)


def test_empty_sky_has_the_background_value() -> None:
    how = Preparation(0.0031, 0.035, imsize=12, downsample=2)
    x = how.to_input(torch.zeros(1, 1, 12, 12, dtype=torch.uint8))
    assert how.background == pytest.approx(-0.0031 / 0.035) and x.unique().item() == pytest.approx(how.background)
