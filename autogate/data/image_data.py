"""A dataset, ready for search: three splits and what identifies them."""

from __future__ import annotations

from dataclasses import dataclass

from autogate.data.split import Split
from autogate.records import Preprocessing

SMALL_TRAIN_IMAGES = 10_000


@dataclass(frozen=True)
class ImageData:
    """Labelled images in three splits.

    Attributes:
        name: What the user called the data.
        train: Images to train on.
        val: Images the search is steered by; never trained on.
        test: Images touched only when a finalist is reported.
        num_classes: Number of classes.
        class_names: Name of each class, by index.
        preprocessing: Input size in pixels and normalisation of every image.
        fingerprint: 16 hex digits that identify content, split and preprocessing.
    """

    name: str
    train: Split
    val: Split
    test: Split
    num_classes: int
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    fingerprint: str

    @property
    def is_small(self) -> bool:
        """Whether a network can be trained on it from scratch without asking: under 10,000 images."""
        return len(self.train) < SMALL_TRAIN_IMAGES
