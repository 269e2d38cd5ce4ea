"""Random shifts and flips for a whole batch at once."""

from __future__ import annotations

import torch
from torch import Tensor


def take(images: Tensor, index: Tensor) -> Tensor:
    """Return the images at ``index`` (int64 ``[B]``) of uint8 ``[N, S, S, 3]``, as uint8 ``[B, S, S, 3]``."""
    return images.index_select(0, index)


def take_augmented(images: Tensor, index: Tensor, *, flip: bool, generator: torch.Generator) -> Tensor:
    """Return images, each shifted by up to an eighth of its size and perhaps flipped.

    What comes in at the borders is mirrored.

    Args:
        images: All images, uint8 ``[N, S, S, 3]``.
        index: Which to take, int64 ``[B]``.
        flip: Whether to flip left and right with probability one half.
        generator: Source of randomness.

    Returns:
        uint8 ``[B, S, S, 3]``.
    """
    count, size = len(index), images.shape[1]
    reach = size // 8
    shift = torch.randint(-reach, reach + 1, (2, count, 1), generator=generator)
    rows, columns = _mirror(torch.arange(size) + shift, size)
    if flip:
        turned = torch.randint(0, 2, (count, 1), generator=generator).bool()
        columns = torch.where(turned, columns.flip(1), columns)
    # One gather picks image, row and column; each element is a pixel.
    pixels = (index[:, None] * size + rows)[:, :, None] * size + columns[:, None, :]
    return images.view(-1, 3).index_select(0, pixels.view(-1)).view(count, size, size, 3)


def _mirror(position: Tensor, size: int) -> Tensor:
    position = position.abs()
    return torch.where(position >= size, 2 * (size - 1) - position, position)
