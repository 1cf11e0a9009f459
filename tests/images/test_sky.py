"""Where pixels are on the sky: two scales, measured at the place, in every projection."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits as pyfits
from astropy.wcs import WCS

from radgal.images.fits import read_fits
from radgal.images.mosaic import Mosaic, Position, read_cutout
from radgal.images.reading import is_another_scale, read_image
from radgal.images.sky import sky_at
from tests.images.test_fits import SKY, a_field, write
from utils import UserError

RECIPE = "mirabest_v1"
PIXEL = 0.0005  # degrees


def changed(**header) -> dict:
    return {key: value for key, value in (SKY | header).items() if value is not None}


def matrix(*cd) -> dict:
    return changed(CDELT1=None, CDELT2=None, **dict(zip(("CD1_1", "CD1_2", "CD2_1", "CD2_2"), cd, strict=True)))


@pytest.mark.parametrize(
    "header, scales, flags",
    [
        (SKY, (1.8, 1.8), ()),
        (changed(CDELT1=-0.0007, CDELT2=0.000357), (2.52, 1.2852), ("pixel_scale",)),
        (changed(CDELT2=0.00052), (1.8, 1.872), ("pixel_scale",)),
        (changed(CDELT1=PIXEL), (1.8, 1.8), ("mirrored",)),
        (changed(CDELT1=PIXEL, CDELT2=-PIXEL), (1.8, 1.8), ()),  # turned by half
        (matrix(0, PIXEL, PIXEL, 0), (1.8, 1.8), ()),  # turned by a quarter
        (matrix(0, PIXEL, -PIXEL, 0), (1.8, 1.8), ("mirrored",)),
        (matrix(-PIXEL, 0.0001, 0, PIXEL), (1.8, 1.8356), ("sheared",)),
        (matrix(-PIXEL, 0.0002, 0, PIXEL), (1.8, 1.9386), ("pixel_scale", "sheared")),
    ],
)
def test_both_scales_the_side_and_the_angle_are_told(tmp_path, header, scales, flags) -> None:
    path = write(tmp_path / "a.fits", a_field((40, 40)), **header)
    image = read_image(path, recipe=RECIPE, native_size=20, expected_arcsec=1.8)
    assert image.scales_arcsec == pytest.approx(scales, rel=1e-4) and image.flags == flags
    assert image.pixel_scale_arcsec == pytest.approx(np.sqrt(scales[0] * scales[1]), rel=1e-4)


def test_scales_are_held_against_squares_where_no_other_is_expected() -> None:
    assert is_another_scale((1.8, 1.9), None) and not is_another_scale((1.8, 1.81), None)
    assert is_another_scale((2.52, 1.2857), 1.8) and is_another_scale((1.8, 1.9), 1.8)
    assert not is_another_scale(None, 1.8)


def test_each_axis_is_resampled_by_its_own_factor(tmp_path) -> None:
    """A round source that was sampled unequally is round again."""
    y, x = np.mgrid[:80, :160] - np.array([39.5, 79.5])[:, None, None]
    field = np.random.default_rng(0).normal(size=(80, 160))
    field += 500 * np.exp(-((x / 2) ** 2 + y**2) / 2 / 5**2)
    header = changed(CDELT1=-PIXEL / 2, CDELT2=PIXEL, CRPIX1=80.5, CRPIX2=40.5)
    image = read_image(
        write(tmp_path / "a.fits", field, **header), recipe=RECIPE, native_size=40, rescale_to_arcsec=1.8
    )
    assert image.shape == (80, 80) and image.flags == ()
    wide, high = ((image.pixels > 0).any(axis).sum() for axis in (0, 1))
    assert abs(int(wide) - int(high)) <= 1 and wide > 20


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("where", [(), (0,), (1,), (2,), (0, 2), (1, 3), (0, 1)], ids=str)
def test_axes_of_length_1_may_stand_anywhere(tmp_path, where, swapped) -> None:
    """``where``: axes of length 1 in the order of the header, around the two of the sky."""
    field, n_axes = a_field((60, 50)), 2 + len(where)
    long = [axis for axis in range(n_axes) if axis not in where]
    names = (("DEC--TAN", 20.0, PIXEL), ("RA---TAN", 150.0, -PIXEL))[:: 1 if swapped else -1]
    header = {f"CTYPE{axis + 1}": kind for axis, kind in zip(where, ("STOKES", "FREQ"), strict=False)}
    for axis, (name, value, step) in zip(long, names, strict=True):
        pixel = 25.5 if name.startswith("RA") else 30.5
        header |= {f"CTYPE{axis + 1}": name, f"CRVAL{axis + 1}": value, f"CDELT{axis + 1}": step}
        header |= {f"CRPIX{axis + 1}": pixel}
    shape = [1] * n_axes
    shape[n_axes - 1 - long[0]], shape[n_axes - 1 - long[1]] = (60, 50) if swapped else (50, 60)
    path = write(tmp_path / "a.fits", (field.T if swapped else field).reshape(shape), **header)
    image = read_fits(path)
    assert np.array_equal(image.data, field)
    assert image.sky.position == pytest.approx((150, 20)) and image.sky.flags == ()
    mosaic = Mosaic(path)
    assert (mosaic.height, mosaic.width) == (60, 50)
    assert mosaic.find(150.0, 20.0) == pytest.approx((24.5, 29.5))
    assert np.array_equal(mosaic.cut(9.5, 19.5, (20, 16)), field[12:28, 0:20])
    assert np.isnan(mosaic.cut(0, 0, (4, 4))).sum() == 12


SPECTRUM = {"CTYPE3": "FREQ", "CRVAL3": 1.4e9, "CRPIX3": 1.0, "CDELT3": 1e6}
AMISS = {  # what does not concern the two axes of the sky, or is said in another way than wcslib knows
    "no step": SPECTRUM | {"CDELT3": 0.0},
    "no step, Stokes": {"CTYPE3": "STOKES", "CRVAL3": 1.0, "CRPIX3": 0.0, "CDELT3": 0.0},
    "no type": {"CTYPE3": "", "CDELT3": 0.0},
    "a type of AIPS": SPECTRUM | {"CTYPE3": "FELO-HEL", "CRVAL3": 0.0, "CDELT3": 0.0},
    "a unit that is none": SPECTRUM | {"CUNIT3": "banana"},
    "the unit of another": SPECTRUM | {"CTYPE3": "FREQ-LSR", "CUNIT3": "km/s"},
    "a word for a number": SPECTRUM | {"CRVAL3": "1.4 GHz"},
    "a matrix without it": SPECTRUM | {"PC1_1": 1.0, "PC2_2": 1.0, "PC3_3": 0.0},
    "Degrees": {"CUNIT1": "Degrees", "CUNIT2": "DEGREES"},
    "arcsec": {
        "CUNIT1": "arcsec",
        "CUNIT2": "arcsec",
        "CDELT1": -1.8,
        "CDELT2": 1.8,
        "CRVAL1": 540000.0,
        "CRVAL2": 72000.0,
    },
    "a system in small letters": {"RADESYS": "icrs"},
    "a system by its equinox": {"RADESYS": "J2000"},
    "an equinox in words": {"EQUINOX": "J2000.0"},
}


@pytest.mark.parametrize("what", AMISS)
def test_the_sky_is_where_it_is_whatever_is_amiss_beside_it(tmp_path, what) -> None:
    field = a_field((60, 50))
    path = write(tmp_path / "a.fits", field[None], **(SKY | AMISS[what]))
    sky = read_fits(path).sky
    assert sky.position == pytest.approx((150.0 - 15 * 0.0005 / np.cos(np.deg2rad(20)), 20.0 + 20 * 0.0005), abs=4e-5)
    assert sky.scales_arcsec == pytest.approx((1.8, 1.8)) and sky.flags == ()
    assert Mosaic(path).find(150.0, 20.0) == pytest.approx((9.5, 9.5), abs=0.03)  # FK5 is 0.02 arcsec from ICRS


def test_an_exponent_as_fortran_writes_it_is_one(tmp_path) -> None:
    path = write(tmp_path / "a.fits", a_field((60, 50)), **SKY)
    content = path.read_bytes()
    for word, value in (("CDELT1", "-5.0D-04"), ("CDELT2", "5.0d-04")):
        at = content.index(word.encode())
        content = content[:at] + f"{word}  = {value:>20}".ljust(80).encode() + content[at + 80 :]
    path.write_bytes(content)
    assert read_fits(path).sky.scales_arcsec == pytest.approx((1.8, 1.8))
    assert Mosaic(path).find(150.0, 20.0) == pytest.approx((9.5, 9.5), abs=1e-3)


@pytest.mark.parametrize(
    "header", [{"EQUINOX": "B1950"}, {"EQUINOX": 1950.0}, {"RADESYS": "B1950"}, {"EPOCH": "1950.0"}]
)
def test_an_old_equinox_is_one_however_it_is_said(tmp_path, header) -> None:
    position = read_fits(write(tmp_path / "a.fits", a_field((20, 20)), **(SKY | header))).sky.position
    assert position == pytest.approx((150.691, 19.759), abs=2e-3)


@pytest.mark.parametrize("header", [{"RADESYS": "GAPPT"}, {"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}])
def test_a_system_that_is_not_known_tells_no_position_and_still_the_scale(tmp_path, header) -> None:
    path = write(tmp_path / "a.fits", a_field((20, 20)), **(SKY | header))
    sky = read_fits(path).sky
    assert sky.position is None and sky.scales_arcsec == pytest.approx((1.8, 1.8))
    with pytest.raises(UserError, match="coordinates of a system that is not known"):
        Mosaic(path)


def a_sky(projection: str, lon: float, lat: float, pixel_deg: float = 0.5) -> WCS:
    """A projection with its reference at the middle of 200 x 100 px."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = [f"RA---{projection}", f"DEC--{projection}"], [lon, lat]
    wcs.wcs.crpix, wcs.wcs.cdelt = [100.5, 50.5], [-pixel_deg, pixel_deg]
    if projection == "CYP":
        wcs.wcs.set_pv([(2, 1, 1.0), (2, 2, 0.7)])
    return wcs


@pytest.mark.parametrize("projection", ["CAR", "CEA", "MER", "CYP", "SFL"])
def test_a_position_beyond_180_degrees_is_found(tmp_path, projection) -> None:
    wcs = a_sky(projection, 10.0, 0.0)
    wcs.wcs.crpix = [600.5, 50.5]  # the image is from 200 to 300 degrees west of the reference
    mosaic = Mosaic(write(tmp_path / "a.fits", a_field((100, 200)), **wcs.to_header()))
    wcs.wcs.bounds_check(False, False)
    for x, y in ((30.0, 40.0), (150.0, 55.0), (199.0, 0.0)):
        ra, dec = wcs.all_pix2world(x, y, 0)
        assert mosaic.find(float(ra), float(dec)) == pytest.approx((x, y), abs=1e-6)
        assert mosaic.sky_at(x, y).position == pytest.approx((float(ra) % 360, float(dec)))
    assert mosaic.find(100.0, 0.0) is None
    assert read_fits(mosaic.path).sky.position is not None


def test_of_two_pixels_that_show_a_position_the_one_further_inside_is_taken(tmp_path) -> None:
    wcs = a_sky("CAR", 180.0, 0.0, pixel_deg=2.0)  # 400 degrees around
    mosaic = Mosaic(write(tmp_path / "a.fits", a_field((100, 200)), **wcs.to_header()))
    for x, other in ((185.0, 5.0), (12.0, 192.0)):
        ra, dec = wcs.all_pix2world(min(x, other) + 180.0 * (min(x, other) < 10), 50.0, 0)
        assert mosaic.find(float(ra), float(dec)) == pytest.approx((185.0 if x == 185.0 else 12.0, 50.0), abs=1e-6)


@pytest.mark.parametrize(
    "projection, place, scales",
    [
        ("TAN", (20.0, 50.0), None),
        ("CAR", (100.0, 99.0), None),
        ("SIN", (180.0, 50.0), None),
        ("ZEA", (10.0, 10.0), None),
    ],
)
def test_scales_are_those_of_the_place(projection, place, scales) -> None:
    """The distances on the sky between pixels side by side, whatever the header calls a pixel."""
    from astropy.coordinates import SkyCoord

    wcs = a_sky(projection, 150.0, 0.0)
    x, y = place
    corners = np.array([(x - 0.5, y), (x + 0.5, y), (x, y - 0.5), (x, y + 0.5)])
    sky = SkyCoord(*wcs.all_pix2world(corners, 0).T, unit="deg")
    expected = sky[0].separation(sky[1]).arcsec, sky[2].separation(sky[3]).arcsec
    found = sky_at(wcs, x, y).scales_arcsec
    assert found == pytest.approx(expected, rel=1e-4) and is_another_scale(found, 1800.0)


def test_a_source_far_from_the_reference_is_flagged_and_resampled_by_its_own_scales(tmp_path) -> None:
    wcs = a_sky("CAR", 150.0, 0.0, PIXEL)
    wcs.wcs.crpix = [100.5, 50.5 - 60 / PIXEL]  # at a declination of 60 degrees, where 1.8 arcsec are 0.9
    mosaic = Mosaic(write(tmp_path / "a.fits", a_field((100, 200)), **wcs.to_header()))
    how = dict(recipe=RECIPE, native_size=20)
    place = Position("a", 150.0, 60.0, float("nan"))
    image = read_cutout(mosaic, place, expected_arcsec=1.8, **how)
    assert image.scales_arcsec == pytest.approx((0.9, 1.8), rel=1e-3) and image.flags == ("pixel_scale",)
    resampled = read_cutout(mosaic, place, rescale_to_arcsec=1.8, **how)
    assert resampled.flags == () and resampled.shape == (40, 40)


def test_a_header_without_numbers_tells_no_position(tmp_path) -> None:
    for i, word in enumerate(("CRVAL1", "CRVAL2", "CRPIX1", "CDELT2")):
        path = write(tmp_path / f"{i}.fits", a_field(), **SKY)
        content = bytearray(path.read_bytes())
        at = content.index(f"{word}  =".encode())
        content[at + 10 : at + 30] = b"NaN".rjust(20)
        path.write_bytes(bytes(content))
        image = read_fits(path)
        assert image.sky.position is None and image.sky.scales_arcsec is None


@pytest.mark.real_data
def test_what_has_no_value_stays_so_when_it_is_resampled(cutouts, tmp_path) -> None:
    data = pyfits.getdata(cutouts[14])
    data[:, :90] = np.nan
    path = write(tmp_path / "a.fits", data, **SKY)
    as_it_is = read_image(path, recipe=RECIPE)
    same = read_image(path, recipe=RECIPE, rescale_to_arcsec=1.8)
    assert np.array_equal(same.pixels, as_it_is.pixels) and same.nan_fraction == 0.3
