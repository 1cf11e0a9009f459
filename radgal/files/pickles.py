"""Pickles and checkpoints are looked through before anything else reads them: nothing in them is run or unpacked.

``torch.load(weights_only=True)`` alone does not keep what it promises in every torch that is allowed here: up to 2.5 it
can be made to run code (CVE-2025-32434), and up to 2.9 to read and write past its memory (CVE-2026-24747). What those
need does not get past this.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

MAX_PICKLE_BYTES = 16 << 20  # that of a run of ten thousand epochs has two million
MAX_DEPTH = 32
MAX_VALUES = 5_000_000
MAX_INT_BITS = 256  # NumPy's random generators have states of 128


def check_pickle(content: bytes) -> None:
    """Raises ValueError for a pickle that is cut off, or that makes the unpickler ask for memory it never uses.

    The unpickler numbers what it has read and keeps a table as long as the largest number, which a file of ten bytes
    can put at two billion.
    """
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > len(content):
            raise ValueError(f"it numbers its {argument:,}th part, and has {len(content):,} bytes")


def check_archive(path: Path) -> None:
    """Raises ValueError (or what zipfile and pickle raise) unless ``path`` is made as ``torch.save`` makes files.

    That is: a zip of uncompressed members that do not overlap; one pickle of plain values and tensors; every tensor's
    storage just as long as the pickle says.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        sizes = {member.filename: member.file_size for member in members}
        if len(sizes) < len(members) or any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it has packed or repeated members")
        if sum(sizes.values()) > path.stat().st_size:
            raise ValueError("its members overlap")
        (name,) = (name for name in sizes if name.rpartition("/")[2] == "data.pkl")
        prefix = name.removesuffix("data.pkl")
        if prefix + "constants.pkl" in sizes:
            raise ValueError("it is a TorchScript program")
        if sizes[name] > MAX_PICKLE_BYTES:
            raise ValueError(f"its description has {sizes[name]:,} bytes")
        description = archive.read(name)
    check_pickle(description)
    content = _Scan(description, prefix, sizes).load()
    _count(content, 0, {})


class _Tensor:
    """Stands for a tensor or its parts; ignores what is done to it."""

    def __init__(self, *_: object, **__: object):
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _Storage:
    """Stands for a type of storage: the bytes of one element."""

    def __init__(self, itemsize: int):
        self.itemsize = itemsize


def _rebuild(storage: object, offset: object, size: object, stride: object, *rest: object) -> _Tensor:
    integers = all(type(part) is tuple and all(type(i) is int and i >= 0 for i in part) for part in (size, stride))
    if not isinstance(storage, _Tensor) or type(offset) is not int or offset < 0 or not integers:
        raise ValueError("a tensor is not described as one")
    return _Tensor()


class _Scan(pickle.Unpickler):
    """Reads the pickle of a checkpoint with stand-ins for its tensors, and knows no other name."""

    known = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
        ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        **{("torch", f"{kind}Storage"): _Storage(1) for kind in ("Byte", "Char", "Bool")},
        **{("torch", f"{kind}Storage"): _Storage(2) for kind in ("Short", "Half", "BFloat16")},
        **{("torch", f"{kind}Storage"): _Storage(4) for kind in ("Int", "Float")},
        **{("torch", f"{kind}Storage"): _Storage(8) for kind in ("Long", "Double")},
    }

    def __init__(self, content: bytes, prefix: str, sizes: dict[str, int]):
        super().__init__(io.BytesIO(content))
        self.prefix, self.sizes = prefix, sizes

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no checkpoint needs")
        return self.known[module, name]

    def persistent_load(self, pid: object) -> _Tensor:
        word, kind, key, _, n_elements = pid
        if word != "storage" or not isinstance(kind, _Storage) or type(key) is not str or type(n_elements) is not int:
            raise ValueError("a tensor's storage is not described as one")
        if self.sizes.get(f"{self.prefix}data/{key}") != n_elements * kind.itemsize:
            raise ValueError(f"tensor {key} is not as long as it says")
        return _Tensor()


def _count(value: object, depth: int, known: dict[int, int]) -> int:
    """Returns how many values there are, those that stand in several places counted at each.

    Raises:
        ValueError: if they are too many or nested too deeply to be printed or compared, hold themselves, or are text
            or numbers that cannot be printed.
    """
    if isinstance(value, str):
        value.encode()
    if isinstance(value, int) and value.bit_length() > MAX_INT_BITS:
        raise ValueError(f"a number in it has {value.bit_length()} bits")
    if not isinstance(value, (dict, list, tuple, set, frozenset)):
        return 1
    if id(value) not in known:
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        known[id(value)] = MAX_VALUES + 1  # what it counts as inside itself
        items = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(item, depth + 1, known) for item in items)
    if known[id(value)] > MAX_VALUES:
        raise ValueError(f"it holds itself, or more than {MAX_VALUES:,} values")
    return known[id(value)]


def read_arrays(content: bytes) -> Any:
    """Returns what a pickle of plain values, texts and NumPy arrays holds; nothing in it is run.

    Each array is a :class:`StoredArray`, of which nothing is known yet.

    Raises:
        ValueError, pickle.UnpicklingError or what else a damaged or hostile pickle raises.
    """
    check_pickle(content)
    return _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()


class _Dtype:
    """Stands for numpy.dtype: its code and byte order as written."""

    def __init__(self, code: str, *_: object):
        self.code, self.order = code, "|"

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]


class StoredArray:
    """Stands for numpy.ndarray: its parts as written."""

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, self.is_fortran, self.raw = state

    def to_image(self, side: int) -> np.ndarray:
        """Returns the array (side, side); ValueError if it is not that many uint8."""
        shape_fits = self.shape in ((side, side), (side * side,)) and not self.is_fortran
        if self.dtype.code != "u1" or not shape_fits or not isinstance(self.raw, bytes):
            raise ValueError(f"an image is not {side} x {side} uint8")
        return np.frombuffer(self.raw, dtype=np.uint8).reshape(side, side)


def _reconstruct(*_: object) -> StoredArray:
    return StoredArray()


def _scalar(dtype: _Dtype, raw: bytes) -> str:
    if not dtype.code.startswith("U"):
        raise ValueError(f"a NumPy scalar of type {dtype.code}")
    return raw.decode("utf-32-be" if dtype.order == ">" else "utf-32-le").rstrip("\0")


class _ArrayUnpickler(pickle.Unpickler):
    """Reads NumPy arrays and text, and knows no other name.

    Even NumPy's own functions are not called with what the file says: a forged dtype can make them read
    past their memory. Plain stand-ins note the parts, which are checked before an array is made.
    """

    known = {
        ("numpy", "ndarray"): StoredArray,
        ("numpy", "dtype"): _Dtype,
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy.core.multiarray", "scalar"): _scalar,
        ("numpy._core.multiarray", "scalar"): _scalar,
    }

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return self.known[module, name]
