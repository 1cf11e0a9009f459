"""Pickles and checkpoints are looked through before anything else reads them: nothing in them is run or unpacked.

``torch.load(weights_only=True)`` alone does not keep what it promises in every torch that is allowed here: up to 2.5 it
can be made to run code (CVE-2025-32434), and up to 2.9 to read and write past its memory (CVE-2026-24747). What those
need does not get past this.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from radgal.files.packing import check_zip

MAX_PICKLE_BYTES = 16 << 20  # that of a run of ten thousand epochs has two million
MAX_STEPS = 1_000_000  # to build what it holds; that same one takes a third of them
MAX_DEPTH = 32
MAX_VALUES = 5_000_000
MAX_AXES = 32  # of a tensor
MAX_INT_BITS = 256  # NumPy's random generators have states of 128
KEYS = {"str", "bytes_or_str", "int", "int_or_bool"}  # as pickletools calls text and whole numbers
NOT_NEEDED = {"EMPTY_SET", "FROZENSET", "ADDITEMS", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}
"""What puts things into sets, or makes objects in other ways than by calling what is known (``find_class``)."""


def check_pickle(content: bytes) -> None:
    """Raises ValueError for a pickle that is cut off, or that would keep the unpickler busy for ever.

    The unpickler numbers what it has read and keeps a table as long as the largest number, which a file of ten bytes
    can put at two billion. And it looks at all of a key to put it into a dictionary, which takes for ever where a tuple
    holds itself twice, sixty times over: keys are text and whole numbers, and there are no sets.
    """
    stack: list[str] = []  # the kinds of what the unpickler would have there
    memo: dict[int, str] = {}
    for step, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        name = opcode.name
        if step > MAX_STEPS:
            raise ValueError(f"it has more than {MAX_STEPS:,} steps")
        if name in NOT_NEEDED:
            raise ValueError(f"it holds what no file here needs ({name})")
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            number = len(memo) if name == "MEMOIZE" else argument
            if number > len(content):
                raise ValueError(f"it numbers its {number:,}th part, and has {len(content):,} bytes")
            memo[number] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "DUP":
            stack.append(stack[-1])
        else:
            _move(stack, opcode)


def _move(stack: list[str], opcode: pickletools.OpcodeInfo) -> None:
    """Takes from the stack of kinds and puts there what ``opcode`` does; ValueError for a key that is none here."""
    name, takes = opcode.name, [one.name for one in opcode.stack_before]
    n_below, at = takes.index("mark") if "mark" in takes else len(takes), len(stack)
    if "mark" in takes:
        at -= 1
        while stack[at] != "mark":  # from the top: what is above it is taken away, and never looked at again
            at -= 1
    if at < n_below:
        raise ValueError("it takes more from its stack than there is")
    below, items = stack[at - n_below : at], stack[at + 1 :]
    del stack[at - n_below :]
    keys = {"SETITEM": below[1:2], "SETITEMS": items[::2], "DICT": items[::2]}.get(name, ())
    if wrong := set(keys) - KEYS:
        raise ValueError(f"a dictionary in it has a key that is neither text nor a whole number ({min(wrong)})")
    if name == "BUILD" and below[:1] != ["made"]:
        raise ValueError("it gives a state to what is not its own")
    if name in ("SETITEM", "SETITEMS", "APPEND", "APPENDS", "BUILD"):
        stack += below[:1]
    else:
        stack += ["made"] if name == "REDUCE" else [one.name for one in opcode.stack_after]


def open_archive(path: Path) -> io.BytesIO:
    """Returns a copy in memory, for ``torch.load``, of a file that is made as ``torch.save`` makes files.

    That is: a zip of uncompressed members that do not overlap and have their checksums; one pickle of plain values and
    tensors; every tensor contiguous in a storage that is just as long as the pickle says. A copy, because a file can be
    made of two zips in one, of which Python finds the one and torch the other.

    Raises:
        ValueError, or what zipfile and pickle raise: if it is not.
    """
    sizes = check_zip(path)
    (name,) = (name for name in sizes if name.rpartition("/")[2] == "data.pkl")
    prefix = name.removesuffix("data.pkl")
    if prefix + "constants.pkl" in sizes:
        raise ValueError("it is a TorchScript program")
    if sizes[name] > MAX_PICKLE_BYTES:
        raise ValueError(f"its description has {sizes[name]:,} bytes")
    copy = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as clean:
        description = archive.read(name)
        check_pickle(description)
        content = _Scan(description, prefix, sizes).load()
        _count(content, 0, {})
        for member in (one for one in sizes if one.startswith(prefix)):
            clean.writestr(f"archive/{member.removeprefix(prefix)}", archive.read(member))
    copy.seek(0)
    return copy


class _Tensor:
    """Stands for a tensor."""

    def __setstate__(self, state: object) -> None:
        raise ValueError("a tensor in it is changed after it was made")  # by which torch would take any shape


class _Storage:
    """Stands for a type of storage: the bytes of one element."""

    def __init__(self, itemsize: int):
        self.itemsize = itemsize


class _Stored:
    """Stands for a storage of so many elements."""

    def __init__(self, n_elements: int):
        self.n_elements = n_elements


def _rebuild(
    storage: object, offset: object, size: object, stride: object, needs_grad: object, hooks: object, *rest: object
) -> _Tensor:
    lists = [[offset], *(part if type(part) is tuple and len(part) <= MAX_AXES else [None] for part in (size, stride))]
    integers = all(type(i) is int and 0 <= i < 2**63 for part in lists for i in part)
    if not isinstance(storage, _Stored) or not integers or type(needs_grad) is not bool or hooks or any(rest):
        raise ValueError("a tensor is not described as one")
    if len(size) != len(stride) or offset + math.prod(size) > storage.n_elements:
        raise ValueError("a tensor reaches over the end of what is stored of it")
    expected = [math.prod(size[i + 1 :]) for i in range(len(size))]
    if 0 not in size and any(n > 1 and own != one for n, own, one in zip(size, stride, expected, strict=True)):
        raise ValueError("a tensor is not stored number after number, as torch.save stores what is trained")
    return _Tensor()


def _parameter(tensor: object, needs_grad: object, hooks: object) -> _Tensor:
    if not isinstance(tensor, _Tensor) or type(needs_grad) is not bool or hooks:
        raise ValueError("a parameter is no tensor")
    return tensor


def _ordered(*items: object) -> OrderedDict:
    if items:
        raise ValueError("a dictionary in it is made of a list")
    return OrderedDict()


class _Scan(pickle.Unpickler):
    """Reads the pickle of a checkpoint with stand-ins for its tensors, and knows no other name."""

    known = {
        ("collections", "OrderedDict"): _ordered,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
        ("torch._utils", "_rebuild_parameter"): _parameter,
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

    def persistent_load(self, pid: object) -> _Stored:
        word, kind, key, place, n_elements = pid
        is_text = type(word) is type(key) is type(place) is str
        if not is_text or word != "storage" or not isinstance(kind, _Storage) or type(n_elements) is not int:
            raise ValueError("a tensor's storage is not described as one")
        if self.sizes.get(f"{self.prefix}data/{key}") != n_elements * kind.itemsize:
            raise ValueError(f"tensor {key} is not as long as it says")
        return _Stored(n_elements)


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
