"""A network, a space and a profile small enough that a whole search takes seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autogate.latency.profile import profile_digest, to_lines
from autogate.records import Profile
from autogate.store import Store
from tests.support import ROOT

NET = """
import torch
from torch import nn

class Unit(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x):
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.stage1 = nn.Sequential(*(Unit(16) for _ in range(3)))
        self.down = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.stage2 = nn.Sequential(*(Unit(32) for _ in range(3)))
        self.head = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.head(self.stage2(self.down(self.stage1(self.stem(x)))).mean((2, 3)))

def build(num_classes=10):
    return Net(num_classes)

def some_digits():
    from sklearn.datasets import load_digits
    bunch = load_digits()
    pixels = torch.tensor(bunch.images[:500] / 16).float()[:, None].expand(-1, 3, -1, -1)
    pixels = nn.functional.interpolate(pixels, size=(32, 32))
    part = lambda a, b: torch.utils.data.TensorDataset(pixels[a:b], torch.tensor(bunch.target[a:b]))
    return part(0, 400), part(400, 500)
"""
SPACE = "schema: autogate.space/1\nsites:\n  block:\n    - family: drop\n"
TRIALS = 4
PLACE = {"batch_size": 32, "layout": "contiguous", "threads": 1, "runtime": "eager"}


@dataclass(frozen=True)
class Workplace:
    """A directory to search in.

    Attributes:
        root: The directory; it is the current one.
        profile: A profile of the network on this device.
    """

    root: Path
    profile: Profile

    def storage(self, name: str) -> str:
        """Return the URL of a database that already holds the profile."""
        url = f"sqlite:///{self.root / name / 'studies.db'}"
        taken = self.profile
        Store(url, create=True).add_profile(profile_digest(taken), taken)
        return url

    def foreign(self, name: str) -> str:
        """Write the profile as that of a device elsewhere; return the path."""
        setting = replace(self.profile.setting, device_name="a device elsewhere")
        path = self.root / name
        path.write_text(to_lines(replace(self.profile, setting=setting)), encoding="utf-8")
        return str(path)

    def slower(self, name: str, factor: float) -> str:
        """Write the profile as that of a device on which everything takes ``factor`` times as long; return the path."""
        taken = self.profile
        units = tuple(
            replace(one, ms=factor * one.ms, iqr_ms=factor * one.iqr_ms, host_ms=factor * (one.host_ms or 0.0))
            for one in taken.units
        )
        networks = tuple(replace(one, ms=factor * one.ms, iqr_ms=factor * one.iqr_ms) for one in taken.networks)
        setting = replace(taken.setting, device_name="a slower device")
        path = self.root / name
        path.write_text(to_lines(replace(taken, setting=setting, units=units, networks=networks)), encoding="utf-8")
        return str(path)

    @property
    def settings(self) -> dict[str, Any]:
        """What every search here has in common."""
        return {"model": "e2enet:build", "space": "drop.yaml", "epochs": 1, "finalists": 1, **PLACE}

    @property
    def quick(self) -> dict[str, Any]:
        """The same on a few hundred digits, from weights that were never trained: for all but accuracy."""
        return {**self.settings, "data": "e2enet:some_digits", "weights": "random.safetensors"}


def winner(document: dict[str, Any]) -> dict[str, Any]:
    """Return the finalist that is shown: on a noisy machine none may meet the budget."""
    found: dict[str, Any] | None = document["best"] or document["closest"]
    assert found is not None
    return found


def start(workplace: Workplace, storage: str, *arguments: str) -> subprocess.Popen[str]:
    """Run ``autogate`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "autogate.cli.main", *arguments, "--storage", storage],
        cwd=workplace.root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A test run in the background may itself be deaf to interruptions.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
