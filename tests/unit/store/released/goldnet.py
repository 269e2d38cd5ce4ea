"""The network and data with which the databases in this folder were made."""

import torch
from torch import nn


class Unit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.units = nn.Sequential(*(Unit(16) for _ in range(4)))
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.units(self.stem(x)).mean((2, 3)))


def build(num_classes: int = 10) -> nn.Module:
    return Net(num_classes)


def some_digits() -> tuple[torch.utils.data.TensorDataset, torch.utils.data.TensorDataset]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = torch.tensor(bunch.images[:500] / 16).float()[:, None].expand(-1, 3, -1, -1)
    pixels = nn.functional.interpolate(pixels, size=(32, 32))
    labels = torch.tensor(bunch.target)
    return (
        torch.utils.data.TensorDataset(pixels[:400], labels[:400]),
        torch.utils.data.TensorDataset(pixels[400:500], labels[400:500]),
    )
