"""Tensors that a layer needs and never learns or saves: bases, filters, masks.

They are made outside of whatever mode the caller is in, and made again where torch forgets what is in a buffer: a
network that is built on the device 'meta', to be filled later, knows nothing but shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def for_keeps() -> Iterator[None]:
    """Inside, tensors are made as ever, on the CPU, and may be used for anything: what is made outlasts the caller.

    Otherwise the first caller's ``torch.inference_mode()``, device or default precision would be that of all others.
    """
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)


def here(constant: Tensor) -> Tensor:
    """Returns it on the device, and in the precision, in which tensors are made just now."""
    return constant.to(torch.get_default_device(), torch.get_default_dtype())


class WithConstants(nn.Module):
    """A module with buffers that are always the same, and so are not saved."""

    def constants(self) -> dict[str, Tensor]:
        """Returns them by name, on the CPU, as they are before the module is moved anywhere."""
        raise NotImplementedError

    def _apply(self, fn: Any, recurse: bool = True) -> WithConstants:
        """As torch's, by which ``to``, ``half``, ``to_empty`` and the like change all tensors of a module."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        new = {name for name, now in self._buffers.items() if now is not before[name] and not now.is_meta}
        for name, value in self.constants().items() if new else ():
            if name in new:
                with torch.no_grad():
                    self._buffers[name].copy_(value)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)
        if local_metadata.get("assign_to_params_buffers") and any(one.is_meta for one in self.buffers(recurse=False)):
            device = next((one.device for one in state_dict.values() if isinstance(one, Tensor)), "cpu")
            for name, value in self.constants().items():
                self._buffers[name] = value.to(device)
