"""DenseNet-40 (growth 12, no bottleneck, no compression) of Huang et al. (2017), for CIFAR."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
