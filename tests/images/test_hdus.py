"""Which image of a file is taken, and what is said where that is not certain."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits as pyfits

from radgal.images.fits import read_fits
from radgal.images.hdus import choose_image
from tests.images.test_fits import SKY
from utils import UserError

SIDE = 20
STOKES = {"CTYPE3": "STOKES", "CRPIX3": 1.0, "CDELT3": 1.0}


def save(path, *images: tuple[str | None, dict]):
    """A file of images, (EXTNAME, header) each; all pixels of an image are its number."""
    hdus = []
    for i, (name, header) in enumerate(images):
        side = header.get("side", SIDE)
        shape = (1, side, side) if "CTYPE3" in header else (side, side)
        kind = pyfits.ImageHDU if hdus else pyfits.PrimaryHDU
        hdus.append(kind(np.full(shape, float(i))))
        hdus[-1].header.update({key: value for key, value in header.items() if key != "side"})
        if name is not None:
            hdus[-1].header["EXTNAME"] = name
    pyfits.HDUList(hdus).writeto(path)
    return path


def taken(image) -> int:
    return int(image.data[0, 0])


OTHERS = [
    *[(name, SKY) for name in ("RMS", "WHT", "image_err", "SIGMA_MAP", "weight.1", "Mask", "DQ", "residual", "Q")],
    (None, SKY | {"BTYPE": "Polarised intensity"}),
    (None, SKY | STOKES | {"CRVAL3": 5.0}),  # AIPS: percent polarization
    (None, SKY | STOKES | {"CRVAL3": 2.0}),
    (None, SKY | STOKES | {"CRVAL3": 4.0}),
    ("THUMBNAIL", {}),
    (None, {}),
    (None, SKY | {"side": 10}),
]


NAMES = (
    "RMSMAP rms_map BKGRMS NOISEMAP WGTMAP WEIGHT-MAP UNCERT STDEV ERRMAP ERR2 VAR_POISSON ISLANDMASK BPM CTX NEXP SNR "
    "SEGMAP primary_beam POLI FPOL RM taylor.1 tt1 MOM1 alphaerr meanMap confmap"
).split()


@pytest.mark.parametrize("name", [*NAMES, "linear polarization", "Spectral index", "RMS noise", "bad pixels"])
def test_what_comes_along_is_known_by_its_name(name) -> None:
    hdus = [pyfits.ImageHDU(np.zeros((SIDE, SIDE)), name=name)]
    assert choose_image(hdus, Path("a.fits"), SIDE**2).flags == ("other_kind",)


@pytest.mark.parametrize("image", [("SCI", SKY), (None, SKY), ("field 7", SKY)], ids=str)
def test_what_comes_along_with_an_image_is_passed_over(tmp_path, image) -> None:
    for i, other in enumerate(OTHERS):
        for order in ((image, other), (other, other, image)):
            found = read_fits(save(tmp_path / f"{i}_{len(order)}.fits", *order))
            assert order[taken(found)] is image and found.flags == (), order


def test_where_several_may_be_meant_the_usual_name_then_the_first_is_taken_and_said(tmp_path) -> None:
    named = read_fits(save(tmp_path / "a.fits", ("field 7", SKY), ("SCI", SKY), ("RMS", SKY)))
    assert taken(named) == 1 and named.flags == ("several_images",)
    assert named.label == "HDU 1 (SCI, 20 x 20)" and named.rivals == ("HDU 0 (field 7, 20 x 20)",)
    first = read_fits(save(tmp_path / "b.fits", (None, SKY), (None, SKY)))
    assert taken(first) == 0 and first.flags == ("several_images",)


def test_an_image_that_is_of_another_kind_and_alone_is_flagged(tmp_path) -> None:
    for name, header in (("RMS", SKY), (None, SKY | STOKES | {"CRVAL3": 3.0}), ("WEIGHT", {})):
        assert read_fits(save(tmp_path / f"{name}.fits", (name, header))).flags == ("other_kind",)
    for name in (
        "I",
        "varied",
        "Quasars",
        "export",
        "skymodelling",
        "terms",
        "tt0",
        "image.pbcor",
    ):  # words count, not parts of them
        assert read_fits(save(tmp_path / f"{name}.fits", (name, SKY | STOKES | {"CRVAL3": 1.0}))).flags == ()


def test_an_image_is_named_by_number_or_name(tmp_path) -> None:
    path = save(tmp_path / "a.fits", ("SCI", SKY), ("RMS", SKY), ("twice", SKY), ("twice", SKY))
    assert [taken(read_fits(path, hdu=name)) for name in ("0", "1", "rms", "3")] == [0, 1, 1, 3]
    assert read_fits(path, hdu="1").flags == ()
    for name, said in (("9", "has no image 9"), ("WHT", "no image WHT"), ("twice", "has 2 images of the name twice")):
        with pytest.raises(UserError, match=f"{said}.*{re.escape('HDU 1 (RMS, 20 x 20)')}"):
            read_fits(path, hdu=name)


def test_what_follows_the_image_may_be_damaged(tmp_path) -> None:
    path = save(tmp_path / "a.fits", ("SCI", SKY), ("RMS", SKY))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 2880])
    assert taken(read_fits(path)) == 0
