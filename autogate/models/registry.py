"""The networks AutoGate brings itself, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from autogate.models.cifar_densenet import CifarDenseNet40
from autogate.models.cifar_form import DEPTHS, cifar_form
from autogate.models.cifar_resnet import CifarResNet
from autogate.models.cifar_vgg import CifarVGG16

INPUT_SIZE = 32
NUM_CLASSES = 10

BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "densenet40": CifarDenseNet40,
    **{f"resnet{depth}": partial(CifarResNet, depth) for depth in (20, 32, 44, 56, 110)},
    **{f"resnet{depth}_cifar": partial(cifar_form, depth) for depth in DEPTHS},
    "vgg16_bn_cifar": CifarVGG16,
}


def list_models() -> list[str]:
    """Return the names of the built-in CIFAR networks."""
    return list(BUILDERS)


def build_builtin(name: str, num_classes: int) -> nn.Module:
    """Build a built-in network with He initialisation, for images of 32x32 pixels."""
    module = BUILDERS[name](num_classes)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)
    return module
