"""The published pipeline rebuilt from stock parts: torchvision transforms on PIL images, stock modules, float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.transforms import InterpolationMode

import models
from radgal.data.base import GalaxyImages
from radgal.images.preparation import Preparation
from radgal.layers.basis import Symmetry


class StockLeNet(models.VanillaLeNet):
    """The plain LeNet of ``nn.Conv2d``, ReLU and ``max_pool2d``; parameters and keys are those of VanillaLeNet."""

    def _build(self, in_chan: int, out_chan: int, kernel_size: int, group: Symmetry | None, engine: str) -> None:
        self.conv1 = nn.Conv2d(in_chan, 6, kernel_size, padding=1)
        self.conv2 = nn.Conv2d(6, 16, kernel_size, padding=1)
        self._build_head(out_chan, kernel_size)

    def trunk(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(self.prepare(x))), 2)
        return F.max_pool2d(F.relu(self.conv2(x)), 2)


def parse_name(name: str) -> tuple[str, int | None]:
    """Returns (class name, N) of 'LeNet', 'C16' or 'D4'."""
    if name == "LeNet":
        return "VanillaLeNet", None
    return f"{name[0]}NSteerableLeNet", int(name[1:])


def build(name: str, side: int, *, stock: bool, dropout: float = 0.5, background: float = 0.0) -> nn.Module:
    """Returns the network called 'LeNet', 'C16', 'D4', ...: of stock modules, or of this program's.

    Args:
        background: value of an empty pixel in the images, as in training; see ``models.GalaxyNet``.
    """
    base, nrot = parse_name(name)
    if stock and nrot is None:
        return StockLeNet(1, 2, side, dropout=dropout, background=background)
    engine = "e2cnn" if stock else "fast"
    options = dict(dropout=dropout, background=background, engine=engine)
    return models.build_model(base, n_classes=2, side=side, nrot=nrot, **options)


def pil_loader(images: GalaxyImages, rows: list[int], batch_size: int, how: Preparation) -> DataLoader:
    """Returns the published loader: crop, pad, rotate, to tensor and normalize, image by image, in this process.

    Where ``how`` averages pixels, which the published program did not, it does so before normalizing.
    """
    images.transform = transforms.Compose(
        [
            transforms.CenterCrop(how.imsize),
            transforms.Pad((0, 0, how.pad, how.pad)),
            transforms.RandomRotation(360, interpolation=InterpolationMode.BILINEAR),
            transforms.ToTensor(),
            *([nn.AvgPool2d(how.downsample)] if how.downsample > 1 else []),
            transforms.Normalize([images.mean], [images.std]),
        ]
    )
    return DataLoader(Subset(images, rows), batch_size=batch_size, shuffle=True)


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, labels: Tensor) -> Tensor:
    """Returns the loss of one step of training."""
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), labels)
    loss.backward()
    optimizer.step()
    return loss


def run_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    training: DataLoader,
    validation: DataLoader,
    device: torch.device,
) -> tuple[float, float]:
    """Returns the training and validation loss of one epoch; each batch's is read as the published loop does."""
    model.train()
    train_loss = val_loss = 0.0
    for x, labels in training:
        train_loss += train_step(model, optimizer, x.to(device), labels.to(device)).item() * len(x)
    model.eval()
    with torch.no_grad():
        for x, labels in validation:
            logits = model(x.to(device))
            val_loss += F.cross_entropy(logits, labels.to(device)).item() * len(x)
    return train_loss / len(training.dataset), val_loss / len(validation.dataset)
