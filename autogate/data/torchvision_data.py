"""Datasets of torchvision, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torchvision

from autogate.data.datasets import from_datasets
from autogate.data.image_data import ImageData, Options
from autogate.errors import DataError
from autogate.records import Preprocessing
from autogate.system import one_line

ROOT = Path("data")


@dataclass(frozen=True)
class _Entry:
    """Class name in ``torchvision.datasets`` and the arguments that select each split."""

    cls: str
    train: Mapping[str, Any] = field(default_factory=lambda: {"train": True})
    test: Mapping[str, Any] = field(default_factory=lambda: {"train": False})
    val: Mapping[str, Any] | None = None
    flip: bool = True
    size: int | None = None


def _splits(cls: str, train: str = "train", test: str = "test", val: str | None = None, **more: Any) -> _Entry:
    return _Entry(cls, {"split": train}, {"split": test}, {"split": val} if val else None, **more)


# Images of 28x28 are enlarged to 32x32, because the CIFAR networks halve up to five times. Signs and digits
# do not survive a flip.
_ENTRIES = {
    "cifar10": _Entry("CIFAR10"),
    "cifar100": _Entry("CIFAR100"),
    "country211": _splits("Country211", val="valid"),
    "dtd": _splits("DTD", val="val"),
    "fashionmnist": _Entry("FashionMNIST", size=32),
    "fgvcaircraft": _splits("FGVCAircraft", val="val"),
    "flowers102": _splits("Flowers102", val="val"),
    "food101": _splits("Food101"),
    "gtsrb": _splits("GTSRB", flip=False),
    "imagenette": _splits("Imagenette", test="val"),
    "kmnist": _Entry("KMNIST", flip=False, size=32),
    "mnist": _Entry("MNIST", flip=False, size=32),
    "oxfordiiitpet": _splits("OxfordIIITPet", train="trainval"),
    "pcam": _splits("PCAM", val="val"),
    "stl10": _splits("STL10"),
    "stanfordcars": _splits("StanfordCars"),
    "svhn": _splits("SVHN", flip=False),
    "usps": _Entry("USPS", flip=False, size=32),
}


def dataset_names() -> list[str]:
    """Return the names that :func:`load_torchvision` knows."""
    return list(_ENTRIES)


def load_torchvision(name: str, options: Options, *, download: bool, root: Path = ROOT) -> ImageData:
    """Load a torchvision dataset.

    Args:
        name: One of :func:`dataset_names`.
        options: How to divide and hold it.
        download: Whether files that are missing may be downloaded.
        root: Where the files are, or go.

    Raises:
        DataError: If the files are missing and may not or cannot be downloaded.
    """
    entry = _ENTRIES[name]
    make = getattr(torchvision.datasets, entry.cls)
    parts: dict[str, Any] = {}
    for split, arguments in (("train", entry.train), ("test", entry.test), ("val", entry.val)):
        if arguments is None:
            continue
        try:
            parts[split] = make(str(root), **arguments, download=download)
        except Exception as problem:  # torchvision raises many types: no files, no network, broken files
            raise _cannot_load(name, root, download, problem) from problem
    preprocessing = options.preprocessing
    if preprocessing is None and entry.size is not None:
        preprocessing = Preprocessing(entry.size)
    return from_datasets(
        parts["train"],
        parts["test"],
        val=options.val or parts.get("val"),
        name=name,
        preprocessing=preprocessing,
        seed=options.seed,
        val_fraction=options.val_fraction,
        max_val=options.max_val,
        memory_limit_bytes=options.memory_limit_bytes,
        workers=options.workers,
        flip=entry.flip,
        channels=options.channels,
    )


def _cannot_load(name: str, root: Path, download: bool, problem: Exception) -> DataError:
    if download:
        advice = f"check the network, or put its files into {root}/"
        return DataError(f"cannot download {name} ({one_line(problem, with_type=True)}); {advice}")
    if isinstance(problem, RuntimeError | FileNotFoundError):
        return DataError(f"the files of {name} are not in {root}/; pass --download to fetch them")
    return DataError(f"cannot load {name} from {root}/ ({one_line(problem, with_type=True)})")
