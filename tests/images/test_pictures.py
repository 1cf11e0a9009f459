"""Pictures whose pixels do not say what they seem to: transparent, in color, on white, larger than asked for."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PillowImage

from radgal.images.reading import read_image
from utils import UserError


@pytest.fixture
def picture() -> np.ndarray:
    pixels = np.zeros((20, 20), dtype=np.uint8)
    pixels[5:15, 5:15] = np.random.default_rng(0).integers(1, 256, (10, 10))
    return pixels


def read(image: PillowImage.Image | np.ndarray, path, native_size: int = 20):
    if isinstance(image, np.ndarray):
        image = PillowImage.fromarray(image)
    image.save(path)
    return read_image(path, recipe="mirabest_v1", native_size=native_size)


@pytest.mark.parametrize("beneath", [0, 77, 255])
def test_what_is_transparent_is_black_whatever_lies_beneath(tmp_path, picture, beneath) -> None:
    shown = picture > 0
    gray = np.where(shown, picture, beneath).astype(np.uint8)
    alpha = np.where(shown, 255, 0).astype(np.uint8)
    kinds = {
        "rgba": PillowImage.fromarray(np.dstack([gray, gray, gray, alpha])),
        "la": PillowImage.fromarray(np.dstack([gray, alpha]), "LA"),
    }
    for name, image in kinds.items():
        found = read(image, tmp_path / f"{name}.png")
        assert np.array_equal(found.pixels, picture) and found.flags == ("transparent",), name


def test_a_color_that_stands_for_transparent_is_black(tmp_path, picture) -> None:
    gray = np.where(picture > 0, np.maximum(picture, 9), 200).astype(np.uint8)
    gray[gray == 200] = 201
    gray[picture == 0] = 200
    black = np.where(picture > 0, gray, 0)
    for mode, key in (("L", 200), ("RGB", (200, 200, 200)), ("P", 200)):
        image = PillowImage.fromarray(gray)
        if mode == "P":
            image = image.copy()
            image.putpalette([value for level in range(256) for value in (level,) * 3])
        else:
            image = image.convert(mode)
        image.save(tmp_path / f"{mode}.png", transparency=key)
        found = read_image(tmp_path / f"{mode}.png", recipe="mirabest_v1", native_size=20)
        assert np.array_equal(found.pixels, black) and found.flags == ("transparent",), mode


def test_half_of_the_light_comes_through_half_transparent_pixels(tmp_path, picture) -> None:
    alpha = np.full_like(picture, 128)
    found = read(PillowImage.fromarray(np.dstack([picture, picture, picture, alpha])), tmp_path / "a.png")
    assert np.abs(found.pixels - picture.astype(float) * 128 / 255).max() <= 1 and "transparent" in found.flags


def test_opaque_gray_pictures_of_every_mode_are_taken_as_they_are(tmp_path, picture) -> None:
    opaque = np.full_like(picture, 255)
    for name, image in {
        "rgb": np.dstack([picture] * 3),
        "rgba": np.dstack([picture] * 3 + [opaque]),
        "deep": picture.astype(np.uint16) * 257,
    }.items():
        found = read(image, tmp_path / f"{name}.png")
        assert np.array_equal(found.pixels, picture) and found.flags == (), name
    assert read(np.dstack([picture] * 3), tmp_path / "a.jpg").flags == ()


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_picture_that_is_far_from_white_is_told(tmp_path, picture, bits) -> None:
    """As one of 12 bits is in a file of 16."""
    peak = np.maximum(picture, 255 * (picture == picture.max())).astype(np.uint8)
    assert "dim" not in read(peak, tmp_path / "a.png").flags
    dim = {8: peak // 2, 12: peak.astype(np.uint16) * 16, 16: peak.astype(np.uint16) * 100}[bits]
    assert "dim" in read(dim, tmp_path / "dim.png").flags


@pytest.mark.parametrize("content", [b"", b"GIF89a" + bytes(40), b"SIMPLE  =                    T", b"<html></html>"])
def test_what_is_no_picture_is_told_in_words(tmp_path, content) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match="a.png cannot be read as an image: it is neither PNG nor JPEG, or damaged$"):
        read_image(tmp_path / "a.png", recipe="mirabest_v1")


def test_colors_a_bright_background_and_a_crop_are_told(tmp_path, picture) -> None:
    dark = picture // 2
    assert read(np.dstack([picture, dark, dark]), tmp_path / "color.png").flags == ("color",)
    assert read(np.dstack([picture, dark, dark]), tmp_path / "color.jpg").flags == ("color",)
    assert read(255 - picture, tmp_path / "white.png").flags[-1:] == ("bright_background",)
    noise = np.random.default_rng(0).normal(80, 10, (20, 20)).astype(np.uint8)
    assert read(np.maximum(picture, noise), tmp_path / "gray.png").flags[-1:] == ("bright_background",)
    assert read(picture, tmp_path / "large.png", native_size=16).flags == ("cropped",)
    np.save(tmp_path / "a.npy", 255 - picture)
    image = read_image(tmp_path / "a.npy", recipe="mirabest_v1", native_size=16)
    assert {"bright_background", "cropped"} <= set(image.flags)
