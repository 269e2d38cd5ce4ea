"""Networks that return more than one tensor of scores, or another shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Unit(nn.Module):
    """A residual unit whose shortcut is the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = (x + self.conv2(self.norm(self.conv1(x)).relu())).relu()
        return result


class Body(nn.Module):
    """A convolution and three residual units, whose results ``end`` turns into what is returned.

    Args:
        end: Gets the network, and the maps after the first and the last unit.
        channels: Of the input.
        classes: Outputs of the layers that ``end`` may use: ``classifier``, ``side`` and ``conv``.
    """

    def __init__(self, end: Callable[[Body, Tensor, Tensor], Any], channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.end = end
        self.stem = nn.Conv2d(channels, 8, 3, stride=2, padding=1)
        self.units = nn.ModuleList(Unit(8) for _ in range(3))
        self.classifier, self.side = nn.Linear(8, classes), nn.Linear(8, classes)
        self.conv = nn.Conv2d(8, classes, 1)
        self.deep, self.unit = nn.Conv2d(8, 8, 1), Unit(8)

    def forward(self, x: Tensor) -> Any:
        first = self.units[0](self.stem(x).relu())
        return self.end(self, first, self.units[2](self.units[1](first)))


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def scores(net: Body, first: Tensor, last: Tensor) -> Any:
    return net.classifier(pooled(last))


def scores_and_side(net: Body, first: Tensor, last: Tensor) -> Any:
    return net.classifier(pooled(last)), net.side(pooled(first))


def named(net: Body, first: Tensor, last: Tensor) -> Any:
    return {"out": net.classifier(pooled(last)), "maps": [first, last]}


def side_in_training(net: Body, first: Tensor, last: Tensor) -> Any:
    found = net.classifier(pooled(last))
    return (found, net.side(pooled(first).relu())) if net.training else found


def side_before_in_training(net: Body, first: Tensor, last: Tensor) -> Any:
    side = net.side(nn.functional.dropout(pooled(first), 0.5, net.training)) if net.training else None
    found = net.classifier(pooled(last))
    return {"out": found, "side": side} if net.training else {"out": found}


def deep_side_in_training(net: Body, first: Tensor, last: Tensor) -> Any:
    found = net.classifier(pooled(last))
    # A map that could be a site, a unit that could be one, and channels that could go.
    return {"out": found, "side": net.conv(net.unit(net.deep(first)).relu())} if net.training else {"out": found}


def one_by_one(net: Body, first: Tensor, last: Tensor) -> Any:
    return net.conv(last.mean((2, 3), keepdim=True))


def squeezed(net: Body, first: Tensor, last: Tensor) -> Any:
    return net.conv(last.mean((2, 3), keepdim=True)).squeeze()


def features(net: Body, first: Tensor, last: Tensor) -> Any:
    return pooled(last)


def dense_map(net: Body, first: Tensor, last: Tensor) -> Any:
    return net.conv(last)


def fixed_batch(net: Body, first: Tensor, last: Tensor) -> Any:
    return net.classifier(pooled(last).reshape(1, 8))


def example(batch: int = 2, channels: int = 3, size: int = 8) -> Tensor:
    return torch.rand(batch, channels, size, size, generator=torch.Generator().manual_seed(0))
