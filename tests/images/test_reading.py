"""Images of any kind: found, read within bounds, flagged, or refused in words."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits as pyfits
from PIL import Image as PillowImage

from radgal.images.reading import FLAGS, read_image
from tests.images.test_fits import SKY, a_field, write
from utils import UserError

RECIPE = "mirabest_v1"


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 200, (20, 20), dtype=np.uint8)


def save(path: Path, array: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        PillowImage.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".npy", ".PNG"])
def test_pixels_are_taken_as_they_are(tmp_path, pixels, suffix) -> None:
    image = read_image(save(tmp_path / f"a{suffix}", pixels), recipe=RECIPE, native_size=20)
    assert np.array_equal(image.pixels, pixels) and image.pixels.dtype == np.uint8
    assert image.flags == () and image.position is None and image.pixel_scale_arcsec is None


def test_color_becomes_gray_and_16_bits_become_8(tmp_path, pixels) -> None:
    color = save(tmp_path / "color.png", np.stack([pixels] * 3, axis=2))
    deep = save(tmp_path / "deep.png", pixels.astype(np.uint16) * 256 + 255)
    for path in (color, deep):
        assert np.array_equal(read_image(path, recipe=RECIPE, native_size=20).pixels, pixels)
    jpeg = save(tmp_path / "a.jpg", np.full((20, 20), 77, dtype=np.uint8))
    assert abs(int(read_image(jpeg, recipe=RECIPE, native_size=20).pixels[5, 5]) - 77) <= 1


def test_fluxes_in_arrays_go_through_the_recipe_as_fits_do(tmp_path) -> None:
    field = a_field((60, 60))
    from_array = read_image(save(tmp_path / "a.npy", field), recipe=RECIPE, native_size=20)
    from_fits = read_image(write(tmp_path / "a.fits", field, **SKY), recipe=RECIPE, native_size=20)
    assert np.array_equal(from_array.pixels, from_fits.pixels)
    assert from_fits.position is not None and from_fits.pixel_scale_arcsec == pytest.approx(1.8)


@pytest.mark.parametrize(("level", "flags"), [(0.0, ()), (1.0, ()), (3.0, ("offset",)), (1e3, ("offset",)), (-3.0, ())])
def test_a_background_that_is_not_near_zero_is_told(tmp_path, level, flags) -> None:
    image = read_image(save(tmp_path / "a.npy", a_field((60, 60)) + level), recipe=RECIPE, native_size=30)
    assert image.flags == flags


def test_larger_images_are_cropped_and_smaller_ones_padded_and_flagged(tmp_path, pixels) -> None:
    path = save(tmp_path / "a.png", pixels)
    cropped = read_image(path, recipe=RECIPE, native_size=10)
    assert cropped.flags == ("cropped",) and np.array_equal(cropped.pixels, pixels[5:15, 5:15])
    padded = read_image(path, recipe=RECIPE, native_size=30)
    assert padded.flags == ("padded",) and np.array_equal(padded.pixels[5:25, 5:25], pixels)
    assert padded.pixels.sum() == pixels.sum()


def test_what_is_unusual_is_flagged(tmp_path, pixels) -> None:
    field = a_field((40, 40))
    hole, nothing = field.copy(), np.full((40, 40), np.nan)
    hole[0, 0] = np.nan
    cut_off = np.minimum(field, 100.0)
    expected = {"plain": (), "hole": ("nan",), "nothing": ("nan", "blank"), "cut_off": ("saturated",)}
    for name, array in dict(plain=field, hole=hole, nothing=nothing, cut_off=cut_off).items():
        path = write(tmp_path / f"{name}.fits", array, **SKY)
        assert read_image(path, recipe=RECIPE, native_size=20).flags == expected[name], name
    path = tmp_path / "plain.fits"
    assert read_image(path, recipe=RECIPE, native_size=20, expected_arcsec=1.81).flags == ()
    assert read_image(path, recipe=RECIPE, native_size=20, expected_arcsec=15).flags == ("pixel_scale",)
    gray = save(tmp_path / "gray.png", np.full_like(pixels, 9))
    assert read_image(gray, recipe=RECIPE, native_size=20).flags == ("blank",)
    assert {flag for flags in expected.values() for flag in flags} | {"pixel_scale", "padded"} <= set(FLAGS)


def test_rescaling_is_to_the_pixel_scale_asked_for(tmp_path) -> None:
    path = write(tmp_path / "a.fits", a_field((80, 80)), **SKY)
    image = read_image(path, recipe=RECIPE, native_size=20, rescale_to_arcsec=3.6, expected_arcsec=3.6)
    assert image.pixel_scale_arcsec == pytest.approx(1.8, rel=1e-5) and image.flags == ()
    assert read_image(path, recipe=RECIPE, native_size=50, rescale_to_arcsec=3.6).flags == ("padded",)
    with pytest.raises(UserError, match="no pixel scale"):
        read_image(write(tmp_path / "b.fits", a_field()), recipe=RECIPE, rescale_to_arcsec=3.6)


@pytest.mark.real_data
def test_cutouts_too_small_to_measure_the_noise_as_the_recipe_does_are_flagged(cutouts, tmp_path) -> None:
    data = pyfits.getdata(cutouts[14])
    for cut, flags in ((0, ()), (2, ()), (20, ("small_cutout",)), (75, ("small_cutout",)), (80, ("padded",))):
        path = write(tmp_path / f"{cut}.fits", data[cut : 300 - cut, cut : 300 - cut])
        assert read_image(path, recipe=RECIPE).flags == flags, cut


def a_png_header(width: int, height: int) -> bytes:
    """A PNG that says it is large and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def test_images_that_are_wrong_are_refused_with_the_reason(tmp_path, pixels) -> None:
    whole = save(tmp_path / "a.png", pixels).read_bytes()
    array = save(tmp_path / "a.npy", pixels.astype(float)).read_bytes()
    cases = {
        "cut.png": (whole[: len(whole) // 2], "cannot be read"),
        "empty.png": (b"", "cannot be read"),
        "text.jpg": (b"hello", "cannot be read"),
        "wide.png": (a_png_header(20_000, 10_000), "10000 x 20000 pixels|bomb|exceeds"),
        "wider.png": (a_png_header(5_000, 20_000), "20000 x 5000 pixels; at most"),
        "cut.npy": (array[:300], "cannot be read"),
        "a.tif": (whole, "none of the images that are read"),
    }
    for name, (content, said) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"(?s){name}.*({said})"):
            read_image(tmp_path / name, recipe=RECIPE)
    for name, bad in dict(
        objects=np.array([[{}]], dtype=object), cube=np.zeros((3, 4, 4)), text=np.array([["a"]]), empty=np.zeros((0, 4))
    ).items():
        np.save(tmp_path / f"{name}.npy", bad, allow_pickle=True)
        with pytest.raises(UserError, match=f"{name}.npy cannot be read"):
            read_image(tmp_path / f"{name}.npy", recipe=RECIPE)
    with pytest.raises(UserError, match="No such file"):
        read_image(tmp_path / "absent.png", recipe=RECIPE)
