"""e2cnn's own layers behind the interface of ``radgal.layers.steerable``: for comparison and as a fall-back.

The classes have the names of those they can stand for. Only what is needed to be interchangeable is added:
tensors in and out, and weights alone in the state dict.
"""

from __future__ import annotations

from radgal.layers.e2cnn_compat import patch_e2cnn, quiet_masks

patch_e2cnn()

import torch  # noqa: E402  (e2cnn must be patched before its layers are imported)
from e2cnn import nn as e2nn  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from radgal.layers.basis import Symmetry, make_gspace  # noqa: E402
from radgal.layers.plain import GroupMax, plain_conv, plain_relu_max_blur  # noqa: E402


class SteerableConv(e2nn.R2Conv):
    """e2cnn's ``R2Conv`` without bias; the arguments are those of ``radgal.layers.steerable.SteerableConv``."""

    def __init__(
        self,
        symmetry: Symmetry,
        in_fields: int,
        out_fields: int,
        kernel_size: int,
        padding: int = 0,
        regular_input: bool = True,
    ):
        space = make_gspace(symmetry)
        in_repr = space.regular_repr if regular_input else space.trivial_repr
        with quiet_masks():
            super().__init__(
                e2nn.FieldType(space, in_fields * [in_repr]),
                e2nn.FieldType(space, out_fields * [space.regular_repr]),
                kernel_size=kernel_size,
                padding=padding,
                bias=False,
                # e2cnn would share one basis between all networks, and .double() on one breaks the rest
                recompute=True,
            )
        self.symmetry = symmetry
        self.in_channels, self.out_channels = self.in_type.size, self.out_type.size
        self._save_no_buffers()

    def _save_no_buffers(self) -> None:
        for module in self.modules():
            module._non_persistent_buffers_set.update(module._buffers)

    @property
    def weight(self) -> nn.Parameter:
        """The weights under the name that torchsummary and other counters of parameters look for."""
        return self.weights

    def expand(self) -> Tensor:
        """Returns the dense filter, (out_channels, in_channels, k, k), differentiable in the weights."""
        return self.expand_parameters()[0]

    def sampled_basis(self) -> Tensor:
        """Returns the basis of kernels as published checkpoints hold it, shape (B, |out|, |in|, k * k)."""
        return next(buffer for name, buffer in self.named_buffers() if name.endswith("sampled_basis"))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the convolved fields, shape (N, out_channels, H', W')."""
        return super().forward(e2nn.GeometricTensor(x, self.in_type)).tensor

    def to_plain(self) -> nn.Conv2d:
        """Returns torch's convolution with the dense filter."""
        return plain_conv(self.expand(), self.padding)

    def train(self, mode: bool = True) -> SteerableConv:
        with torch.no_grad():
            super().train(mode)
        self._save_no_buffers()
        return self

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if not self.training:
            self.train().eval()  # e2cnn would go on using the filter of the weights before


class ReluMaxPool(nn.Module):
    """e2cnn's ``ReLU`` and ``PointwiseMaxPoolAntialiased(2)`` on regular fields."""

    def __init__(self, symmetry: Symmetry, n_fields: int):
        super().__init__()
        self._type = _regular_type(symmetry, n_fields)
        self.n_channels = self._type.size
        self.relu = e2nn.ReLU(self._type, inplace=True)
        self.pool = e2nn.PointwiseMaxPoolAntialiased(self._type, kernel_size=2)
        self.pool._non_persistent_buffers_set.add("filter")

    def forward(self, x: Tensor) -> Tensor:
        """Returns the pooled maps."""
        pooled = self.pool.forward(self.relu.forward(e2nn.GeometricTensor(x, self._type)))
        return pooled.tensor

    def to_plain(self) -> nn.Sequential:
        """Returns torch's layers in a row."""
        return plain_relu_max_blur(self.n_channels)


class GroupPool(nn.Module):
    """e2cnn's ``GroupPooling`` of regular fields, which rounds to float32; the type of the input is given back."""

    def __init__(self, symmetry: Symmetry, n_fields: int):
        super().__init__()
        self._type = _regular_type(symmetry, n_fields)
        self.pool = e2nn.GroupPooling(self._type)
        self.pool._non_persistent_buffers_set.update(self.pool._buffers)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the pooled fields, shape (N, n_fields, H, W)."""
        return self.pool.forward(e2nn.GeometricTensor(x, self._type)).tensor.to(x.dtype)

    def to_plain(self) -> GroupMax:
        """Returns the maximum over as many channels as the group has elements."""
        return GroupMax(self.pool.in_type.size // self.pool.out_type.size)


def _regular_type(symmetry: Symmetry, n_fields: int) -> e2nn.FieldType:
    space = make_gspace(symmetry)
    return e2nn.FieldType(space, n_fields * [space.regular_repr])
