"""The network and data of the crash benchmark, and a count of every step that is trained for them.

Every process that trains imports this module, since it names the network; so every step of every process is written
down, with the key that it was trained for, before anything else can happen.
"""

from __future__ import annotations

import os
import time
import uuid
from typing import Any

import torch
from torch import nn

from autogate.nas.evaluating import TrainingEvaluator
from autogate.studies import Reporter

LOG_VARIABLE = "CRASH_LOG"


class Unit(nn.Module):
    """A residual unit."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``[N, C, H, W] -> [N, C, H, W]``."""
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class Net(nn.Module):
    """A small residual network."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.units = nn.Sequential(*(Unit(16) for _ in range(6)))
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, ``[N, 3, H, W] -> [N, classes]``."""
        return self.head(self.units(self.stem(x)).mean((2, 3)))


def build(num_classes: int = 10) -> nn.Module:
    """Return the network."""
    return Net(num_classes)


def digits() -> tuple[torch.utils.data.TensorDataset, torch.utils.data.TensorDataset]:
    """Return 400 training and 100 test images of scanned digits."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = torch.tensor(bunch.images[:500] / 16).float()[:, None].expand(-1, 3, -1, -1)
    pixels = nn.functional.interpolate(pixels, size=(32, 32))
    labels = torch.tensor(bunch.target)
    return (
        torch.utils.data.TensorDataset(pixels[:400], labels[:400]),
        torch.utils.data.TensorDataset(pixels[400:500], labels[400:500]),
    )


class _Counting(Reporter):
    def __init__(self, reporter: Reporter, key: str, write: Any) -> None:
        super().__init__()
        self._reporter, self._key, self._write = reporter, key, write

    def progress(self, fraction: float, text: str) -> None:
        self._write("step", self._key)
        self._reporter.progress(fraction, text)


def _count_steps() -> None:
    path = os.environ.get(LOG_VARIABLE)
    if path is None:
        return
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    evaluate = TrainingEvaluator.evaluate

    def counted(self: TrainingEvaluator, policy: Any, fidelity: Any, reporter: Reporter, *rest: Any) -> Any:
        key = f"{policy.digest}/{fidelity}/{self.key(policy, fidelity).recipe}"
        attempt = uuid.uuid4().hex[:8]

        def write(what: str, about: str) -> None:
            os.write(handle, f"{time.time():.3f} {what} {about} {attempt} {os.getpid()}\n".encode())

        write("begin", key)
        result = evaluate(self, policy, fidelity, _Counting(reporter, key, write), *rest)
        write("end", key)
        return result

    TrainingEvaluator.evaluate = counted  # type: ignore[method-assign, assignment]


_count_steps()
