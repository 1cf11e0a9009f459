"""The published steerable LeNet rebuilt from stock e2cnn modules, to compare with: Scaife & Porter 2021."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgal.layers.basis import Symmetry, make_gspace


class PublishedSteerable(nn.Module):
    """C_N or D_N LeNet of e2cnn's own modules, with the unused parameters that published checkpoints hold."""

    def __init__(self, kind: str, n: int, side: int, n_classes: int = 2):
        super().__init__()
        space = make_gspace(Symmetry(kind, n))
        from e2cnn import nn as e2nn

        image = e2nn.FieldType(space, [space.trivial_repr])
        first = e2nn.FieldType(space, 6 * [space.regular_repr])
        second = e2nn.FieldType(space, 16 * [space.regular_repr])
        self._tensor = e2nn.GeometricTensor
        self._image = image
        self.dummy = nn.Parameter(torch.empty(0))
        self.mask = e2nn.MaskModule(image, side, margin=1)
        self.conv1 = e2nn.R2Conv(image, first, kernel_size=5, padding=1, bias=False, recompute=True)
        self.relu1 = e2nn.ReLU(first, inplace=True)
        self.pool1 = e2nn.PointwiseMaxPoolAntialiased(first, kernel_size=2)
        self.conv2 = e2nn.R2Conv(first, second, kernel_size=5, padding=1, bias=False, recompute=True)
        self.relu2 = e2nn.ReLU(second, inplace=True)
        self.pool2 = e2nn.PointwiseMaxPoolAntialiased(second, kernel_size=2)
        self.gpool = e2nn.GroupPooling(second)
        z = ((side - 2) // 2 - 2) // 2
        self.fc1 = nn.Linear(16 * z * z, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, n_classes)
        self.drop = nn.Dropout(0.5)

    def trunk(self, x: Tensor) -> Tensor:
        x = self._tensor(x, self._image)
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x))).tensor
        order = x.shape[1] // 16  # GroupPooling itself gives float32 only
        return x.unflatten(1, (16, order)).max(2).values

    def forward(self, x: Tensor) -> Tensor:
        z = F.relu(self.fc2(F.relu(self.fc1(self.trunk(x).flatten(1)))))
        return self.fc3(self.drop(z))
