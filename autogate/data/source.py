"""Where images come from, and how they become square RGB images of one size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from autogate.system import usable_cores

# Up to this size images are used whole; larger ones get the usual margin around a centre crop.
SMALL_SIZE = 64
_CHUNK = 256


def fit_square(image: Image.Image, size: int) -> Image.Image:
    """Return an RGB image of ``size`` x ``size`` pixels; one of that size already is left as it is.

    The shorter side becomes ``size`` (above 64 pixels: ``size * 256 / 224``), then the centre is cut out.
    """
    if image.mode != "RGB":
        image = image.convert("RGB")
    if image.size == (size, size):
        return image
    shorter = size if size <= SMALL_SIZE else round(size * 256 / 224)
    scale = shorter / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def to_uint8(image: Image.Image) -> Tensor:
    """Return an RGB image as uint8 ``[H, W, 3]``."""
    return torch.from_numpy(np.array(image, dtype=np.uint8))


def decode_all(load: Callable[[int], Image.Image], count: int, size: int, *, threaded: bool) -> Tensor:
    """Load ``count`` images into memory.

    Args:
        load: Returns the image at a position.
        count: Number of images.
        size: Height and width to bring them to, in pixels.
        threaded: Whether ``load`` may be called from several threads.

    Returns:
        uint8 ``[count, size, size, 3]``.
    """
    images = np.empty((count, size, size, 3), dtype=np.uint8)

    def decode(start: int) -> None:
        for position in range(start, min(start + _CHUNK, count)):
            images[position] = np.asarray(fit_square(load(position), size))

    starts = range(0, count, _CHUNK)
    if not threaded:
        for start in starts:
            decode(start)
        return torch.from_numpy(images)
    pool = ThreadPoolExecutor(max_workers=min(16, usable_cores()))
    try:
        for _ in pool.map(decode, starts):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    return torch.from_numpy(images)


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
