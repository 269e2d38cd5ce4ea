"""One part of a dataset, handed out in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from autogate.errors import DataError


class Split(ABC):
    """The training, validation or test images.

    The stored order mixes the classes, so the first images are a fair sample.

    Attributes:
        labels: Class index of every image in stored order, int64 ``[N]``.
    """

    labels: Tensor

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def batches(
        self,
        batch_size: int,
        *,
        shuffle_seed: int | None = None,
        augment: bool = False,
        limit: int | None = None,
        drop_last: bool = False,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised images, float32 ``[B, 3, S, S]``, with their labels, int64 ``[B]``.

        Equal arguments give equal batches, augmentation included; the global random state is left alone.

        Args:
            batch_size: Images per batch; the last batch may be smaller.
            shuffle_seed: Seed of the order and the augmentation; None keeps the stored order.
            augment: Whether to shift or crop, and flip, at random.
            limit: Use at most this many images, the first of the order.
            drop_last: Whether to leave out a last batch that is smaller.

        Raises:
            DataError: If ``batch_size`` or ``limit`` is below 1, or an image turns out to be unreadable.
        """
        if batch_size < 1:
            raise DataError(f"the batch size must be at least 1, not {batch_size}")
        if limit is not None and limit < 1:
            raise DataError(f"the limit must be at least 1 image, not {limit}")
        order = torch.arange(len(self))
        if shuffle_seed is not None:
            order = torch.randperm(len(self), generator=torch.Generator().manual_seed(shuffle_seed))
        order = order[:limit]
        if drop_last:
            order = order[: len(order) // batch_size * batch_size]
        return self._batches(order, batch_size, augment, 0 if shuffle_seed is None else shuffle_seed)

    @abstractmethod
    def _batches(self, order: Tensor, batch_size: int, augment: bool, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images at ``order``, int64 ``[n]`` of stored positions, in batches."""
