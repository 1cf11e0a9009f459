"""FR-DEEP: 600 FRI and FRII sources (FRICAT, FRIICAT, CoNFIG), 150 x 150 px, from FIRST and from NVSS."""

from __future__ import annotations

from radgal.data.base import BatchedImages
from radgal.files.archives import Archive


class FRDEEPF(BatchedImages):
    """FR-DEEP from FIRST: 242 FRI + 308 FRII for training, 22 + 28 for testing.

    One training image (source FRI_13_FRICAT_FR1) is entirely blank.

    File names alone are not unique (11_example.png is both an FRI and an FRII), so the class stands before
    them in ``names``. Equal numbers here and in FRDEEPN need not mean the same source.
    """

    archive = Archive(
        name="FIRST_PNG_dataset.tar.gz",
        size=306_842,
        md5="2f39461e6c62fb45289559915106013a",
        sha256="9bacbcc771a0b7d373ae1340e290bc1950531ed4fa1fa17d5d3d14295c9b2c48",
        urls=(
            "https://www.jb.man.ac.uk/research/ascaife/FIRST_PNG_dataset.tar.gz",
            "http://www.jb.man.ac.uk/research/ascaife/FIRST_PNG_dataset.tar.gz",
        ),
        folder="FIRST_PNG_dataset",
        files={
            "data_batch_1": "f34da44757c7fa3f6e6cd3d0839a4634",
            "data_batch_2": "f56cda0d9a99305fee2bad7de0560f95",
            "data_batch_3": "93265dd849331af4e1b092f74b06450b",
            "data_batch_4": "0de8f4c18b775251f4e553e2990cd446",
            "data_batch_5": "c6aa87400a1be6007da7cfcefd2c3e5c",
            "data_batch_6": "cebd3fdea93abbc048a3a4d5e58528e0",
            "data_batch_7": "49497445e9380f157e78cf8d74fca1eb",
            "data_batch_8": "88e298eed2d87bbdddad83fef1482723",
            "data_batch_9": "8c40117dbf4d456e63a8a665b245aa63",
            "data_batch_10": "f24d110cc5811ba4651630b9ee9b2989",
            "data_batch_11": "b843dc3b7f48606235029f135d41c85e",
            "test_batch": "4e06889b1e7713deb46e62887eb37727",
            "batches.meta": "655493bdee948954f3939727b3f9e735",
        },
    )
    version = "v1"
    classes = ("FRI", "FRII")
    file_labels = ((0,), (1,))
    n_file_labels = 2
    mean, std = 0.0019, 0.0270
    recipe = "frdeep"
    pixel_scale_arcsec = 1.8
    citation = (
        "Tang, Scaife & Leahy 2019, MNRAS 488, 3358, arXiv:1903.11921; "
        "FIRST: Becker, White & Helfand 1995, ApJ 450, 559"
    )

    @classmethod
    def source_name(cls, filename, file_label):
        stem = super().source_name(filename, file_label)
        return f"{cls.classes[file_label]}_{stem.removesuffix('example').rstrip('_')}"


class FRDEEPN(FRDEEPF):
    """FR-DEEP from NVSS: 242 FRI + 308 FRII for training, 22 + 28 for testing."""

    archive = Archive(
        name="NVSS_PNG_dataset.tar.gz",
        size=370_254,
        md5="2584ed1e174ea71f581d0e0d6f32ef38",
        sha256="37ef88b83a8177454002dd2dea3075d54b9b60a31ada44caa922dfbd8fbb2248",
        urls=(
            "https://www.jb.man.ac.uk/research/ascaife/NVSS_PNG_dataset.tar.gz",
            "http://www.jb.man.ac.uk/research/ascaife/NVSS_PNG_dataset.tar.gz",
        ),
        folder="NVSS_PNG_dataset",
        files={
            "data_batch_1": "3a2a15d88756ba61c796378fc8574540",
            "data_batch_2": "6a04e3985397e1f67f0ad42153dca64e",
            "data_batch_3": "d852c8200f3bbb63beacf31f3e954f9a",
            "data_batch_4": "a5739996ca44a1a1841f2d0e6b844dd6",
            "data_batch_5": "8e2fdb3f60bf7541ca135fc8e2407f7a",
            "data_batch_6": "9e5a82500bd9742f8fefe412ada95336",
            "data_batch_7": "f66af7795265fbe24376f669200412c4",
            "data_batch_8": "75982afc09bf480ecc521acdb39cbe46",
            "data_batch_9": "72aee306fef9acee21a0e5537bb681e4",
            "data_batch_10": "7a039ce8062a533b23b401a612c5f9b7",
            "data_batch_11": "c0013314098c96ca4c7c20c0f17abcd3",
            "test_batch": "39fd167b9a7df12cee1ef9a804f9fa86",
            "batches.meta": "655493bdee948954f3939727b3f9e735",
        },
    )
    mean, std = 0.0014, 0.0224
    pixel_scale_arcsec = 15.0
    citation = "Tang, Scaife & Leahy 2019, MNRAS 488, 3358, arXiv:1903.11921; NVSS: Condon et al. 1998, AJ 115, 1693"
