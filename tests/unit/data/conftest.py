from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from autogate.data import Split
from tests.support import ROOT


def write_digits(root: Path, per_class: dict[str, int], classes: int = 3) -> Path:
    """Write real scanned digits, 16x16 pixels, as an image folder; every third file is a JPEG."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    for label in range(classes):
        scans = iter(bunch.images[bunch.target == label])
        for split, count in per_class.items():
            folder = root / split / f"digit{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                grey = np.kron(next(scans) * 15, np.ones((2, 2))).astype(np.uint8)
                Image.fromarray(grey).save(folder / f"{i:03}.{'jpg' if i % 3 == 0 else 'png'}")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an image folder of 3 x 20 training and 3 x 5 test images."""
    return write_digits(tmp_path / "digits", {"train": 20, "test": 5})


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    return lambda per_class, **more: write_digits(tmp_path / "made", per_class, **more)


@pytest.fixture(scope="session")
def cifar_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the JPEG CIFAR-10 folder: AUTOGATE_CIFAR10, or unpacked from ../shared."""
    named = os.environ.get("AUTOGATE_CIFAR10")
    if named:
        return Path(named)
    script = ROOT.parent / "shared" / "data" / "unpack.sh"
    if not script.exists():
        pytest.skip("no CIFAR-10 folder: set AUTOGATE_CIFAR10, or have ../shared/data")
    root = tmp_path_factory.mktemp("cifar")
    subprocess.run(["bash", str(script), str(root), "--small"], check=True, capture_output=True)
    return root / "cifar10"


def collect(split: Split, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all images and labels of a pass."""
    images, labels = zip(*split.batches(16, **options), strict=True)  # type: ignore[arg-type]
    return torch.cat(images), torch.cat(labels)


@pytest.fixture(name="collect")
def collect_fixture() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    return collect
