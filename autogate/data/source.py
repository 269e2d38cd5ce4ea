"""Where images come from, and how they become images of one size and one number of channels."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from autogate.system import usable_cores

# Up to this size images are used whole; larger ones get the usual margin around a centre crop.
SMALL_SIZE = 64
_CHUNK = 256
# Times the shorter side that is looked at of the longer one, at most.
_LONGEST = 8


Picture = Image.Image | Tensor
"""An image of any mode, or uint8 ``[C, H, W]`` with a number of channels that no image has."""


def with_channels(picture: Picture, channels: int) -> Picture:
    """Return an image in grey (one channel) or in RGB; a tensor is left as it is."""
    if isinstance(picture, Tensor):
        return picture
    mode = "L" if channels == 1 else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)


def fit(picture: Picture, shape: tuple[int, int, int]) -> Picture:
    """Return an image of ``shape``: channels, height, width; one of that shape already is left as it is.

    It is scaled until it covers height and width (above 64 pixels: 256 / 224 of them), then the centre is cut out.
    """
    channels, height, width = shape
    picture = with_channels(picture, channels)
    if size_of(picture) == (width, height):
        return picture
    margin = 1 if max(height, width) <= SMALL_SIZE else 256 / 224
    picture = _without_far_ends(picture, height, width)
    given = size_of(picture)
    scale = max(round(width * margin) / given[0], round(height * margin) / given[1])
    to_width, to_height = max(width, round(given[0] * scale)), max(height, round(given[1] * scale))
    left, top = (to_width - width) // 2, (to_height - height) // 2
    if isinstance(picture, Tensor):
        scaled = F.interpolate(picture[None].float(), (to_height, to_width), mode="bilinear", antialias=True)[0]
        return scaled.round().clamp(0, 255).byte()[:, top : top + height, left : left + width]
    picture = picture.resize((to_width, to_height), Image.Resampling.BILINEAR)
    return picture.crop((left, top, left + width, top + height))


def _without_far_ends(picture: Picture, height: int, width: int) -> Picture:
    """Return the middle of a very long or tall image, so that enlarging it needs no memory for what is cut off."""
    given = size_of(picture)
    most = _LONGEST * round(max(height, width) / max(height / given[1], width / given[0]))
    if max(given) <= most:
        return picture
    left, top = (max(0, side - most) // 2 for side in given)
    right, bottom = left + min(given[0], most), top + min(given[1], most)
    if isinstance(picture, Tensor):
        return picture[:, top:bottom, left:right]
    return picture.crop((left, top, right, bottom))


def size_of(picture: Picture) -> tuple[int, int]:
    """Return width and height, in pixels."""
    return (picture.shape[2], picture.shape[1]) if isinstance(picture, Tensor) else picture.size


def to_uint8(picture: Picture) -> Tensor:
    """Return an image in grey or RGB, or a tensor, as uint8 ``[H, W, C]``."""
    if isinstance(picture, Tensor):
        return picture.permute(1, 2, 0)
    pixels = torch.from_numpy(np.array(picture, dtype=np.uint8))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def decode_all(load: Callable[[int], Picture], count: int, shape: tuple[int, int, int], *, threaded: bool) -> Tensor:
    """Load ``count`` images into memory.

    Args:
        load: Returns the image at a position.
        count: Number of images.
        shape: Channels, height and width to bring them to.
        threaded: Whether ``load`` may be called from several threads.

    Returns:
        uint8 ``[count, height, width, channels]``.
    """
    channels, height, width = shape
    images = np.empty((count, height, width, channels), dtype=np.uint8)

    def decode(start: int) -> None:
        for position in range(start, min(start + _CHUNK, count)):
            images[position] = to_uint8(fit(load(position), shape)).numpy()

    starts = range(0, count, _CHUNK)
    with no_pillow_warnings():
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
        channels: Number of channels of all images; None for images that can be brought to grey or to RGB.
        real_files: A number for each image that only links to the same file share, int64 ``[N]``; empty if unknown.
        notes: Lines on what the user may want to look at, such as files that are left out.
    """

    labels: Tensor
    threaded = True
    channels: int | None = None
    real_files: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    @abstractmethod
    def load(self, position: int) -> Picture:
        """Return an image in any mode and size.

        Raises:
            DataError: If it cannot be read.
        """

    @abstractmethod
    def identity(self) -> str:
        """Return text that changes when the content changes."""

    def size_of(self, position: int) -> tuple[int, int]:
        """Return width and height of an image, in pixels."""
        return size_of(self.load(position))


def natural_size(source: ImageSource) -> int | tuple[int, int]:
    """Return the size of the first image if the images are small squares, or small and all alike; else 224.

    At most 64 images, spread over the source, are looked at.
    """
    positions = torch.linspace(0, len(source) - 1, min(_PROBED, len(source))).long().tolist()
    with no_pillow_warnings():
        sizes = [source.size_of(position) for position in positions]
    width, height = sizes[0]
    if all(width == height <= SMALL_SIZE for width, height in sizes):
        return width
    return (height, width) if len(set(sizes)) == 1 and max(sizes[0]) <= SMALL_SIZE else DEFAULT_SIZE
