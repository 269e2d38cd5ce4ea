"""ResNet-18, -34 and -50 in the form used on CIFAR: torchvision's, with a stem that keeps the resolution."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

_LAYERS: dict[int, tuple[type[BasicBlock | Bottleneck], list[int]]] = {
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
}
DEPTHS = tuple(_LAYERS)


def cifar_form(depth: int, num_classes: int) -> nn.Module:
    """Return the network; its stem is one 3x3 convolution with stride 1, without pooling."""
    block, layers = _LAYERS[depth]
    network: nn.Module = ResNet(block, layers, num_classes=num_classes)
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network
