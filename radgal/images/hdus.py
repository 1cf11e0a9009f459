"""Which of the images of a FITS file is the picture of the sky."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radgal.images.fitsheaders import MAX_HDUS
from radgal.images.sky import celestial
from utils import UserError, counted, reason_of

NAME_WORDS = ("EXTNAME", "HDUNAME", "BTYPE", "IMAGETYP", "IMTYPE")
USUAL_NAMES = {"SCI", "SCIENCE", "IMAGE", "DATA", "FLUX", "INTENSITY", "I", "STOKES I", "MAP", "SIGNAL", "PRIMARY"}
OTHER_KINDS = re.compile(
    r"(?<![a-z])(avg|mean|min|max|bkg|isl(and)?|inv|eff|n)?"
    r"(rms|weights?|wh?t|wgt|errs?|errors?|sigma|std(dev)?|stdev|noise|unc(ert(ainty)?)?|var(iance)?|ivar|snr|chi2?|"
    r"masks?|flags?|dq|quality|confidence|bad.?pix(els?)?|bpm|seg|segm(entation)?|context|ctx|gain|"
    r"bkg|bg|background|mean.?map|thumb(nail)?s?|preview|quicklook|resid(uals?)?|model|psf|p?beam|"
    r"exp|exposure|exptime|cov|coverage|hits?|samp|sens|sensitivity|conf.?map|pb|response|"
    r"spec(tral)?.?ind(ex|ices)?|spindex|spix|alpha(err(or)?)?|curvature|taylor.?[1-9]|tt[1-9]|mom(ent)?.?[1-9]|"
    r"(stokes.?)?[quv]|rm|rotation.?measure|faraday|poli|fpol|pang|lin.?pol|polari[sz](ed|ation))"
    r"\d*(.?maps?|.?image|img)?(?![a-z])",
    re.IGNORECASE,
)
"""Names of what accompanies an image: maps of its noise, weights, masks, previews, other Stokes parameters."""

STOKES_BUT_I = {*range(2, 10), *range(-8, 0)}  # FITS's numbers, and those of AIPS for what is derived; I is 1
THUMBNAIL = 0.5  # of the sides of the file's largest image; what is not larger is one


@dataclass(frozen=True, eq=False)
class Choice:
    """The HDU that was taken of a file, and what there is to say of the choice."""

    hdu: Any
    label: str
    rivals: tuple[str, ...] = ()  # other images that might as well be meant
    other_kind: bool = False  # whether its own header says that it is no image of the sky

    @property
    def flags(self) -> tuple[str, ...]:
        """Keys of ``reading.FLAGS``."""
        return ("several_images",) * bool(self.rivals) + ("other_kind",) * self.other_kind


def choose_image(hdus: Any, path: Path, max_pixels: int, name: str | None = None) -> Choice:
    """Returns the image of a file without reading its pixels.

    That is one with two axes longer than 1. Of several, those that are called rms, weight, error and the like come
    last, those that know where on the sky they are come first, then those that are no thumbnails, then those with the
    usual names, then the first.

    Args:
        hdus: the open file.
        path: for messages.
        max_pixels: a larger image is refused.
        name: number or EXTNAME of the HDU to take; None: as above.

    Raises:
        UserError: if there is none; the text names the shapes that were found.
    """
    images, others = _images_of(hdus, path)
    if name is not None:
        choice = _named(images, path, name)
    elif len(images) == 1:
        ((i, hdu),) = images.items()
        choice = Choice(hdu, _label(i, hdu), other_kind=_is_other_kind(hdu.header))
    elif images:
        ranks = {i: _rank(hdu, images.values()) for i, hdu in images.items()}
        best = min(images, key=lambda i: (*ranks[i], i))
        rivals = [_label(i, images[i]) for i in images if i != best and ranks[i][:3] == ranks[best][:3]]
        choice = Choice(images[best], _label(best, images[best]), tuple(rivals), ranks[best][0])
    elif others:
        raise UserError(
            f"{path} holds no two-dimensional image, but arrays of {', '.join(others[:5])} pixels (slowest axis "
            "first); write the channel or plane that you want to a file of its own"
        )
    else:
        raise UserError(f"{path} holds no image")
    height, width = _sides(choice.hdu)
    if height * width > max_pixels:
        raise UserError(f"{path} holds an image of {height} x {width} pixels; at most {max_pixels:,} are read")
    return choice


def damaged(path: Path, error: Exception) -> UserError:
    """Returns what to say of a file that a FITS reader stumbles over."""
    return UserError(
        f"{path} cannot be read as a FITS image: it is damaged, cut off or something else ({reason_of(error)})"
    )


def _images_of(hdus: Any, path: Path) -> tuple[dict[int, Any], list[str]]:
    """Returns the HDUs with an image, by number, and the shapes of the other arrays."""
    images: dict[int, Any] = {}
    others: list[str] = []
    for i in range(MAX_HDUS):
        try:
            hdu = hdus[i]
            shape = tuple(hdu.shape) if hdu.is_image else ()
        except IndexError:
            break
        except Exception as error:
            if images:  # what follows them is not needed
                break
            raise damaged(path, error) from None
        sides = [side for side in shape if side != 1]
        if len(sides) == 2 and min(sides) > 1:
            images[i] = hdu
        elif shape:
            others.append(" x ".join(map(str, shape)))
    return images, others


def _sides(hdu: Any) -> tuple[int, int]:
    height, width = (side for side in hdu.shape if side != 1)
    return height, width


def _rank(hdu: Any, all_images: Any) -> tuple[bool, bool, bool, int]:
    """Returns what speaks against an image, most important first."""
    largest = max(min(_sides(one)) for one in all_images)
    name = _name(hdu).upper()
    return (
        _is_other_kind(hdu.header),
        celestial(hdu.header) is None,
        min(_sides(hdu)) <= THUMBNAIL * largest,
        0 if name in USUAL_NAMES else 1 if not name else 2,
    )


def _is_other_kind(header: Any) -> bool:
    words = [str(header.get(word, "")) for word in NAME_WORDS]
    if any(OTHER_KINDS.search(word) for word in words):
        return True
    for n in range(1, min(int(header.get("NAXIS", 0)), 9) + 1):
        if str(header.get(f"CTYPE{n}", "")).strip().upper() == "STOKES":
            try:
                first = header.get(f"CRVAL{n}", 1) + (1 - header.get(f"CRPIX{n}", 1)) * header.get(f"CDELT{n}", 1)
                return round(first) in STOKES_BUT_I
            except (TypeError, ValueError, OverflowError):
                return False
    return False


def _name(hdu: Any) -> str:
    return str(hdu.header.get("EXTNAME", "")).strip()


def _label(i: int, hdu: Any) -> str:
    name, (height, width) = _name(hdu), _sides(hdu)
    return f"HDU {i} ({name + ', ' if name else ''}{height} x {width})"


def _named(images: dict[int, Any], path: Path, name: str) -> Choice:
    """Returns the image of a number or an EXTNAME.

    Raises:
        UserError: if there is none, or several.
    """
    if name.isdecimal():
        found = [i for i in images if i == int(name)]
    else:
        found = [i for i in images if _name(images[i]).upper() == name.strip().upper()]
    if len(found) == 1:
        return Choice(images[found[0]], _label(found[0], images[found[0]]))
    there = ", ".join(_label(i, hdu) for i, hdu in images.items()) or "none"
    problem = (
        f"has {counted(len(found), 'image')} of the name {name}; give the number" if found else f"has no image {name}"
    )
    raise UserError(f"{path} {problem} (--hdu); its images: {there}")
