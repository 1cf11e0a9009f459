"""What a checkpoint of the published program holds beside the learned parameters."""

from __future__ import annotations

import re
from collections.abc import MutableMapping

import torch
from torch import Tensor, nn

EXTRAS = re.compile(
    r"dummy|mask(\.mask)?|\w+\.(filter|expanded_bias|bias_expansion|_basisexpansion\..*|(in|out)_indices_\d+)"
)
"""An empty tensor, the mask, filters that e2cnn caches in eval mode, its bases, the index tables of its poolings."""
SAME_BASIS = 1e-4
"""Largest difference of two bases' values (about 1) that are the same, computed by other libraries elsewhere."""


def take_out_extras(state: MutableMapping[str, Tensor], prefix: str, network: nn.Module) -> list[str]:
    """Takes the extras of a published checkpoint out of a state dict, of which a network's keys begin with ``prefix``.

    Returns:
        The errors found: the weights are coefficients of another basis of kernels than the network's.
    """
    errors = []
    for key in [key for key in state if key.startswith(prefix)]:
        name = key[len(prefix) :]
        if EXTRAS.fullmatch(name):
            extra = state.pop(key)
            if name.endswith(".sampled_basis") and not _fits(extra, getattr(network, name.split(".")[0], None)):
                made_for = f"another group or kernel size than {network.symmetry}"
                errors.append(f"{name}: the checkpoint was made for {made_for}")
    return errors


def _fits(basis: Tensor, layer: nn.Module | None) -> bool:
    """Returns whether ``basis`` is that of a layer; of one that has none, it does not matter."""
    if not hasattr(layer, "sampled_basis"):
        return True
    own = layer.sampled_basis()
    return own.shape == basis.shape and torch.allclose(own, basis.to(own), atol=SAME_BASIS)
