"""The plain network's layers do what the stock operators in a row do."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from radgal.layers.conventional import PooledConv2d


@pytest.mark.parametrize("in_channels", [1, 6])
@pytest.mark.parametrize("kernel_size", [3, 4, 5])
@pytest.mark.parametrize("side", [12, 13])
@pytest.mark.parametrize("flat", [True, False])
def test_pooled_convolution_is_convolution_pooling_relu(
    in_channels: int, kernel_size: int, side: int, flat: bool
) -> None:
    torch.manual_seed(0)
    layer = PooledConv2d(in_channels, 4, kernel_size, padding=1).double()
    x = torch.randn(3, in_channels, side, side + 1, dtype=torch.float64)
    if flat:  # as most of a radio image is: then a window holds equal values
        x[:, :, :8, :8] = 0.5
    x.requires_grad_()
    expected = F.relu(F.max_pool2d(F.conv2d(x, layer.weight, layer.bias, padding=1), 2))
    got = layer(x)
    torch.testing.assert_close(got, expected)
    # rounding decides which of equal values gets the gradient, so in flat regions only its sum is defined
    inputs = (layer.weight, layer.bias) if flat else (layer.weight, layer.bias, x)
    grad = torch.randn_like(got)
    theirs = torch.autograd.grad(expected, inputs, grad)
    torch.testing.assert_close(torch.autograd.grad(got, inputs, grad), theirs)
    assert min(part.abs().max() for part in theirs) > 0
