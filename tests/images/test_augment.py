"""Random changes of images: what they do to pixels, and that they depend on the seed and nothing else."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from radgal.images import transforms
from radgal.images.augment import Changes, random_changes, rotation
from radgal.images.transforms import rotate
from tests.images.test_transforms import blob

ALL = "rotate+flip+scale+shift+brightness+noise"


def draw(augment: str, n: int = 1000, seed: int = 5) -> Changes:
    return random_changes(n, augment, torch.Generator().manual_seed(seed))


def test_each_part_draws_what_it_says_and_leaves_those_before_it_alone() -> None:
    every = draw(ALL)
    assert 0.9 <= every.scale.min() < 0.91 and 1.09 < every.scale.max() <= 1.1
    assert every.shift_px.shape == (1000, 2) and 2.9 < every.shift_px.abs().max() <= 3
    assert 0.8 <= every.brightness.min() < 0.81 and 1.24 < every.brightness.max() <= 1.25
    assert 450 < (every.brightness > 1).sum() < 550
    assert len(every.noise_seeds.unique()) == 1000
    for shorter in ("rotate", "rotate+flip", "rotate+flip+scale"):
        names = {"rotate": "angles_deg", "flip": "flip", "scale": "scale"}
        assert all(torch.equal(getattr(draw(shorter), names[p]), getattr(every, names[p])) for p in shorter.split("+"))
    assert draw("flip").angles_deg is None and draw("none").noise_seeds is None


@pytest.mark.parametrize("scale", [0.9, 1.1])
def test_scale_and_shift_agree_with_torchvision(scale: float) -> None:
    image = blob()
    ours = rotate(image, torch.tensor([40.0]), scale=torch.tensor([scale]), shift_px=torch.tensor([[3.0, -2.0]]))
    # torchvision counts angles clockwise
    vision = tv.affine(image, -40.0, [3, -2], scale, [0.0], InterpolationMode.BILINEAR)
    torch.testing.assert_close(ours, vision, atol=2e-2, rtol=0)


@pytest.mark.parametrize("scale", [None, torch.linspace(0.9, 1.1, 6)], ids=["shifted", "scaled too"])
def test_few_pixels_are_changed_like_whole_images(scale, monkeypatch) -> None:
    """Also out of the image."""
    images = (torch.rand(6, 1, 31, 44) < 0.01).double()
    images[:, :, 0, 0] = images[:, :, -1, -1] = 1.0
    angles, shift = torch.rand(6) * 360, torch.rand(6, 2) * 60 - 30
    results = []
    for share in (0.0, 1.0):
        monkeypatch.setattr(transforms, "SPARSE_BELOW", share)
        results.append(rotate(images, angles, scale=scale, shift_px=shift))
    torch.testing.assert_close(*results, atol=1e-10, rtol=0)


def test_brightness_and_noise_are_as_large_as_they_should_be() -> None:
    images = torch.full((2, 1, 100, 100), 100, dtype=torch.uint8)
    assert Changes(brightness=torch.tensor([0.8, 1.25])).apply(images).mean((1, 2, 3)).tolist() == [80, 125]
    noisy = Changes(noise_seeds=torch.tensor([1, 2])).apply(images)
    assert noisy.std((1, 2, 3)).tolist() == pytest.approx([2, 2], rel=0.03)
    assert noisy.mean((1, 2, 3)).tolist() == pytest.approx([100, 100], abs=0.1) and not torch.equal(noisy[0], noisy[1])
    assert (images == 100).all()


@pytest.mark.parametrize("augment", ["none", "flip", "scale", "shift", "rotate+flip", ALL])
def test_an_image_is_changed_in_the_same_way_in_every_batch(augment: str) -> None:
    """So several processes, and a run that goes on inside an epoch, see the same images."""
    images = torch.randint(0, 256, (7, 1, 20, 20), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    changes = draw(augment, 7)
    whole = changes.apply(images)
    assert torch.equal(whole, images) == (augment == "none")
    parts = [changes[rows].apply(images[rows]) for rows in (slice(0, 3), slice(3, 7))]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-4, rtol=0)


def test_a_rotation_by_nothing_leaves_the_pixels_what_they_are() -> None:
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    assert rotation(2, 0.0).apply(images) is images
    assert rotation(2, 90.0).angles_deg.tolist() == [90, 90]
