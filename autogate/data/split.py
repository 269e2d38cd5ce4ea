"""One part of a dataset, handed out in batches: the interface, and a split that lies decoded in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from autogate.errors import DataError
from autogate.records import Preprocessing

_EVALUATION_BATCH = 128
_USUAL_SIZE = 224


class Split(ABC):
    """The training, validation or test images.

    The stored order mixes the classes, so the first images are a fair sample.

    Attributes:
        labels: Class index of every image in stored order, int64 ``[N]``.
        shape: Channels, height and width of one input.
    """

    labels: Tensor
    shape: tuple[int, int, int]

    def __init__(self, labels: Tensor, shape: tuple[int, int, int]) -> None:
        self.labels = labels
        self.shape = shape

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def evaluation_batch(self) -> int:
        """Return how many images to run at a time: 128, or as many as have no more pixels than those of usual size."""
        _, height, width = self.shape
        return max(1, min(_EVALUATION_BATCH, _EVALUATION_BATCH * _USUAL_SIZE**2 // (height * width)))

    def first_images(self, count: int) -> Tensor:
        """Return the first ``count`` images, or all if they are fewer, normalised, float32 ``[N, C, H, W]``."""
        return torch.cat([images for images, _ in self.batches(_EVALUATION_BATCH, limit=count)])

    def batches(
        self,
        batch_size: int,
        *,
        shuffle_seed: int | None = None,
        augment: bool = False,
        limit: int | None = None,
        drop_last: bool = False,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised images, float32 ``[B, C, H, W]``, with their labels, int64 ``[B]``.

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


def take(images: Tensor, index: Tensor) -> Tensor:
    """Return the images at ``index`` (int64 ``[B]``) of uint8 ``[N, H, W, C]``, as uint8 ``[B, H, W, C]``."""
    return images.index_select(0, index)


def take_augmented(images: Tensor, index: Tensor, *, flip: bool, generator: torch.Generator) -> Tensor:
    """Return images, each shifted by up to an eighth of its height and width and perhaps flipped.

    What comes in at the borders is mirrored.

    Args:
        images: All images, uint8 ``[N, H, W, C]``.
        index: Which to take, int64 ``[B]``.
        flip: Whether to flip left and right with probability one half.
        generator: Source of randomness.

    Returns:
        uint8 ``[B, H, W, C]``.
    """
    count, (height, width, channels) = len(index), images.shape[1:]
    rows, columns = (_shifted(size, count, generator) for size in (height, width))
    if flip:
        turned = torch.randint(0, 2, (count, 1), generator=generator).bool()
        columns = torch.where(turned, columns.flip(1), columns)
    # One gather picks image, row and column; each element is a pixel.
    pixels = (index[:, None] * height + rows)[:, :, None] * width + columns[:, None, :]
    return images.view(-1, channels).index_select(0, pixels.view(-1)).view(count, height, width, channels)


def _shifted(size: int, count: int, generator: torch.Generator) -> Tensor:
    """Return the positions along a side of ``size`` pixels, shifted at random and mirrored, int64 ``[count, size]``."""
    reach = size // 8
    position = (torch.arange(size) + torch.randint(-reach, reach + 1, (count, 1), generator=generator)).abs()
    return torch.where(position >= size, 2 * (size - 1) - position, position)


class MemorySplit(Split):
    """Images in memory.

    Args:
        images: Images that several splits may share, uint8 ``[M, H, W, C]``.
        labels: Their class indices, int64 ``[M]``.
        index: Those that belong to this split, in stored order, int64 ``[N]``.
        preprocessing: Normalisation.
        flip: Whether a mirrored image keeps its class.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, index: Tensor, preprocessing: Preprocessing, *, flip: bool
    ) -> None:
        super().__init__(labels[index], preprocessing.input_shape)
        self._images = images
        self._index = index
        self._flip = flip
        self._scale = 1 / (255 * torch.tensor(preprocessing.std))
        self._offset = -torch.tensor(preprocessing.mean) / torch.tensor(preprocessing.std)

    def _batches(self, order: Tensor, batch_size: int, augment: bool, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        for chosen in torch.split(order, batch_size) if len(order) else ():
            index = self._index[chosen]
            if augment:
                pixels = take_augmented(self._images, index, flip=self._flip, generator=generator)
            else:
                pixels = take(self._images, index)
            yield normalise(pixels, self._scale, self._offset), self.labels[chosen]


def normalise(pixels: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Return ``pixels * scale + offset`` with the channels in front.

    Args:
        pixels: uint8 ``[B, H, W, C]``.
        scale: Factor per channel, float32 ``[C]``.
        offset: Summand per channel, float32 ``[C]``.

    Returns:
        float32 ``[B, C, H, W]``.
    """
    planes = torch.empty((len(pixels), pixels.shape[3], *pixels.shape[1:3]))
    planes.copy_(pixels.permute(0, 3, 1, 2))
    return planes.mul_(scale[:, None, None]).add_(offset[:, None, None])
