"""Angles as tables write them: every unit, however it is spelled, and texts of 60 parts."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Column, MaskedColumn

from radgal.files.angles import angles

RA, DEC = 201.97494264, -0.53333738


def said_by(values, unit=None, name="ra", hours=True) -> tuple[list[float], str]:
    notes = []
    return angles(Column(values, name, unit=unit), "deg", hours, notes).tolist(), "; ".join(notes)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [(unit, 1) for unit in ("deg", "degree", "degrees", "DEG", "DEGREE", "Degrees", "[deg]", "°", "d", None)]
    + [(unit, 1) for unit in ("º", "˚", "Â°", "Deg.", "decimal degrees", "deg, J2000", "degrees; ICRS", "DD:MM:SS.ss")]
    + [(unit, 15) for unit in ("hourangle", "h", "hr", "HR", "hour", "Hours", "hms", "Hour Angle", "hh mm ss.s")]
    + [(unit, 15) for unit in ("in hours", "decimal hours", "hours (J2000)", "J2000, h", "HH:MM:SS")]
    + [(unit, 180 / np.pi) for unit in ("rad", "RAD", "radian", "radians")]
    + [("arcsec", 1 / 3600), ("arcmin", 1 / 60), ("mas", 1 / 3.6e6), ("uas", 1 / 3.6e9)],
)
@pytest.mark.parametrize("kind", [float, str])
def test_a_unit_is_known_however_it_is_spelled(unit, factor, kind) -> None:
    assert said_by([kind(RA / factor)], unit)[0] == pytest.approx([RA])
    for name in (f"RA ({unit})", f"RA (J2000) [{unit}]", f"RA ({unit}) (ICRS)"):
        if unit and not set("()[]") & set(unit) and unit != "uas":
            assert said_by([kind(RA / factor)], name=name)[0] == pytest.approx([RA])


@pytest.mark.parametrize("unit", ["kg", "Jy/beam", "furlong", "s", "mas/yr", "mas yr-1", "deg,h", "angle"])
def test_what_is_no_unit_of_angles_is_refused(unit) -> None:
    with pytest.raises(ValueError, match="is none of angles; known: deg, hourangle"):
        said_by([1.0], unit)
    assert said_by([RA], name=f"ra ({unit})")[0] == [RA]  # a name may hold anything in brackets


@pytest.mark.parametrize("unit", ["none", "None", "unknown", "-", "--", "dimensionless", ""])
def test_a_unit_that_says_nothing_is_none(unit) -> None:
    assert said_by([RA], unit)[0] == [RA] and said_by([RA / 15], unit, "ra_hours")[0] == pytest.approx([RA])


@pytest.mark.parametrize("name", ["RA (B1950)", "RAB1950", "ra_fk4", "RA (deg, B1950.0)"])
def test_positions_of_another_equinox_are_refused(name) -> None:
    with pytest.raises(ValueError, match="B1950"):
        said_by([RA], name=name)


def test_a_unit_that_only_a_name_says_is_said_aloud() -> None:
    assert said_by([RA / 15], name="ra_hours") == (
        [pytest.approx(RA)],
        "column 'ra_hours' is read in the unit of its name, hourangle",
    )
    assert said_by([RA], name="ra_deg") == ([RA], "")
    assert said_by([RA], unit="deg", name="ra_hours") == ([RA], "")


@pytest.mark.parametrize(
    ("text", "unit", "right_ascension", "declination"),
    [
        ("13:27:53.98623", None, RA, RA / 15),
        ("13 27 53.98623", None, RA, RA / 15),
        ("13h27m53.98623s", None, RA, RA),
        ("13H 27M 53.98623S", "deg", RA, RA),
        ("13:27:53.98623", "deg", RA / 15, RA / 15),
        ("13:27:53.98623", '"h:m:s"', RA, RA),
        ("201d58m29.7935s", None, RA, RA),
        ("201°58′29.7935″", "hourangle", RA, RA),
        ("201:58:29.7935", '"d:m:s"', RA, RA),
        ("13:27.8997705", None, RA, RA / 15),
        ("-00:32:00.014568", None, 15 * DEC, DEC),
        ("\N{MINUS SIGN}0:32:00.014568", None, 15 * DEC, DEC),
        ("+0d32m00.014568s", None, -DEC, -DEC),
        ("201,97494264", None, RA, RA),
        ("-0,53333738", "deg", DEC, DEC),
        ("13:27:53,98623", None, RA, RA / 15),
        ("13h27m53,98623s", None, RA, RA),
        ("13h27m53s.98623", None, RA, RA),
        ("13h27m53.s98623", None, RA, RA),
        ("13ʰ27ᵐ53.98623ˢ", None, RA, RA),
        ("13hr 27min 53.98623sec", None, RA, RA),
        ("13 h 27 m 53.98623 s", None, RA, RA),
        ("201º58’29.7935”", None, RA, RA),
        ("201Â°58'29.7935\"", None, RA, RA),
        ("201˚ 58′ 29.7935''", None, RA, RA),
        ("-00.32.00.014568", None, DEC, DEC),  # as CASA writes it
        ("–0:32:00.014568", None, 15 * DEC, DEC),
        ("- 0 32 00.014568", None, 15 * DEC, DEC),
    ],
)
def test_sexagesimal_texts_and_decimal_commas(text, unit, right_ascension, declination) -> None:
    for hours, right in ((True, right_ascension), (False, declination)):
        values, said = said_by([text, "", "10.5"], unit, "x", hours)
        assert values[0] == pytest.approx(right, abs=1e-7) and np.isnan(values[1])
        assert ("decimal commas" if text.replace(",", "").strip("-").isdecimal() else "sexagesimal") in said


@pytest.mark.parametrize(
    "text",
    ["-0.53333738", "−0.53333738", "–0.53333738", "－0.53333738", "-.53333738", "- 0.53333738", "-5.3333738D-01"],
)
def test_a_minus_and_an_exponent_are_known_however_they_are_written(text) -> None:
    assert said_by([text], "deg", "dec", hours=False) == (pytest.approx([DEC]), "")


@pytest.mark.parametrize(
    "text",
    ["201.97494264°", "201.97494264 deg", "201.97494264d", "201,97494264 Â°", "13.464996176h", "13.464996176 hours"],
)
def test_units_in_cells_are_taken_and_said(text) -> None:
    values, said = said_by([text, "1"])
    assert values == [pytest.approx(RA), 1.0] and f"has units in its cells ({text})" in said
    assert angles(Column(["30 arcsec", '30"', "0.5'"], "las"), "arcsec").tolist() == [30, 30, 30]


def test_what_says_nothing_is_nan_and_what_is_no_angle_is_named() -> None:
    nothing = ["", "nan", "NaN", "null", "NULL", "--", "-", "N/A", "na", "None", "none", "..."]
    nothing += ["nULL", "#N/A", "\\N", "(null)", "NaT", "?", "–", "—", "…", "INDEF", "undef", "missing", "unknown"]
    assert np.isnan(said_by(nothing)[0]).all()
    masked = MaskedColumn([1.0, 2.0], "ra", mask=[True, False], unit="deg")
    assert np.isnan(angles(masked, "deg")[0]) and angles(masked, "deg")[1] == 2
    for wrong in ("12:61:00", "1:2:3:4", "10x", "a", "1.2.3", "12:30:61", "5 deg h", "1,234,567", "1_0"):
        with pytest.raises(ValueError, match=f"row 2: '{wrong}' is no angle"):
            said_by(["1", wrong])
    with pytest.raises(ValueError, match="is no angle"):
        said_by(["1" + " " * 200_000 + "x"])  # at once
    found = []
    assert np.isnan(angles(Column(["1", "x", "2"], "ra"), "deg", wrong=found)).tolist() == [False, True, False]
    assert found == [1]
    with pytest.raises(ValueError, match="several values per row"):
        said_by(np.zeros((2, 3)))
