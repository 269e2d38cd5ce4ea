"""Convolutions that read only a part of their input, chosen per image: what those of channels and columns share.

Executors give equal results and differ in speed, by device; the first of each kind is the default.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

Chosen = tuple[torch.Tensor | None, torch.Tensor | None]
"""Kept groups of channels ``[N, k]`` and kept columns ``[N, m]`` of each image, int64; None where all are kept."""
Choose = Callable[[torch.Tensor], Chosen]


class GatheredConv(nn.Module):
    """A convolution without groups that reads what ``choose(value)`` names, and nothing else.

    The result has the memory layout of the map: another one would slow down every layer behind.

    Args:
        conv: The convolution.
        choose: Names what is kept of a map.
        executor: How it is computed.
        granularity: Neighbouring channels that stay or go together.
    """

    def __init__(self, conv: nn.Conv2d, choose: Choose, executor: str, granularity: int = 1) -> None:
        super().__init__()
        self.choose = choose
        self.executor = executor
        self.granularity = granularity
        self.out_channels = conv.out_channels
        self.kernel = (int(conv.kernel_size[0]), int(conv.kernel_size[1]))
        self.stride = (int(conv.stride[0]), int(conv.stride[1]))
        self.padding = (int(conv.padding[0]), int(conv.padding[1]))
        self.dilation = (int(conv.dilation[0]), int(conv.dilation[1]))
        self.bias = conv.bias

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return what the convolution gives on the masked map, ``[N, C, H, W] -> [N, O, H', W']``."""
        return self._run(value).contiguous(memory_format=layout_of(value))

    def _run(self, value: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def _gather(self, value: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        """Return the kept channels of a map, ``[N, C, ...] -> [N, k * granularity, ...]``."""
        if self.granularity > 1:
            value = value.reshape(len(value), -1, self.granularity, *value.shape[2:])
        if len(groups) == 1:
            kept = value.index_select(1, groups[0])
        else:
            kept = value.gather(1, groups.view(*groups.shape, *[1] * (value.ndim - 2)).expand(-1, -1, *value.shape[2:]))
        return kept.flatten(1, 2) if self.granularity > 1 else kept

    def _output_size(self, value: torch.Tensor) -> tuple[int, int]:
        (h, w), (kh, kw), (sh, sw), (dh, dw) = value.shape[2:], self.kernel, self.stride, self.dilation
        ph, pw = self.padding
        return (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1

    def _with_bias(self, result: torch.Tensor) -> torch.Tensor:
        return result if self.bias is None else result + self.bias.view(1, -1, 1, 1)


def layout_of(x: torch.Tensor) -> torch.memory_format:
    """Return the memory layout of a map, ``[N, C, H, W]``."""
    channels_last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last else torch.contiguous_format
