"""A dataset ready for search: three splits, made class by class from labelled images."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autogate.data.folder_source import FolderSource
from autogate.data.source import ImageSource, decode_all, natural_size
from autogate.data.split import MemorySplit, Split
from autogate.data.stream import StreamSplit
from autogate.errors import DataError
from autogate.policy import digest
from autogate.records import Preprocessing

SMALL_TRAIN_IMAGES = 10_000
SPLIT = "split"
"""Validation data of this name are taken from the training images."""


@dataclass(frozen=True)
class ImageData:
    """Labelled images in three splits.

    Attributes:
        name: What the user called the data.
        train: Images to train on.
        val: Images the search is steered by; never trained on.
        test: Images touched only when a finalist is reported.
        num_classes: Number of classes; None where targets are no classes.
        class_names: Name of each class, by index.
        preprocessing: Input size, channels and normalisation of every image.
        fingerprint: 16 hex digits that identify content, split and preprocessing.
        notes: Lines on what the user may want to look at, such as files that are left out.
    """

    name: str
    train: Split
    val: Split
    test: Split
    num_classes: int | None
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def is_small(self) -> bool:
        """Whether a network can be trained on it from scratch without asking: under 10,000 images."""
        return len(self.train) < SMALL_TRAIN_IMAGES


def shuffled(count: int, seed: int) -> Tensor:
    """Return the positions 0 to ``count`` - 1 in random order, int64 ``[count]``."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def stratified(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Take ``count`` images so that every class gives its share.

    Args:
        labels: Class indices, int64 ``[N]``.
        count: Images to take; at least one of each class stays behind, so it may become fewer.
        seed: Seed of the choice.

    Returns:
        Positions of the images that stay and of those taken, int64, both in random order.
    """
    order = shuffled(len(labels), seed)
    # Rank every image within its class; the lowest relative ranks are taken, so the shares come out even.
    share = torch.empty(len(labels), dtype=torch.float64)
    last = torch.zeros(len(labels), dtype=torch.bool)
    for label in set(labels.tolist()):
        members = order[labels[order] == label]
        share[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
        last[members[-1]] = True
    share[last] = 2.0
    ranked = order[torch.argsort(share[order], stable=True)]
    count = min(count, int((~last).sum()))
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[ranked[:count]] = True
    return order[~chosen[order]], order[chosen[order]]


@dataclass(frozen=True)
class Options:
    """How to divide and hold a dataset.

    Attributes:
        preprocessing: Input size and normalisation; None takes the images' size and ImageNet's statistics.
        seed: Seed of the split.
        val_fraction: Share of the training images that becomes the validation split.
        max_val: Most images the validation split is given that way.
        memory_limit_bytes: Decoded images above this are read from disk again and again.
        workers: Processes that decode in that case.
        channels: To bring images to, 1 for grey or 3 for RGB; what has another number of channels keeps it.
        val: Folder of validation images with one folder per class, or ``split`` to take them from the training
            images; None takes what the data bring, else ``split``.
    """

    preprocessing: Preprocessing | None = None
    seed: int = 0
    val_fraction: float = 0.1
    max_val: int = 5000
    memory_limit_bytes: int = 2 * 2**30
    workers: int = 0
    channels: int = 3
    val: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.val_fraction < 1:
            raise DataError(f"the validation fraction must lie between 0 and 1, not {self.val_fraction}")
        if self.max_val < 1:
            raise DataError(f"the validation split needs at least 1 image, not {self.max_val}")


def assemble(
    name: str,
    train: ImageSource,
    test: ImageSource,
    *,
    class_names: tuple[str, ...],
    options: Options,
    val: ImageSource | None = None,
    flip: bool = True,
    notes: Iterable[str] = (),
) -> ImageData:
    """Divide, decode and describe a dataset.

    Args:
        name: What the user called it.
        train: Images to train on, and to take the validation split from if there are no other validation images.
        test: Test images.
        class_names: Name of each class, by index.
        options: How to divide and hold it.
        val: Validation images that the data bring; ``options.val`` replaces them.
        flip: Whether a mirrored image keeps its class.
        notes: Lines on what the user may want to look at.

    Raises:
        DataError: If a split is too small or an image cannot be read.
    """
    preprocessing = _preprocessing(name, train, options)
    if options.val is not None:
        val = None if options.val == SPLIT else _named_validation(options.val, class_names, name)
    own_val = val is not None
    uneven: list[str] = []
    if val is None:
        train_index, val_index, uneven = _divided(name, train.labels, options)
        val = train
    else:
        train_index, val_index = (shuffled(len(source), options.seed) for source in (train, val))
    sources = {"training": train, "validation": val, "test": test} if own_val else {"training": train, "test": test}
    hold = _Holder(list(sources.values()), preprocessing, options, flip)
    identity = {
        "content": [source.identity() for source in sources.values()],
        "labels": [hashlib.sha256(source.labels.numpy().tobytes()).hexdigest() for source in sources.values()],
        "preprocessing": preprocessing.to_json(),
        "split": [options.seed, None if own_val else [options.val_fraction, options.max_val]],
    }
    of_sources = [note for source in sources.values() for note in source.notes]
    return ImageData(
        name=name,
        train=hold.split(train, train_index),
        val=hold.split(val, val_index),
        test=hold.split(test, shuffled(len(test), options.seed)),
        num_classes=len(class_names),
        class_names=class_names,
        preprocessing=preprocessing,
        fingerprint=digest(identity),
        notes=(*notes, *of_sources, *uneven, *_about_shared(sources)),
    )


def _preprocessing(name: str, train: ImageSource, options: Options) -> Preprocessing:
    channels = train.channels or options.channels
    wanted = options.preprocessing or Preprocessing(natural_size(train))
    try:
        return wanted.with_channels(channels)
    except ValueError:
        raise DataError(
            f"the images of {name} have {channels} channels here, and mean and standard deviation are given for "
            f"{wanted.channels}; give --mean and --std one number per channel"
        ) from None


def _named_validation(folder: str, class_names: tuple[str, ...], name: str) -> FolderSource:
    path = Path(os.path.expanduser(folder))
    if not path.is_dir():
        raise DataError(
            f"there is no folder {folder} of validation images; name one that has a folder per class, or {SPLIT}"
        )
    return FolderSource(path, class_names, name)


def _divided(name: str, labels: Tensor, options: Options) -> tuple[Tensor, Tensor, list[str]]:
    """Divide training images, by class if there are enough.

    Returns:
        Positions of the training and the validation images, int64, and a note if the division is not by class.
    """
    count = min(options.max_val, max(1, round(options.val_fraction * len(labels))), len(labels) - 1)
    if count < 1:
        raise DataError(f"{name} has too few training images to take a validation split from; add more")
    train_index, val_index = stratified(labels, count, options.seed)
    if 2 * len(val_index) >= count:
        return train_index, val_index, []
    order = shuffled(len(labels), options.seed)
    note = (
        f"{name} has too few images of each class to take validation images by class: {count} of {len(labels)} "
        "training images were taken at random; name other validation images with --val"
    )
    return order[count:], order[:count], [note]


def _about_shared(sources: dict[str, ImageSource]) -> list[str]:
    """Say that splits share files, which links make possible."""
    notes = []
    files = {split: np.unique(source.real_files) for split, source in sources.items()}
    for first, second in (("training", "validation"), ("training", "test"), ("validation", "test")):
        if first in files and second in files:
            count = len(np.intersect1d(files[first], files[second], assume_unique=True))
            if count:
                notes.append(
                    f"{count:,} {second} images are {first} images too, so accuracies say little of new images; "
                    "remove the links"
                )
    return notes


class _Holder:
    """Decodes every source once, if all of them fit into memory."""

    def __init__(self, sources: list[ImageSource], preprocessing: Preprocessing, options: Options, flip: bool) -> None:
        self._preprocessing = preprocessing
        self._workers = options.workers
        self._flip = flip
        shape = preprocessing.input_shape
        self._images: dict[int, Tensor] = {}
        if sum(len(source) for source in sources) * math.prod(shape) <= options.memory_limit_bytes:
            for source in sources:
                self._images[id(source)] = decode_all(source.load, len(source), shape, threaded=source.threaded)

    def split(self, source: ImageSource, index: Tensor) -> Split:
        """Return the split of a source's images at ``index``, int64 ``[N]``."""
        images = self._images.get(id(source))
        if images is None:
            return StreamSplit(source, index, self._preprocessing, flip=self._flip, workers=self._workers)
        return MemorySplit(images, source.labels, index, self._preprocessing, flip=self._flip)


def check_labels(labels: Tensor, num_classes: int, what: str) -> None:
    """Check class indices, int64 ``[N]``.

    Raises:
        DataError: If there are none, or one lies outside 0 to ``num_classes`` - 1.
    """
    if not len(labels):
        raise DataError(f"{what} has no images; add some")
    low, high = (int(v) for v in torch.aminmax(labels))
    if low < 0 or high >= num_classes:
        raise DataError(f"{what} has a label {low if low < 0 else high}; labels must be 0 to {num_classes - 1}")


def check_divisible(val: str | None, what: str) -> None:
    """Refuse other validation images for data that are divided already.

    Raises:
        DataError: If ``val`` names any.
    """
    if val is not None:
        raise DataError(f"{what} brings its validation images with it; leave out --val")
