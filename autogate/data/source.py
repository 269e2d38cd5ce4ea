"""Where images come from, and how they become square RGB images of one size."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from os import cpu_count

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

# Up to this size images are used whole; larger ones get the usual margin around a centre crop.
SMALL_SIZE = 64
_CHUNK = 256
# Times the shorter side that is looked at of the longer one, at most.
_LONGEST = 8


def fit_square(image: Image.Image, size: int) -> Image.Image:
    """Return an RGB image of ``size`` x ``size`` pixels; one of that size already is left as it is.

    The shorter side becomes ``size`` (above 64 pixels: ``size * 256 / 224``), then the centre is cut out.
    """
    if image.mode != "RGB":
        image = image.convert("RGB")
    if image.size == (size, size):
        return image
    image = _without_far_ends(image)
    shorter = size if size <= SMALL_SIZE else round(size * 256 / 224)
    scale = shorter / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _without_far_ends(image: Image.Image) -> Image.Image:
    """Return the middle of a very long or tall image, so that enlarging it needs no memory for what is cut off."""
    width, height = image.size
    most = _LONGEST * min(image.size)
    if max(image.size) <= most:
        return image
    left, top = max(0, width - most) // 2, max(0, height - most) // 2
    return image.crop((left, top, left + min(width, most), top + min(height, most)))


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
    with no_pillow_warnings():
        if not threaded:
            for start in starts:
                decode(start)
            return torch.from_numpy(images)
        pool = ThreadPoolExecutor(max_workers=min(16, cpu_count() or 1))
        try:
            for _ in pool.map(decode, starts):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
    return torch.from_numpy(images)


@contextmanager
def no_pillow_warnings() -> Iterator[None]:
    """Keep back Pillow's warnings, of damaged metadata and of large images: they concern no pixel.

    Enter it from one thread at a time.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


DEFAULT_SIZE = 224
_PROBED = 64


class ImageSource(ABC):
    """Images by position.

    Attributes:
        labels: Class index of every image, int64 ``[N]``.
        threaded: Whether :meth:`load` may be called from several threads.
        real_files: A number for each image that only links to the same file share, int64 ``[N]``; empty if unknown.
        notes: Lines on what the user may want to look at, such as files that are left out.
    """

    labels: Tensor
    threaded = True
    real_files: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
    notes: tuple[str, ...] = ()

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
    with no_pillow_warnings():
        sizes = [source.size_of(position) for position in positions]
    small = all(width == height <= SMALL_SIZE for width, height in sizes)
    return sizes[0][0] if small else DEFAULT_SIZE
