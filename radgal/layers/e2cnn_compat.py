"""Makes e2cnn 0.2.3 work with NumPy 2.

e2cnn is the only library of steerable layers that pip installs everywhere; it was last released before
NumPy 2. Three NumPy features that it uses are gone. Each is put right where it is used, inside e2cnn's own
modules: nothing in NumPy, and nothing that any other library sees, is touched.
"""

from __future__ import annotations

import functools
import importlib
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from utils import UserError


class _Numpy(types.ModuleType):
    """NumPy, but for the given attributes, as one module of e2cnn is to see it."""

    def __init__(self, **own: object):
        super().__init__("numpy_for_e2cnn")
        self.__dict__.update(own)

    def __getattr__(self, name: str) -> object:
        return getattr(np, name)


def _array(values: object, *args, copy: bool | None = True, **kwargs) -> np.ndarray:
    """``np.array``, with ``copy=False`` for "only if needed" as before NumPy 2.0, which raises where it is needed."""
    return np.array(values, *args, **kwargs) if copy else np.asarray(values, *args, **kwargs)


def _hash_kernel_basis(basis: object) -> int:
    """Hash of an e2cnn ``IrrepBasis``, as its own ``__hash__`` but with ``tobytes`` for ``tostring``.

    ``ndarray.tostring`` was removed in NumPy 2.3; ``tobytes`` has been the same bytes under a better name.
    """
    gamma = basis.gamma.tobytes() if isinstance(basis.gamma, np.ndarray) else basis.gamma
    return hash(basis.in_irrep) + hash(basis.out_irrep) + hash(basis.mu.tobytes()) + hash(gamma)


def patch_e2cnn() -> None:
    """Puts right what the installed NumPy breaks in e2cnn; calling it again changes nothing.

    Raises:
        UserError: if e2cnn is not installed.
    """
    try:
        kernels = importlib.import_module("e2cnn.kernels.utils")
        o2group = importlib.import_module("e2cnn.group.groups.o2group")
        bases = importlib.import_module("e2cnn.kernels.irreps_basis")
    except ModuleNotFoundError as error:
        if error.name != "e2cnn":
            raise
        raise UserError("the steerable networks need e2cnn: run  pip install e2cnn") from None
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0" and not isinstance(kernels.np, _Numpy):
        kernels.np = _Numpy(array=_array)
    if not hasattr(np, "float") and not isinstance(o2group.np, _Numpy):
        o2group.np = _Numpy(float=float)  # gone since NumPy 1.24
    if not hasattr(np.ndarray, "tostring"):
        for name in (
            "R2FlipsSolution",
            "R2DiscreteRotationsSolution",
            "R2FlipsContinuousRotationsSolution",
            "R2FlipsDiscreteRotationsSolution",
            "R2ContinuousRotationsSolution",
        ):
            cls = getattr(bases, name, None)
            if cls is not None and "tostring" in cls.__hash__.__code__.co_names:
                cls.__hash__ = _hash_kernel_basis


@contextmanager
def quiet_masks() -> Iterator[None]:
    """Silences, while a basis is built, that e2cnn indexes with bytes, which torch would have be bools."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="indexing with dtype torch.uint8")
        yield


@contextmanager
def quick_einsum() -> Iterator[None]:
    """Lets e2cnn contract its products of three matrices two by two while a basis is built.

    ``np.einsum`` runs over all seven indices at once unless told otherwise: 6 s for D_16, and 0.1 s two by two.
    """
    module = importlib.import_module("e2cnn.kernels.steerable_basis")
    before = module.np
    module.np = _Numpy(einsum=functools.partial(np.einsum, optimize=True))
    try:
        yield
    finally:
        module.np = before
