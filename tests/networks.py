"""What tests hand to functions that take a classifier."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from radgal.classifier import Classifier
from radgal.images.preparation import Preparation


def classifier_of(
    model: nn.Module, classes: Sequence[str] = ("FRI", "FRII"), mean: float = 0.5, std: float = 0.3, **more
) -> Classifier:
    """Returns a network with its classes and the mean and std of pixel / 255."""
    return Classifier(model=model, classes=tuple(classes), preparation=Preparation(mean, std, imsize=18), **more)
