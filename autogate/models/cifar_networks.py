"""The networks AutoGate brings itself, sized for CIFAR's images of 32x32 pixels, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet as torchvision_resnet

STAGE_WIDTHS = (16, 32, 64)


class PaddedShortcut(nn.Module):
    """Option A: keep every second pixel and fill the new channels with zeros.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output; the difference is split evenly before and after.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Map float ``[B, in, H, W]`` to ``[B, out, ceil(H/2), ceil(W/2)]``."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the first block of a later stage halves the resolution."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        same = stride == 1 and in_channels == channels
        self.shortcut = nn.Identity() if same else PaddedShortcut(in_channels, channels)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map float ``[B, in, H, W]`` to ``[B, channels, H/stride, W/stride]``."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu2(out + self.shortcut(x))  # type: ignore[no-any-return]


class CifarResNet(nn.Module):
    """A ResNet of depth 6n+2 for 32x32 images: three stages of n blocks with 16, 32 and 64 channels.

    Args:
        depth: 20, 32, 44, 56 or 110.
        num_classes: Outputs of the linear head.
    """

    def __init__(self, depth: int, num_classes: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        first, second, third = STAGE_WIDTHS
        self.conv1 = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU()
        self.layer1 = _stage(first, first, blocks, stride=1)
        self.layer2 = _stage(first, second, blocks, stride=2)
        self.layer3 = _stage(second, third, blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(third, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, float ``[B, 3, H, W]``, to logits ``[B, num_classes]``."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))


_LAYERS: dict[int, tuple[type[torchvision_resnet.BasicBlock | torchvision_resnet.Bottleneck], list[int]]] = {
    18: (torchvision_resnet.BasicBlock, [2, 2, 2, 2]),
    34: (torchvision_resnet.BasicBlock, [3, 4, 6, 3]),
    50: (torchvision_resnet.Bottleneck, [3, 4, 6, 3]),
}
DEPTHS = tuple(_LAYERS)


def cifar_form(depth: int, num_classes: int) -> nn.Module:
    """Return the network; its stem is one 3x3 convolution with stride 1, without pooling."""
    block, layers = _LAYERS[depth]
    network: nn.Module = torchvision_resnet.ResNet(block, layers, num_classes=num_classes)
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


# Output channels of the convolutions between two poolings.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class CifarVGG16(nn.Module):
    """A plain chain of convolutions for images of 32x32 or larger.

    Args:
        num_classes: Outputs of the linear head.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = 3
        for stage in STAGES:
            for channels in stage:
                # The batch normalisation that follows has the bias.
                layers.append(nn.Conv2d(in_channels, channels, 3, padding=1, bias=False))
                layers += [nn.BatchNorm2d(channels), nn.ReLU()]
                in_channels = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, float ``[B, 3, H, W]`` with H and W of at least 32, to logits ``[B, num_classes]``."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))  # type: ignore[no-any-return]


DEPTH, GROWTH, STEM_CHANNELS = 40, 12, 16


class DenseLayer(nn.Module):
    """One convolution whose output is appended to its input."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(in_channels, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map float ``[B, in, H, W]`` to ``[B, in + growth, H, W]``."""
        return torch.cat([x, self.conv(self.relu(self.bn(x)))], 1)


class Transition(nn.Module):
    """A 1x1 convolution that keeps the channels, and pooling that halves the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Map float ``[B, C, H, W]`` to ``[B, C, H/2, W/2]``."""
        return self.pool(self.conv(self.relu(self.bn(x))))  # type: ignore[no-any-return]


class CifarDenseNet40(nn.Module):
    """Three dense blocks of twelve layers for 32x32 images.

    Args:
        num_classes: Outputs of the linear head.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers = (DEPTH - 4) // 3
        self.conv1 = nn.Conv2d(3, STEM_CHANNELS, 3, padding=1, bias=False)
        widths = [STEM_CHANNELS + layers * GROWTH * stage for stage in range(4)]
        self.dense1 = _dense_block(widths[0], layers)
        self.trans1 = Transition(widths[1])
        self.dense2 = _dense_block(widths[1], layers)
        self.trans2 = Transition(widths[2])
        self.dense3 = _dense_block(widths[2], layers)
        self.bn = nn.BatchNorm2d(widths[3])
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(widths[3], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, float ``[B, 3, H, W]``, to logits ``[B, num_classes]``."""
        x = self.trans1(self.dense1(self.conv1(x)))
        x = self.trans2(self.dense2(x))
        x = self.relu(self.bn(self.dense3(x)))
        return self.linear(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def _dense_block(in_channels: int, layers: int) -> nn.Sequential:
    return nn.Sequential(*(DenseLayer(in_channels + i * GROWTH, GROWTH) for i in range(layers)))


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
