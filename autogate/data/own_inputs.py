"""Inputs as a dataset yields them, for tasks of which training and score are the caller's.

Nothing is known of such a task but the inputs. They are neither normalised nor resized, so that a network sees here
what it sees in the caller's training. Of targets that look like classes only the number counts, to build a network by
name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from autogate.data.datasets import item_of, labels_of
from autogate.data.image_data import ImageData, Options, shuffled
from autogate.data.split import Split
from autogate.errors import DataError
from autogate.policy import digest
from autogate.records import Preprocessing

_SAMPLED = 64
NO_CLASS = -1


def is_own_task(data: Any) -> bool:
    """Whether a dataset of a caller who trains and scores is taken as it is: not if it holds images by class.

    Images are what is no float tensor yet, so that it must be made one.
    """
    dataset = _dataset(data)
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        return False  # it can only be iterated, which loading does once
    value = _input_of(item_of(dataset, 0, "train")) if len(dataset) else None
    return _is_input(value) or not has_classes(dataset)


def _input_of(item: Any) -> Any:
    return item[0] if isinstance(item, tuple | list) and item else item


def _is_input(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 3 and value.is_floating_point()


def has_classes(dataset: Any) -> bool:
    """Whether a dataset yields pairs of an input and a class index, as far as up to 64 items tell.

    A class index is a whole number that is not negative, or a tensor of one; and there is more than one class.
    """
    targets = {_class_of(item_of(dataset, position, "train")) for position in _spread(len(dataset))}
    return None not in targets and len(targets) > 1


def _count_classes(dataset: Any) -> int | None:
    """Return the number of classes; None if there are more than items, as whole numbers of another meaning have."""
    count = int(labels_of(dataset, "train").max()) + 1 if has_classes(dataset) else None
    return None if count is None or count > len(dataset) else count


def _class_of(item: Any) -> int | None:
    target = item[1] if isinstance(item, tuple | list) and len(item) == 2 else None
    if not isinstance(target, Tensor | np.ndarray | np.generic | int):
        return None
    value = np.asarray(target)
    whole = value.dtype.kind in "iub" and value.size == 1
    return int(value.item()) if whole and value.item() >= 0 else None


def _spread(count: int) -> list[int]:
    """Return up to 64 positions, spread over ``count``."""
    positions: list[int] = torch.linspace(0, count - 1, min(_SAMPLED, count)).long().tolist()
    return positions


def from_own_task(train: Any, test: Any, *, val: Any = None, name: str = "custom", seed: int = 0) -> ImageData:
    """Use datasets or data loaders of a task of the caller's own.

    An item is an input, float ``[C, H, W]``, alone or followed by targets of any kind. All inputs have one shape. Of a
    data loader only its dataset is used.

    Args:
        train: Training data.
        test: Test data.
        val: Validation data; None takes a random part of the training data.
        name: What to call the data.
        seed: Seed of the split.

    Raises:
        DataError: If a dataset is empty, cannot be indexed, or yields something else.
    """
    options = Options(seed=seed)
    given = {"train": train, "test": test, "val": val}
    inputs = {split: _Inputs(_dataset(data), split) for split, data in given.items() if data is not None}
    shape = inputs["train"].shape
    for split, found in inputs.items():
        if found.shape != shape:
            raise DataError(
                f"inputs of {split} are {list(found.shape)} and those of train {list(shape)}; give one shape"
            )
    order = shuffled(len(inputs["train"]), options.seed)
    if "val" in inputs:
        parts = {split: (found, shuffled(len(found), options.seed)) for split, found in inputs.items()}
    else:
        count = min(options.max_val, max(1, round(options.val_fraction * len(order))), len(order) - 1)
        if count < 1:
            raise DataError(f"{name} has too few training inputs to take a validation split from; give val, too")
        parts = {
            "train": (inputs["train"], order[count:]),
            "val": (inputs["train"], order[:count]),
            "test": (inputs["test"], shuffled(len(inputs["test"]), options.seed)),
        }
    classes = _count_classes(_dataset(train))
    channels, height, width = shape
    size = height if height == width else (height, width)
    own_val = None if val is not None else [options.val_fraction, options.max_val]
    identity = {"content": [found.identity() for found in inputs.values()], "split": [options.seed, own_val]}
    splits = {split: _OwnSplit(found, index) for split, (found, index) in parts.items()}
    return ImageData(
        name=name,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        num_classes=classes,
        class_names=tuple(map(str, range(classes or 0))),
        preprocessing=Preprocessing(size, (0.0,) * channels, (1.0,) * channels),
        fingerprint=digest(identity),
    )


@dataclass(frozen=True)
class _Inputs:
    """The inputs of a dataset."""

    dataset: Any
    what: str

    def __len__(self) -> int:
        return len(self.dataset)

    def __post_init__(self) -> None:
        if not hasattr(self.dataset, "__getitem__") or not hasattr(self.dataset, "__len__"):
            raise DataError(f"{self.what} is a {type(self.dataset).__name__}, which cannot be indexed; pass a dataset")
        if not len(self):
            raise DataError(f"the {self.what} dataset is empty; add inputs")

    def __getitem__(self, position: int) -> Tensor:
        item = item_of(self.dataset, position, self.what)
        value = _input_of(item)
        if not _is_input(value):
            found = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise DataError(
                f"{self.what}[{position}] begins with {found}; with train_fn and score_fn, yield inputs as the network "
                "takes them, float tensors [C, H, W]"
            )
        return cast(Tensor, value).detach().cpu().float()

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self[0].shape
        return channels, height, width

    def identity(self) -> str:
        """Return a hash of up to 64 inputs, spread over the dataset, and of its length."""
        total = hashlib.sha256(f"{type(self.dataset).__name__}|{len(self)}".encode())
        for position in _spread(len(self)):
            total.update(self[position].contiguous().numpy().tobytes())
        return total.hexdigest()


class _OwnSplit(Split):
    """Inputs that are read when they are needed, and never augmented; their labels say :data:`NO_CLASS`."""

    def __init__(self, inputs: _Inputs, index: Tensor) -> None:
        super().__init__(torch.full((len(index),), NO_CLASS), inputs.shape)
        self._inputs = inputs
        self._index = index

    def _batches(self, order: Tensor, batch_size: int, augment: bool, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in torch.split(order, batch_size) if len(order) else ():
            batch = [self._inputs[position] for position in self._index[chosen].tolist()]
            if len({value.shape for value in batch}) > 1:
                raise DataError(f"inputs of {self._inputs.what} differ in shape; bring them to one")
            yield torch.stack(batch), self.labels[chosen]


def _dataset(data: Any) -> Any:
    return data.dataset if isinstance(data, DataLoader) else data
