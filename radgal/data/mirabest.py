"""MiraBest: 1256 radio galaxies from FIRST, 150 x 150 px of 1.8 arcsec, in two published versions.

Both versions hold the same sources, 1099 for training and 157 for testing, but split and masked differently:
of MBFRConfident's 104 test sources only 18 are common to both (25 of all 157), and 86 of v1's are training
sources in v2. A result on one is not a result on the other.

v1 is the archive behind Scaife & Porter 2021; v2 ("MiraBest_F") was split anew and has pixels beyond 75 px
from the center blanked.
"""

from __future__ import annotations

from radgal.data.base import BatchedImages
from radgal.data.sourcenames import parse_source_name as parse_source_name  # users may import it from here
from radgal.files.archives import Archive

ARCHIVE_V1 = Archive(
    name="MiraBest_full_batches.tar.gz",
    size=797_009,
    md5="965b5daa83b9d8622bb407d718eecb51",
    sha256="71532907b8706d76e8449076de87a6f0475eb7f8dc2136b4c0cc2f09f6e10f6a",
    urls=(
        "https://zenodo.org/records/4288837/files/MiraBest_full_batches.tar.gz",
        "https://www.jb.man.ac.uk/research/MiraBest/full_dataset/MiraBest_full_batches.tar.gz",
        "http://www.jb.man.ac.uk/research/MiraBest/full_dataset/MiraBest_full_batches.tar.gz",
    ),
    folder="batches",
    files={
        "data_batch_1": "b15ae155301f316fc0b51af16b3c540d",
        "data_batch_2": "0bf52cc1b47da591ed64127bab6df49e",
        "data_batch_3": "98908045de6695c7b586d0bd90d78893",
        "data_batch_4": "ec9b9b77dc019710faf1ad23f1a58a60",
        "data_batch_5": "5190632a50830e5ec30de2973cc6b2e1",
        "data_batch_6": "b7113d89ddd33dd179bf64cb578be78e",
        "data_batch_7": "626c866b7610bfd08ac94ca3a17d02a1",
        "test_batch": "5e443302dbdf3c2003d68ff9ac95f08c",
        "batches.meta": "e1b5450577209e583bc43fbf8e851965",
    },
)

ARCHIVE_V2 = Archive(
    name="MiraBest_F_batches.tar.gz",
    size=765_686,
    md5="7d4e3a623d29db7204bce81676ee8ce2",
    sha256="5ad6b8fbe982e4f7ae52d3f88dd2e6cb03de0c4f7c00b00b92608c6e78a5243b",
    urls=(
        "https://www.jb.man.ac.uk/research/MiraBest/MiraBest_F/MiraBest_F_batches.tar.gz",
        "http://www.jb.man.ac.uk/research/MiraBest/MiraBest_F/MiraBest_F_batches.tar.gz",
    ),
    folder="F_batches",
    files={
        "data_batch_1": "f7a470b7367e8e0d0c5093d2cf266d54",
        "data_batch_2": "bb65ecd7e748e9fb789419b1efbf1bab",
        "data_batch_3": "32de1078e7cd47f5338c666a1b563ede",
        "data_batch_4": "a1209aceedd8806c88eab27ce45ee2c4",
        "data_batch_5": "1619cd7c54f5d71fcf4cfefea829728e",
        "data_batch_6": "636c2b84649286e19bcb0684fc9fbb01",
        "data_batch_7": "bc67bc37080dc4df880ffe9720d680a8",
        "test_batch": "ac7ea0d5ee8c7ab49f257c9964796953",
        "batches.meta": "e1b5450577209e583bc43fbf8e851965",
    },
)


class MiraBest_full(BatchedImages):
    """All of MiraBest, ten classes; the subsets below are made of it.

    Class codes, one digit each: 1 FRI, 2 FRII, 3 hybrid; 0 confident, 1 uncertain; 0 standard, 1
    double-double, 2 wide-angle tail, 4 head-tail. Sources are named class_RA+Dec_redshift_size, see
    :mod:`radgal.data.sourcenames`.

    The normalization is the published one; measured on the training part of the confident FRI and FRII:
    0.00309 / 0.03499 (v1), 0.00309 / 0.03508 (v2).
    """

    archive = ARCHIVE_V1
    version = "v1"
    classes = ("100", "102", "104", "110", "112", "200", "201", "210", "300", "310")
    file_labels = tuple((label,) for label in range(10))
    n_file_labels = 10
    mean, std = 0.0031, 0.0350
    recipe = "mirabest_v1"
    pixel_scale_arcsec = 1.8
    citation = (
        "Porter & Scaife 2023, RASTI 2, 293, doi:10.1093/rasti/rzad017; data doi:10.5281/zenodo.4288837; "
        "FIRST: Becker, White & Helfand 1995, ApJ 450, 559"
    )


class MBFRConfident(MiraBest_full):
    """FRI against FRII, confidently classified: 348 + 381 for training, 49 + 55 for testing."""

    classes = ("FRI", "FRII")
    file_labels = ((0, 1, 2), (5, 6))


class MBFRUncertain(MiraBest_full):
    """FRI against FRII, uncertain classifications only: 169 + 171 for training, 25 + 24 for testing."""

    classes = ("FRI", "FRII")
    file_labels = ((3, 4), (7,))


class MBFRFull(MiraBest_full):
    """FRI against FRII, confident and uncertain: 517 + 552 for training, 74 + 79 for testing."""

    classes = ("FRI", "FRII")
    file_labels = ((0, 1, 2, 3, 4), (5, 6, 7))


class MBHybrid(MiraBest_full):
    """Hybrids, confident against uncertain: 17 + 13 for training, 2 + 2 for testing."""

    classes = ("Hybrid confident", "Hybrid uncertain")
    file_labels = ((8,), (9,))


class _Version2:
    archive = ARCHIVE_V2
    version = "v2"
    recipe = "mirabest_v2"


class MiraBest_full_v2(_Version2, MiraBest_full):
    """As MiraBest_full, version 2."""


class MBFRConfident_v2(_Version2, MBFRConfident):
    """As MBFRConfident, version 2."""


class MBFRUncertain_v2(_Version2, MBFRUncertain):
    """As MBFRUncertain, version 2."""


class MBFRFull_v2(_Version2, MBFRFull):
    """As MBFRFull, version 2."""


class MBHybrid_v2(_Version2, MBHybrid):
    """As MBHybrid, version 2."""
