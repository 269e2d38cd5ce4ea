"""Data from torch datasets and data loaders."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from autogate.data.as_seen import as_seen
from autogate.data.image_data import ImageData, Options, assemble, check_labels
from autogate.data.source import ImageSource, Picture, size_of
from autogate.errors import DataError
from autogate.records import Preprocessing
from autogate.system import one_line

_SAMPLED = 64


class DatasetSource(ImageSource):
    """The pairs (image, label) of a map-style dataset.

    Args:
        dataset: Has ``len()`` and yields a PIL image, or a tensor ``[C, H, W]``, and a label.
        what: What to call it in an error.

    Raises:
        DataError: If it yields something else.
    """

    threaded = False  # a user's dataset may not expect several threads

    def __init__(self, dataset: Any, what: str) -> None:
        self.dataset = dataset
        self.what = what
        self.labels = labels_of(dataset, what)
        first = self.load(0)
        self.channels = len(first) if isinstance(first, Tensor) else None

    def load(self, position: int) -> Picture:
        """Return an image of the dataset."""
        picture = _picture(_pair(self.dataset, position, self.what)[0], f"{self.what}[{position}]")
        channels = len(picture) if isinstance(picture, Tensor) else None
        if channels != self.channels and position:
            raise DataError(f"{self.what}[{position}] has another number of channels than {self.what}[0]; leave it out")
        return picture

    def identity(self) -> str:
        """Return a hash of up to 64 images, spread over the dataset, and of its length."""
        total = hashlib.sha256(f"{type(self.dataset).__name__}|{len(self)}".encode())
        for position in torch.linspace(0, len(self) - 1, min(_SAMPLED, len(self))).long().tolist():
            image = self.load(position)
            mode = len(image) if isinstance(image, Tensor) else image.mode
            total.update(f"{mode}|{size_of(image)}|".encode())
            total.update(image.numpy().tobytes() if isinstance(image, Tensor) else image.tobytes())
        return total.hexdigest()


def from_datasets(
    train: Any,
    test: Any,
    *,
    val: Any = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    name: str = "custom",
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
    val_fraction: float = 0.1,
    max_val: int = 5000,
    memory_limit_bytes: int = 2 * 2**30,
    workers: int = 0,
    flip: bool = True,
    channels: int = 3,
) -> ImageData:
    """Use your own torch datasets or data loaders.

    A dataset yields (image, label): a PIL image, or a tensor ``[C, H, W]`` of uint8, or of floats in [0, 1]. One
    channel is grey and three are RGB, and either becomes what the network takes. It should neither normalise nor
    augment, because AutoGate does both. Of a data loader only its dataset is used, unless that can only be iterated;
    then all its batches are held in memory.

    Args:
        train: Training data.
        test: Test data.
        val: Validation data, or a folder of images with one folder per class; None or ``split`` takes them from the
            training data.
        num_classes: Number of classes; None counts the labels.
        class_names: Name of each class, by index; None asks the dataset, else numbers them.
        name: What to call the data.
        preprocessing: Input size and normalisation; None takes the images' size and ImageNet's statistics.
        seed: Seed of the split.
        val_fraction: Share of the training images that becomes the validation split.
        max_val: Most images the validation split is given that way.
        memory_limit_bytes: Decoded images above this are loaded from the datasets again and again.
        workers: Processes that load in that case.
        flip: Whether a mirrored image keeps its class.
        channels: To bring images to, 1 for grey or 3 for RGB; what has another number of channels keeps it.

    Raises:
        DataError: If a dataset is empty or yields something that cannot be used.
    """
    named = val if isinstance(val, str) else None
    options = Options(preprocessing, seed, val_fraction, max_val, memory_limit_bytes, workers, channels, named)
    given = {"train": train, "test": test, "val": None if named is not None else val}
    sources = {
        split: DatasetSource(_map_style(data, split), split) for split, data in given.items() if data is not None
    }
    classes = num_classes or max(int(source.labels.max()) for source in sources.values()) + 1
    if classes < 2:
        raise DataError(f"{name} has only one class; classification needs at least two")
    for split, source in sources.items():
        check_labels(source.labels, classes, f"{name} {split}")
    names = _class_names(class_names, sources["train"].dataset, classes)
    return assemble(
        name,
        sources["train"],
        sources["test"],
        val=sources.get("val"),
        class_names=names,
        options=options,
        flip=flip,
    )


class _Collected:
    """Samples drained from something that can only be iterated."""

    def __init__(self, samples: list[tuple[Any, int]]) -> None:
        self.samples = samples
        self.targets = [label for _, label in samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        return self.samples[position]


def _map_style(data: Any, what: str) -> Any:
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if not isinstance(dataset, IterableDataset) and hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
        return dataset
    samples: list[tuple[Any, int]] = []
    try:
        for images, labels in data:
            if isinstance(images, Tensor) and images.ndim == 4:
                samples += [(image, _label(label, what)) for image, label in zip(images, labels, strict=True)]
            else:
                samples.append((images, _label(labels, what)))
    except (TypeError, ValueError) as problem:
        raise DataError(f"{what} must yield (image, label); it is a {type(data).__name__} that does not") from problem
    return _Collected(samples)


def labels_of(dataset: Any, what: str) -> Tensor:
    """Return all labels, int64 ``[N]``; from the dataset's list if it has one, which saves decoding."""
    if not len(dataset):
        raise DataError(f"the {what} dataset is empty; add images")
    # With a target transform the list is not what the dataset yields.
    listed = () if getattr(dataset, "target_transform", None) else ("targets", "labels", "_labels")
    for attribute in listed:
        known = np.asarray(getattr(dataset, attribute, ()))
        if known.shape == (len(dataset),) and np.issubdtype(known.dtype, np.integer):
            return torch.from_numpy(known.astype(np.int64))
    return torch.tensor([_label(_pair(dataset, position, what)[1], what) for position in range(len(dataset))])


def _label(label: Any, what: str) -> int:
    try:
        # A number with a point is a target of another kind, and would be cut to a class without a word.
        if np.asarray(label).dtype.kind == "f":
            raise ValueError
        return int(label)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise DataError(
            f"{what} has the target {' '.join(repr(label).split()):.60}, which is no class index; another task than "
            "classification needs your own train_fn and score_fn"
        ) from problem


def item_of(dataset: Any, position: int, what: str) -> Any:
    """Return an item of a dataset; one that is made at random is the same each time.

    Raises:
        DataError: If the dataset fails.
    """
    # A transform that draws at random then gives the same image each time, and leaves the global state alone.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(position)
        try:
            return dataset[position]
        except Exception as problem:  # runs the user's code, which may fail in any way
            raise DataError(
                f"cannot read {what}[{position}] ({one_line(problem, with_type=True)}); repair the dataset"
            ) from problem


def _pair(dataset: Any, position: int, what: str) -> tuple[Any, Any]:
    item = item_of(dataset, position, what)
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(
            f"{what}[{position}] must be a pair (image, class), not {_shape_of(item)}; another task than "
            "classification needs your own train_fn and score_fn"
        )
    return item[0], item[1]


def _shape_of(item: Any) -> str:
    return f"{len(item)} values" if isinstance(item, tuple | list) else f"a {type(item).__name__}"


def _picture(image: Any, what: str) -> Picture:
    """Return a PIL image, or uint8 ``[C, H, W]`` where there is no image with so many channels."""
    if isinstance(image, Image.Image):
        try:
            return as_seen(image)
        except DataError as problem:
            raise DataError(f"{what} {problem}") from None
    if not isinstance(image, Tensor) or image.ndim != 3 or 0 in image.shape:
        found = f"a tensor {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise DataError(f"{what} is {found}; yield a PIL image or a tensor [C, H, W]")
    channels = _to_uint8(image, what)
    if len(channels) not in (1, 3):
        return channels
    pixels = channels.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))


def _to_uint8(image: Tensor, what: str) -> Tensor:
    """Return a tensor of any element type as uint8, with 255 as white."""
    if image.dtype == torch.uint8:
        return image
    if image.dtype == torch.bool:
        return image.to(torch.uint8) * 255
    if image.dtype == torch.uint16:
        return (image.to(torch.float32) / 257).round().to(torch.uint8)
    low, high = (float(v) for v in torch.aminmax(image))
    if not math.isfinite(low + high):
        raise DataError(f"{what} has values that are no finite numbers; repair the dataset")
    if not image.is_floating_point():
        if low < 0 or high > 255:
            raise DataError(f"{what} has values from {low:.0f} to {high:.0f}; yield uint8, uint16 or floats in [0, 1]")
        return image.to(torch.uint8)
    if low < 0 or high > 1:
        raise DataError(
            f"{what} has values from {low:.2f} to {high:.2f}, outside [0, 1]; remove Normalize from the dataset, "
            "AutoGate normalises by itself"
        )
    return (image * 255).round().to(torch.uint8)


def _class_names(given: Sequence[str] | None, dataset: Any, classes: int) -> tuple[str, ...]:
    if given is not None and len(given) != classes:
        raise DataError(f"{len(given)} class names were given for {classes} classes; give one for each")
    names = given if given is not None else getattr(dataset, "classes", None)
    if isinstance(names, list | tuple) and len(names) == classes:
        return tuple(str(name) for name in names)
    return tuple(str(label) for label in range(classes))
