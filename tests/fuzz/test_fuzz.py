"""Damaged and hostile files of every kind that is read: a UserError or a result that is one, nothing else.

Each reader gets files that are whole, with bytes changed, taken out, repeated and put in, by hypothesis: 100 cases
each by default, 2,000 with ``-m slow``, the same ones every time.
"""

from __future__ import annotations

import bz2
import copy
import gzip
import hashlib
import io
import lzma
import pickle
import signal
import struct
import sys
import tarfile
import threading
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

import models
from radgal.config.config import Config, load_config
from radgal.data.base import read_batch
from radgal.data.datasets import class_counts
from radgal.data.frdeep import FRDEEPF
from radgal.data.imagetable import ImageTable
from radgal.files import archives
from radgal.images import mosaic
from radgal.images.fits import read_fits
from radgal.images.preparation import Preparation
from radgal.images.reading import read_image
from radgal.prediction import catalog
from radgal.prediction.positions import read_positions
from radgal.runs import checkpoint
from tests.conftest import DATA, ROOT
from utils import UserError

LONGEST_S = 30
MOST_MB = 700
PIXELS = np.arange(40 * 40, dtype=np.uint32).reshape(40, 40) ** 2 % 251


class Hang(BaseException):
    """A reader that does not come back; no ``except Exception`` catches it."""


@contextmanager
def time_limit() -> Iterator[None]:
    """Ends what takes longer than ``LONGEST_S``, where the platform has timers."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise Hang(f"still reading after {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def memory_limit() -> Iterator[None]:
    """Fails if what is done takes more than ``MOST_MB`` of memory, and ends it long before the machine's is gone."""
    try:
        import resource
    except ImportError:  # not on Windows
        yield
        return

    def peak_mb() -> float:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)

    before, limits = peak_mb(), resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)
    assert peak_mb() - before < MOST_MB


@dataclass(frozen=True)
class Reader:
    """One way in. ``read`` gets a path and checks what it returns; ``tokens`` are what such files are made of."""

    name: str
    suffix: str
    make: Callable[[], bytes]
    read: Callable[[Path], None]
    tokens: tuple[bytes, ...] = ()
    wrap: Callable[[bytes], bytes] = bytes  # around the damaged bytes: a packing that would notice the damage


NUMBERS = (b"0", b"-1", b"65536", b"4294967296", b"99999999999999999999", b"1e999", b"NaN", b"", b"1.5")

PLACES = st.integers(0, 2**16 - 1)
DAMAGE = st.one_of(
    st.tuples(st.just("flip"), PLACES, st.integers(0, 7)),
    st.tuples(st.just("write"), PLACES, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("insert"), PLACES, st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("token"), PLACES, st.integers(0, 99)),
    st.tuples(st.just("swap"), PLACES, st.integers(0, 9999)),
    st.tuples(st.just("delete"), PLACES, st.integers(1, 400)),
    st.tuples(st.just("repeat"), PLACES, st.integers(1, 400)),
    st.tuples(st.just("cut off"), PLACES, st.none()),
)


def damage(content: bytes, steps: list[tuple], tokens: tuple[bytes, ...]) -> bytes:
    """Returns ``content`` with damage; half of all places are in the first 600 bytes, where headers are."""
    for what, place, how in steps:
        span = len(content) + 1 if place % 2 else min(600, len(content) + 1)
        at = place // 2 * span // 2**15
        head, tail = content[:at], content[at:]
        if what == "flip" and tail:
            content = head + bytes([tail[0] ^ 1 << how]) + tail[1:]
        elif what == "write":
            content = head + how + tail[len(how) :]
        elif what == "insert":
            content = head + how + tail
        elif what == "token" and tokens:
            content = head + tokens[how % len(tokens)] + tail
        elif what == "swap" and tokens:
            old, new = tokens[how % len(tokens)], tokens[how // 100 % len(tokens)]
            content = head + tail.replace(old, new, 1) if old else content
        elif what == "delete":
            content = head + tail[how:]
        elif what == "repeat":
            content = head + tail[:how] + tail
        elif what == "cut off":
            content = head
    return content


# What files are made of, and what must hold of what is read.


def network(name: str = "CNSteerableLeNet") -> bytes:
    """A checkpoint of the smallest network."""
    config = Config.from_dict(
        {
            "name": "fuzz",
            "model": {"base": name, "nrot": 2},
            "data": {"dataset": "MBFRConfident"},
            "training": {"imsize": 10},
        }
    )
    torch.manual_seed(0)
    model = models.build_from_config(config, ("FRI", "FRII"), Preparation(0.0, 1.0, imsize=config.training.imsize))
    content = {"format": checkpoint.FORMAT, "config": config.to_dict(), "classes": ["FRI", "FRII"], "mean": 0.003}
    content |= {"std": 0.03, "model": model.state_dict(), "epoch": 3, "seed": 42, "history": [{"epoch": 1}]}
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def check_network(path: Path) -> None:
    run = checkpoint.load_run(path, torch.device("cpu"))
    side = run.config.training.imsize + run.config.data.pad
    with torch.no_grad():
        assert run.model(torch.zeros(1, 1, side, side)).shape == (1, len(run.classes))
    assert run.std > 0 and all(name.isprintable() for name in run.classes)


def rezip(name: str) -> tuple[Callable[[], bytes], Callable[[bytes], bytes]]:
    """Returns (what is in a member of the checkpoint, how to put other bytes in its place): the checksums hold."""

    def take() -> bytes:
        with zipfile.ZipFile(io.BytesIO(network())) as archive:
            return archive.read(f"archive/{name}")

    def put(content: bytes) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(network())) as archive, zipfile.ZipFile(stream, "w") as result:
            for member in archive.namelist():
                result.writestr(member, content if member.endswith(name) else archive.read(member))
        return stream.getvalue()

    return take, put


def batch() -> bytes:
    images = [np.full(64, i, np.uint8) for i in range(5)]
    return pickle.dumps(
        {
            "batch_label": "1 of 1",
            "labels": [0, 1, 0, 1, 1],
            "data": images,
            "filenames": [f"{i}.png" for i in range(5)],
        },
        protocol=4,
    )


def check_batch(path: Path) -> None:
    images, labels, names = read_batch(path.read_bytes(), path.name, 8, 2)
    assert images.dtype == np.uint8 and images.shape == (len(names), 8, 8) and labels.shape == (len(names),)
    assert set(labels) <= {0, 1} and all(isinstance(name, str) for name in names)


def real_batch() -> bytes:
    """The test batch of FR-DEEP as it was published."""
    archive = FRDEEPF.archive
    with tarfile.open(real_folder() / "frdeep" / archive.name) as tar:
        return tar.extractfile(f"{archive.folder}/test_batch").read()


def check_real_batch(path: Path) -> None:
    images, labels, names = read_batch(path.read_bytes(), path.name, 150, 4)
    assert images.shape == (len(names), 150, 150) and labels.shape == (len(names),)


def real_folder() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"published archives not found at {DATA}; set RADGAL_DATA to the folder that holds them")
    return DATA


MEMBERS = {"data_batch_1": b"one" * 300, "test_batch": b"two" * 300}


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in MEMBERS.items():
            info = tarfile.TarInfo(f"folder/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def check_archive(path: Path) -> None:
    archive = archives.Archive(
        name=path.name,
        size=0,
        md5="",
        sha256="",
        folder="folder",
        files={name: hashlib.md5(content).hexdigest() for name, content in MEMBERS.items()},
    )
    root = path.parent / "out"
    try:
        archives.extract(path, archive, root)
        for name, content in MEMBERS.items():
            assert (root / "folder" / name).read_bytes() == content
    finally:
        for name in MEMBERS:
            (root / "folder" / name).unlink(missing_ok=True)
        for folder in (root / "folder", root):
            if folder.is_dir():
                folder.rmdir()


def config() -> bytes:
    return (ROOT / "configs" / "config_first_dn4lenet.txt").read_bytes()


def check_config(path: Path) -> None:
    known = dict(models=models.needs_nrot(), datasets=class_counts())
    cfg = load_config(path, **known)
    assert Config.from_dict(cfg.to_dict()) == cfg


def check_position(image: Any) -> None:
    assert image.position is None or np.isfinite(image.position).all()
    assert image.pixel_scale_arcsec is None or image.pixel_scale_arcsec > 0


def fits_bytes(compressed: bool = False) -> bytes:
    """A small cutout of integers with BZERO, BLANK and a WCS, in the second HDU."""
    from astropy.io import fits
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---SIN", "DEC--SIN"], [180, 30], [20.5, 20.5]
    wcs.wcs.cdelt = [-5e-4, 5e-4]
    kind = fits.CompImageHDU if compressed else fits.ImageHDU
    hdu = kind(PIXELS.astype(np.int16), header=wcs.to_header())
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, 7.0
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
    return stream.getvalue()


def real_fits() -> bytes:
    return gzip.decompress(sorted((real_folder() / "fits").glob("*.fits.gz"))[0].read_bytes())


def check_fits(path: Path) -> None:
    image = read_fits(path)
    assert image.data.ndim == 2 and image.data.dtype == np.float64 and 0 <= image.nan_fraction <= 1
    check_image(path)


def check_image(path: Path) -> None:
    image = read_image(path, recipe="mirabest_v2", native_size=30)
    assert image.pixels.dtype == np.uint8 and image.pixels.shape == (30, 30)
    check_position(image)


def check_mosaic(path: Path) -> None:
    found = mosaic.Mosaic(path)
    place = mosaic.Position("a", 180.0, 30.0, float("nan"))
    image = mosaic.read_cutout(found, place, recipe="mirabest_v1", native_size=10, rescale_to_arcsec=1.8)
    assert image.pixels.shape == (10, 10)
    image = mosaic.read_cutout(found, place, recipe="mirabest_v1", native_size=10)
    assert image.pixels.dtype == np.uint8 and image.pixels.shape == (10, 10)


def picture(kind: str, mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    pixels = PIXELS.astype(np.uint16) * 200 if mode == "I;16" else PIXELS.astype(np.uint8)
    image = PillowImage.fromarray(pixels)
    (image.convert(mode) if mode in ("P", "RGBA") else image).save(stream, kind)
    return stream.getvalue()


def array(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, pixels)
    return stream.getvalue()


COLUMNS = (catalog.Column("id", "text", None, "name"), catalog.Column("p", "number", None, "probability"))


def part() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, id=np.array(["a", "b", "c"]), p=np.array([0.1, 0.2, np.nan]))
    return stream.getvalue()


def part_array(name: str) -> tuple[Callable[[], bytes], Callable[[bytes], bytes]]:
    """Returns (what is in an array of the part, how to put other bytes in its place): the checksums hold."""

    def take() -> bytes:
        with zipfile.ZipFile(io.BytesIO(part())) as archive:
            return archive.read(name)

    def put(content: bytes) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(part())) as archive, zipfile.ZipFile(stream, "w") as result:
            for member in archive.namelist():
                result.writestr(member, content if member == name else archive.read(member))
        return stream.getvalue()

    return take, put


def parquet_part() -> bytes:
    pytest.importorskip("pyarrow", reason="pyarrow is an optional requirement")
    stream = io.BytesIO()
    from pyarrow import parquet

    columns = {"id": np.array(["a", "b", "c"]), "p": np.array([0.1, 0.2, np.nan])}
    parquet.write_table(catalog._to_arrow(COLUMNS, columns), stream)
    return stream.getvalue()


def check_part(path: Path) -> None:
    found = catalog.read_part(path, COLUMNS)
    assert found["id"].ndim == 1 and found["id"].dtype.kind == "U" and found["p"].dtype.kind == "f"
    assert found["id"].shape == found["p"].shape
    "".join(found["id"].tolist()).encode()


def positions(kind: str) -> bytes:
    from astropy.table import Table

    table = Table({"id": ["00012", "b", "c,d"], "ra": [180.0, 10.5, 359.9], "dec": [30.0, -10.0, 89.0]})
    table["ra"].unit = table["dec"].unit = None if kind == "ascii.csv" else "deg"
    if kind in ("fits", "votable"):
        stream = io.BytesIO()
        table.write(stream, format=kind)
        return stream.getvalue()
    text = io.StringIO()
    table.write(text, format=kind)
    return text.getvalue().encode()


def check_positions(path: Path) -> None:
    found = read_positions(path, dict.fromkeys(("ra", "dec", "id", "las")))
    assert found and all(type(number) is float for place in found for number in (place.ra_deg, place.dec_deg))


def labels(kind: str) -> bytes:
    from astropy.table import Table

    names = [f"{i}.png" for i in range(6)]
    table = Table({"path": names, "label": ["FRI", "FRII"] * 3, "split": ["train"] * 4 + ["test"] * 2})
    table["ra"], table["dec"] = np.linspace(1, 60, 6), np.linspace(-30, 30, 6)
    if kind == "fits":
        stream = io.BytesIO()
        table.write(stream, format=kind)
        return stream.getvalue()
    text = io.StringIO()
    table.write(text, format=kind)
    return text.getvalue().encode()


def check_labels(path: Path) -> None:
    for i in range(6):
        PillowImage.fromarray((PIXELS + 40 * i).astype(np.uint8)).save(path.parent / f"{i}.png")
    try:
        table = ImageTable(path, native_size=20, imsize=20)
    finally:
        for i in range(6):
            (path.parent / f"{i}.png").unlink()
    assert table.data.shape == (len(table.names), 20, 20) and table.data.dtype == torch.uint8
    assert max(table.targets) < len(table.classes) and all(name.isprintable() for name in table.classes)


PICKLE = (b"M\xe8\x03", b"J\xff\xff\xff\x7f", b"K\x00", b"K\x01", b"X\x03\x00\x00\x00std", b"cos\nsystem\n", b"R", b"b")
PICKLE += (
    b"r\xff\xff\xff\x7f",
    b"\x96" + b"\xff" * 7 + b"\x0f",
    b"T\xff\xff\xff\x7f",
    b"N",
    b"}",
    b"]",
    b"e",
    b"s",
    b"(",
    b"t",
    b".",
    b"0",
    b"2",
    b"q\x01",
    b"h\x01",
    b"G\x7f\xf0" + bytes(6),
)
CARDS = (b"NAXIS   =", b"NAXIS1  =", b"BITPIX  =", b"BZERO   =", b"CRVAL1  =", b"CDELT1  =", b"PCOUNT  =", b"XTENSION=")
CARDS += (
    b"ZNAXIS1 =",
    b"ZTILE1  =",
    b"TFORM1  =",
    b"NAXIS2  =",
    b"CTYPE1  =",
    b"END",
    b"'",
    b"/",
    b"40",
    b"16",
    b"-64",
)
CARDS += (b" " * 80, b"T", b"\xff")
TABLE = (
    b",",
    b'"',
    b"\n",
    b"\r",
    b"ra",
    b"dec",
    b"id",
    b"\x00",
    b"\xff",
    b"deg",
    b"float64",
    b"<TD>",
    b"</TR>",
    b"&x;",
)
INI = (
    b"[model]",
    b"[data]",
    b"[",
    b"]",
    b":",
    b"=",
    b"'",
    b"True",
    b"None",
    b"nrot",
    b"imsize",
    b"[" * 90,
    b"%(x)s",
    b"\n",
)
INI += (b"10**9", b"\xff", b"\x00", b"9" * 500, b"base", b"1_000", b"'\\ud800'", b"{'a': 1}")
NPY = (b"<f8", b"|O", b"|u1", b"<U9", b">c16", b"True", b"(", b",", b")", b"shape", b"descr", b"\x93NUMPY")

take_pickle, put_pickle = rezip("data.pkl")

READERS = [
    Reader("checkpoint", ".pt", network, check_network, PICKLE),
    Reader("checkpoint-pickle", ".pt", take_pickle, check_network, PICKLE, put_pickle),
    Reader("batch", "", batch, check_batch, PICKLE),
    Reader("batch-real", "", real_batch, check_real_batch, PICKLE),
    Reader("archive", ".tar.gz", lambda: gzip.compress(tar(), mtime=0), check_archive),
    Reader(
        "archive-tar",
        ".tar.gz",
        tar,
        check_archive,
        (b"folder/", b"../", b"/", b"0000644", b"0", b"1", b"2", b"5", b"L", b"x", b"S"),
        lambda content: gzip.compress(content, mtime=0),
    ),
    Reader("config", ".txt", config, check_config, INI + NUMBERS),
    Reader("fits", ".fits", fits_bytes, check_fits, CARDS + NUMBERS),
    Reader("fits-real", ".fits", real_fits, check_fits, CARDS + NUMBERS),
    Reader("fits-gz", ".fits.gz", lambda: gzip.compress(fits_bytes(), mtime=0), check_fits),
    Reader("fits-fz", ".fits.fz", lambda: fits_bytes(compressed=True), check_fits, CARDS + NUMBERS),
    Reader("mosaic", ".fits", fits_bytes, check_mosaic, CARDS + NUMBERS),
    Reader("png", ".png", lambda: picture("PNG"), check_image, (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"acTL", b"iCCP")),
    Reader("png-16", ".png", lambda: picture("PNG", "I;16"), check_image),
    Reader("png-color", ".png", lambda: picture("PNG", "P"), check_image),
    Reader("jpeg", ".jpg", lambda: picture("JPEG"), check_image, (b"\xff\xd8", b"\xff\xda", b"\xff\xc0", b"\xff\xd9")),
    Reader("npy", ".npy", lambda: array(PIXELS.astype(np.float32)), check_image, NPY + NUMBERS),
    Reader("npy-uint8", ".npy", lambda: array(PIXELS.astype(np.uint8)), check_image, NPY + NUMBERS),
    Reader("part-npz", ".npz", part, check_part, NPY),
    Reader("part-text", ".npz", part_array("id.npy")[0], check_part, NPY + NUMBERS, part_array("id.npy")[1]),
    Reader("part-numbers", ".npz", part_array("p.npy")[0], check_part, NPY + NUMBERS, part_array("p.npy")[1]),
    Reader("part-parquet", ".parquet", parquet_part, check_part, (b"PAR1", b"id", b"p", b"ARROW:schema") + NUMBERS),
    Reader("positions-csv", ".csv", lambda: positions("ascii.csv"), check_positions, TABLE + NUMBERS),
    Reader("positions-ecsv", ".ecsv", lambda: positions("ascii.ecsv"), check_positions, TABLE + NUMBERS),
    Reader("positions-fits", ".fits", lambda: positions("fits"), check_positions, CARDS + NUMBERS),
    Reader("labels-csv", ".csv", lambda: labels("ascii.csv"), check_labels, TABLE + NUMBERS),
    Reader("labels-ecsv", ".ecsv", lambda: labels("ascii.ecsv"), check_labels, TABLE + NUMBERS),
    Reader("labels-fits", ".fits", lambda: labels("fits"), check_labels, CARDS + NUMBERS),
    Reader("positions-votable", ".vot", lambda: positions("votable"), check_positions, TABLE + NUMBERS),
]


def fuzz(reader: Reader, folder: Path, n_cases: int) -> None:
    whole = reader.make()
    path = folder / f"given{reader.suffix}"
    refused = 0

    @settings(
        max_examples=n_cases, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(st.lists(DAMAGE, min_size=1, max_size=4))
    def check(steps: list[tuple]) -> None:
        nonlocal refused
        path.write_bytes(reader.wrap(damage(whole, steps, reader.tokens)))
        with time_limit():
            try:
                reader.read(path)
            except UserError as error:
                refused += 1
                assert str(error).strip()
        assert [found.name for found in folder.iterdir()] == [path.name]

    path.write_bytes(reader.wrap(whole))
    reader.read(path)  # nothing is shown by refusing everything
    with memory_limit():
        check()
    assert refused > n_cases // 20


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_damaged_files(reader: Reader, tmp_path: Path) -> None:
    fuzz(reader, tmp_path, 100)


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_many_damaged_files(reader: Reader, tmp_path: Path) -> None:
    fuzz(reader, tmp_path, 2000)


HOSTILE = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.builds(pow, st.just(10), st.just(5000)),
        st.sampled_from([-(2**63), float("nan"), float("inf"), "\ud800", "\x1b[31m", "", "x" * 10**5, b"x"]),
        st.builds(torch.zeros, st.sampled_from([(), (0,), (3, 2)])),
        st.sampled_from(["FRI", "VanillaLeNet", "e2cnn", 4, 50, 1.5]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)


def hostile_checkpoints(folder: Path, n_cases: int) -> None:
    """Files that torch wrote, so nothing but what they hold is wrong: every value in turn is something else."""
    whole = torch.load(io.BytesIO(network()), weights_only=True)
    places = [(key,) for key in whole] + [("model", key) for key in whole["model"]]
    places += [
        ("config", section, *key)
        for section, values in whole["config"].items()
        for key in ([(), *((key,) for key in values)] if isinstance(values, dict) else [()])
    ]
    path = folder / "best.pt"

    @settings(
        max_examples=n_cases, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(st.lists(st.tuples(st.sampled_from(places), HOSTILE), min_size=1, max_size=3))
    def check(changes: list[tuple]) -> None:
        content = copy.deepcopy(whole)
        for (*outer, last), value in changes:
            part = content
            for key in outer:
                part = part[key] if isinstance(part, dict) and isinstance(part.get(key), dict) else {}
            part[last] = value
        torch.save(content, path)
        with time_limit():
            try:
                check_network(path)
            except UserError as error:
                str(error).encode()
                assert len(str(error)) < 10_000
        assert [found.name for found in folder.iterdir()] == [path.name]

    with memory_limit():
        check()


def test_hostile_checkpoints(tmp_path: Path) -> None:
    hostile_checkpoints(tmp_path, 100)


@pytest.mark.slow
def test_many_hostile_checkpoints(tmp_path: Path) -> None:
    hostile_checkpoints(tmp_path, 2000)


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value, value]
    return value


def holding_itself() -> list:
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [nested(30), nested(100), holding_itself()], ids=["wide", "deep", "endless"])
def test_a_checkpoint_that_would_print_without_end_is_refused(value: list, tmp_path: Path) -> None:
    content = torch.load(io.BytesIO(network()), weights_only=True)
    content["config"]["model"]["base"] = value
    torch.save(content, tmp_path / "best.pt")
    with time_limit(), pytest.raises(UserError, match="it holds itself, or more than|nested more than"):
        checkpoint.read(tmp_path / "best.pt")


def test_a_tensor_longer_than_its_file_is_refused(tmp_path: Path) -> None:
    """Old versions of torch read beyond the file's bytes in memory."""
    torch.save({"format": checkpoint.FORMAT, "w": torch.zeros(1000)}, tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "best.pt", "w") as forged:
        for member in whole.namelist():
            content = whole.read(member)
            forged.writestr(member, content.replace(b"M\xe8\x03", b"J\x00\x00\x00\x10"))
    with pytest.raises(UserError, match="tensor 0 is not as long as it says"):
        checkpoint.read(tmp_path / "best.pt")


def test_packed_checkpoints_and_programs_are_refused(tmp_path: Path) -> None:
    torch.save({"format": checkpoint.FORMAT, "w": torch.zeros(10**6)}, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", compression=zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in whole.namelist():
            packed.writestr(member, whole.read(member))
    with pytest.raises(UserError, match="packed or repeated members"):
        checkpoint.read(tmp_path / "packed.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), tmp_path / "program.pt")
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        checkpoint.read(tmp_path / "program.pt")


def test_a_pickle_of_ten_bytes_cannot_ask_for_gigabytes() -> None:
    with memory_limit(), pytest.raises(UserError, match="it numbers its 2,147,483,647th part"):
        read_batch(b"\x80\x02]r\xff\xff\xff\x7f.", "batch", 8, 2)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=lambda pack: pack.__module__)
def test_files_that_unpack_without_bound_are_refused(pack, tmp_path: Path, monkeypatch) -> None:
    """Whatever its name, astropy would unpack what looks packed."""
    from radgal.files import packing

    monkeypatch.setattr(packing, "MAX_RATIO", 2)
    monkeypatch.setattr(packing, "MAX_UNPACKED_BYTES", 1 << 20)
    packed = pack(fits_bytes() + bytes(70 << 20))
    for name, read in (
        ("a.fits", lambda path: read_fits(path, max_pixels=100)),
        ("a.fits", mosaic.Mosaic),
        ("a.csv", check_positions),
        ("a.vot", check_positions),
        ("a.fits", check_labels),
        ("a.ecsv", check_labels),
    ):
        path = tmp_path / name
        path.write_bytes(packed)
        with memory_limit(), pytest.raises(UserError, match="more than|not by gzip|cannot be read"):
            read(path)


def test_a_packed_part_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "part.npz").open("wb") as stream:
        np.savez_compressed(stream, id=np.zeros(10**5, "U1000"), p=np.zeros(10**5))
    assert (tmp_path / "part.npz").stat().st_size < 10**6
    with memory_limit(), pytest.raises(UserError, match="packed"):
        check_part(tmp_path / "part.npz")


def test_images_are_bounded_before_they_are_decoded(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 9000, 9000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    png += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    (tmp_path / "a.png").write_bytes(png)
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (10**5, 10**5)})
    with (tmp_path / "a.npy").open("wb") as file:
        file.write(stream.getvalue())
        file.truncate(10**10 + 200)  # a hole: no disk is used
    for name in ("a.png", "a.npy"):
        with memory_limit(), pytest.raises(UserError, match="at most 67,108,864"):
            check_image(tmp_path / name)


def test_a_votable_that_expands_without_end_is_refused(tmp_path: Path) -> None:
    more = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    text = positions("votable").decode().replace("<VOTABLE", f'<!DOCTYPE x [<!ENTITY a0 "x">{more}]><VOTABLE', 1)
    (tmp_path / "a.vot").write_text(text.replace("<TD>00012", "<TD>&a11;"))
    with time_limit(), memory_limit(), pytest.raises(UserError, match="cannot be read as a catalog"):
        check_positions(tmp_path / "a.vot")
