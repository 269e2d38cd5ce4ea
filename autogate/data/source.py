"""Labelled images before they are divided: from files, or from a torch dataset."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from PIL import Image
from torch import Tensor

from autogate.data.decode import SMALL_SIZE

DEFAULT_SIZE = 224
_PROBED = 64


class ImageSource(ABC):
    """Images by position.

    Attributes:
        labels: Class index of every image, int64 ``[N]``.
        threaded: Whether :meth:`load` may be called from several threads.
    """

    labels: Tensor
    threaded = True

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    @abstractmethod
    def load(self, position: int) -> Image.Image:
        """Return an image in any mode and size.

        Raises:
            DataError: If it cannot be read.
        """

    @abstractmethod
    def identity(self) -> str:
        """Return text that changes when the content changes."""

    def size_of(self, position: int) -> tuple[int, int]:
        """Return width and height of an image, in pixels."""
        return self.load(position).size


def natural_size(source: ImageSource) -> int:
    """Return the size of the first image if the images are small squares, else 224.

    At most 64 images, spread over the source, are looked at.
    """
    positions = torch.linspace(0, len(source) - 1, min(_PROBED, len(source))).long().tolist()
    sizes = [source.size_of(position) for position in positions]
    small = all(width == height <= SMALL_SIZE for width, height in sizes)
    return sizes[0][0] if small else DEFAULT_SIZE
