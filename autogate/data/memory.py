"""A split whose images lie decoded in memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from autogate.data.augment import take, take_augmented
from autogate.data.split import Split
from autogate.records import Preprocessing


class MemorySplit(Split):
    """Images in memory.

    Args:
        images: Images that several splits may share, uint8 ``[M, S, S, 3]``.
        labels: Their class indices, int64 ``[M]``.
        index: Those that belong to this split, in stored order, int64 ``[N]``.
        preprocessing: Normalisation.
        flip: Whether a mirrored image keeps its class.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, index: Tensor, preprocessing: Preprocessing, *, flip: bool
    ) -> None:
        super().__init__(labels[index])
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
    """Return ``pixels * scale + offset`` with the colours in front.

    Args:
        pixels: uint8 ``[B, S, S, 3]``.
        scale: Factor per colour, float32 ``[3]``.
        offset: Summand per colour, float32 ``[3]``.

    Returns:
        float32 ``[B, 3, S, S]``.
    """
    planes = torch.empty((len(pixels), 3, *pixels.shape[1:3]))
    planes.copy_(pixels.permute(0, 3, 1, 2))
    return planes.mul_(scale[:, None, None]).add_(offset[:, None, None])
