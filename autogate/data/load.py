"""Load a dataset by the name a user types."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from autogate.data.datasets import from_datasets
from autogate.data.digits import load_digits
from autogate.data.folder import load_folder
from autogate.data.image_data import ImageData, Options, check_divisible
from autogate.data.own_inputs import from_own_task, is_own_task
from autogate.data.torchvision_data import dataset_names, load_torchvision
from autogate.errors import DataError
from autogate.models import call_factory, is_factory
from autogate.records import Preprocessing
from autogate.system import printable, suggest


def load_data(
    source: str | Path,
    *,
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
    val_fraction: float = 0.1,
    max_val: int = 5000,
    memory_limit_bytes: int = 2 * 2**30,
    download: bool = False,
    workers: int = 0,
    channels: int = 3,
    own_task: bool = False,
    val: str | None = None,
) -> ImageData:
    """Load a dataset and divide it into training, validation and test images.

    Args:
        source: ``digits``, an image folder, a torchvision dataset such as ``cifar10`` (from ``./data``), or
            ``package.module:factory``. A folder of that name comes first.
        preprocessing: Input size and normalisation; None chooses them to suit the images.
        seed: Seed of the split.
        val_fraction: Share of the training images that becomes the validation split, if there is none.
        max_val: Most images the validation split is given that way.
        memory_limit_bytes: Decoded images above this are read from disk again and again.
        download: Whether a torchvision dataset may be downloaded.
        workers: Processes that decode images that do not fit into memory.
        channels: To bring images to, 1 for grey or 3 for RGB; what has another number of channels keeps it.
        own_task: Whether a factory's targets need not be classes, since training and score are the caller's.
        val: Folder of validation images with one folder per class, or ``split`` to take them from the training
            images; None takes what the data bring, else ``split``.

    Raises:
        DataError: If the data is unknown, missing, empty or damaged.
    """
    options = Options(preprocessing, seed, val_fraction, max_val, memory_limit_bytes, workers, channels, val)
    text = str(source)
    if not text:
        raise DataError("no data was named; use digits, a directory, or package.module:factory")
    path = os.path.expanduser(source)  # as pathlib's, but it leaves an unknown user's home as it is
    if os.path.exists(path):
        return load_folder(Path(path), options)
    if os.path.islink(path):
        raise DataError(f"the data directory {printable(path)} is a link that leads nowhere; repair it")
    if isinstance(source, Path) or os.sep in text or text.startswith((".", "~")):
        raise DataError(f"the data directory {printable(text)} does not exist; check the path")
    if text == "digits":
        return load_digits(options)
    if text.lower() in dataset_names():
        return load_torchvision(text.lower(), options, download=download)
    if is_factory(text):
        return _from_factory(text, options, own_task)
    hint = suggest(text, ["digits", *dataset_names()]) or "use digits, a directory, or package.module:factory"
    raise DataError(f"unknown data {text!r}; {hint}")


def _from_factory(spec: str, options: Options, own_task: bool) -> ImageData:
    made: Any = call_factory(spec, DataError)
    if isinstance(made, ImageData):
        check_divisible(options.val, spec)
        return made
    if not isinstance(made, tuple | list) or len(made) not in (2, 3):
        found = f"{len(made)} items" if isinstance(made, tuple | list) else type(made).__name__
        raise DataError(f"{spec} returned {found}; return ImageData, (train, test) or (train, val, test)")
    train, test, val = made[0], made[-1], made[1] if len(made) == 3 else None
    if own_task and is_own_task(train):
        check_divisible(options.val, spec)
        return from_own_task(train, test, val=val, name=spec, seed=options.seed)
    data = from_datasets(
        train,
        test,
        val=options.val or val,
        name=spec,
        preprocessing=options.preprocessing,
        seed=options.seed,
        val_fraction=options.val_fraction,
        max_val=options.max_val,
        memory_limit_bytes=options.memory_limit_bytes,
        workers=options.workers,
        channels=options.channels,
    )
    return replace(data, name=spec)
