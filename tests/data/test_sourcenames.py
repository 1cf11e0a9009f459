"""What the names of sources say: every form, every name of the published data sets, and names that are none."""

from __future__ import annotations

import math

import pytest

from radgal.data.datasets import DATASETS
from radgal.data.sourcenames import named_position, parse_source_name

NAN = math.nan
KEYS = ("class_code", "ra_deg", "dec_deg", "redshift", "las_arcsec")
NOTHING = ("", NAN, NAN, NAN, NAN)

# fmt: off
MIRABEST = {
    "200_233.986+051.421_0.1621_0010.36": ("200", 233.986, 51.421, 0.1621, 10.36),
    "110_224.342+019.634_0.3735_0074.75": ("110", 224.342, 19.634, 0.3735, 74.75),
    "210_147.323+018.140_0.3280_0040.23": ("210", 147.323, 18.140, 0.3280, 40.23),
    "110_014.259-000.875_0.0442_0043.89": ("110", 14.259, -0.875, 0.0442, 43.89),
    "200_243.475+008.060_0.3083_0008.85": ("200", 243.475, 8.060, 0.3083, 8.85),
    "200_351.221-010.203_0.1596_0092.57": ("200", 351.221, -10.203, 0.1596, 92.57),
    "110_221.850-000.403_0.1750_0071.44": ("110", 221.850, -0.403, 0.1750, 71.44),
    "102_173.497+049.062_0.0316_0126.80": ("102", 173.497, 49.062, 0.0316, 126.80),
    "100_162.947+055.386_0.0739_0250.34": ("100", 162.947, 55.386, 0.0739, 250.34),
    "100_010.451-009.284_0.0529_0080.60": ("100", 10.451, -9.284, 0.0529, 80.60),
    "200_176.113+037.142_0.1148_0269.44": ("200", 176.113, 37.142, 0.1148, 269.44),
    "210_164.811+005.292_0.0353_0025.28": ("210", 164.811, 5.292, 0.0353, 25.28),
}
FIRST_GALAXIES = {
    "189.591_58.368_0_MiraBest": (189.591, 58.368),
    "221.212_11.532_1_Gendre": (221.212, 11.532),
    "159.204_48.83_0_MiraBest": (159.204, 48.83),
    "219.681_-0.814_1_Gendre": (219.681, -0.814),
    "118.291_35.933_0_Capetti2017a": (118.291, 35.933),
    "20.485_-0.49_1_MiraBest": (20.485, -0.49),
    "10.862_-10.906_1_Capetti2017b": (10.862, -10.906),
    "3.845_0.156_1_MiraBest": (3.845, 0.156),
    "225.1_20.21_0_Gendre": (225.1, 20.21),
    "216.014_0.5_0_Gendre": (216.014, 0.5),
    "196.4_8.921_1_Gendre": (196.4, 8.921),
    "116.785_17.291_0_MiraBest": (116.785, 17.291),
}
FRDEEP = (
    "FRII_65", "FRII_5", "FRI_205_FRICAT_FR1", "FRI_119_FRICAT_FR1", "FRI_45", "FRII_388", "FRII_302a", "FRII_13a",
    "FRI_96_FRICAT_FR1", "FRI_13_FRICAT_FR1", "FRI_5_CoNFIG_FR1", "FRII_7a",
)
OTHER = {
    "": NOTHING,
    "12": NOTHING,
    "___": NOTHING,
    "x_y_z_w": NOTHING,
    "100__": NOTHING,
    "102_0001_0.5_80": NOTHING,  # numbered files of one's own
    "100_1+2_0.1_20": NOTHING,
    "100_1.0+2.0+3.0_1e5_inf": NOTHING,
    "10.5_3.2_crop": NOTHING,
    "116_17.2_0_X": NOTHING,  # no name of FIRSTGalaxyData has whole degrees
    "999.785_17.291_0_MiraBest": ("", NAN, 17.291, NAN, NAN),
    "116.785_-90.001_0_MiraBest": ("", 116.785, NAN, NAN, NAN),
    "360.000_90.000_0_MiraBest": ("", 360.0, 90.0, NAN, NAN),
    "1000_361.0+091.0_-1_nan": NOTHING,
    "100_360.001-090.000_0.1_20": ("100", NAN, -90.0, 0.1, 20.0),
    "J1251_192.947+055.386": ("", 192.947, 55.386, NAN, NAN),
    "100_162.947+055.386_1e-1_inf": ("100", 162.947, 55.386, NAN, NAN),
    "200_121.786+033.455_?_0014.97": ("200", 121.786, 33.455, NAN, 14.97),
    "200_121.786+033.455_0.0000_0000.00_second": ("200", 121.786, 33.455, 0.0, 0.0),
}
# fmt: on


def read(name: str) -> tuple:
    facts = parse_source_name(name)
    return tuple(facts[key] for key in KEYS)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        *MIRABEST.items(),
        *((name, ("", *position, NAN, NAN)) for name, position in FIRST_GALAXIES.items()),
        *((name, NOTHING) for name in FRDEEP),
        *OTHER.items(),
    ],
)
def test_a_name_says(name: str, facts: tuple) -> None:
    for given in (name, f"./fits/{name}.fits.gz", rf"C:\1.0+2.0\{name}.PNG", f"{name}.fits.fz"):
        assert read(given) == pytest.approx(facts, nan_ok=True), given
    position = facts[1:3]
    assert named_position(name) == (None if any(map(math.isnan, position)) else position)


def names_of(dataset: str, real_data, folder) -> list[str]:
    parts = [DATASETS[dataset](folder, train=train, mirror=real_data) for train in (True, False)]
    return [name for part in parts for name in part.names]


@pytest.mark.real_data
@pytest.mark.parametrize("dataset", ["MiraBest_full", "MiraBest_full_v2"])
def test_every_name_of_mirabest_is_read_in_full(real_data, tmp_path, dataset) -> None:
    names = names_of(dataset, real_data, tmp_path)
    back = "{class_code}_{ra_deg:07.3f}{dec_deg:+08.3f}_{redshift:.4f}_{las_arcsec:07.2f}"
    assert [back.format(**parse_source_name(name)) for name in names] == names  # NaN would not be written so
    assert len({named_position(name) for name in names}) == 1256 and set(MIRABEST) <= set(names)


@pytest.mark.real_data
def test_every_name_of_first_galaxies_says_a_position_and_no_more(real_data, tmp_path) -> None:
    names = names_of("FIRSTGalaxyData", real_data, tmp_path)
    assert len(names) == 1419 and set(FIRST_GALAXIES) <= set(names)
    for name in names:
        ra, dec = map(float, name.split("_")[:2])
        assert read(name) == pytest.approx(("", ra, dec, NAN, NAN), nan_ok=True)


@pytest.mark.real_data
def test_no_name_of_frdeep_says_a_position(real_data, tmp_path) -> None:
    names = names_of("FRDEEPF", real_data, tmp_path) + names_of("FRDEEPN", real_data, tmp_path)
    assert len(names) == 1200 and set(FRDEEP) <= set(names)
    assert all(read(name) == pytest.approx(NOTHING, nan_ok=True) for name in names)
