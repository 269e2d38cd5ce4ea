"""A convolution that reads only some channels of its input, chosen per image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autogate.gates.gathered_conv import Choose, GatheredConv


def channel_executors(stride: tuple[int, int]) -> tuple[str, ...]:
    """Return the ways to read some channels with a stride, the default first."""
    return ("grouped", "transposed") if stride == (1, 1) else ("grouped", "unfolded")


class ChannelGatheredConv(GatheredConv):
    """A convolution of the channels that ``choose`` names, with the slice of the weights that reads them.

    ``grouped`` is a convolution with one weight slice per image; ``unfolded`` is the same as one matrix product per
    image. ``transposed`` is a transposed convolution of the turned kernel, or a matrix product where the kernel is one
    cell: it takes weights as they lie by input channel, so that gathering them copies whole rows.
    """

    def __init__(self, conv: nn.Conv2d, choose: Choose, executor: str, granularity: int = 1) -> None:
        super().__init__(conv, choose, executor, granularity)
        weight = conv.weight.detach().reshape(conv.out_channels, -1, granularity, *self.kernel)
        if executor == "transposed":
            weight = weight.flip(3, 4).permute(1, 2, 0, 3, 4)
            self.weight = nn.Parameter(weight.reshape(len(weight), -1))
        else:
            self.weight = nn.Parameter(weight.flatten(2))

    def _run(self, value: torch.Tensor) -> torch.Tensor:
        groups, _ = self.choose(value)
        assert groups is not None  # noqa: S101 - a gate that keeps everything is never built
        run = {"grouped": self._grouped, "unfolded": self._unfolded, "transposed": self._transposed}[self.executor]
        return run(self._gather(value, groups), groups)

    def _grouped(self, kept: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        weight = self._slices(groups).view(len(kept), self.out_channels, -1, *self.kernel)
        if (n := len(kept)) == 1:
            return F.conv2d(kept, weight[0], self.bias, self.stride, self.padding, self.dilation)
        stacked = kept.reshape(1, -1, *kept.shape[2:])
        result = F.conv2d(stacked, weight.flatten(0, 1), None, self.stride, self.padding, self.dilation, groups=n)
        return self._with_bias(result.view(n, self.out_channels, *result.shape[2:]))

    def _unfolded(self, kept: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        patches = F.unfold(kept, self.kernel, self.dilation, self.padding, self.stride)
        product = torch.bmm(self._slices(groups), patches)
        return self._with_bias(product.view(len(kept), self.out_channels, *self._output_size(kept)))

    def _slices(self, groups: torch.Tensor) -> torch.Tensor:
        """Return the weights of each image's kept channels, ``[N, O, k * granularity * kh * kw]``."""
        if (n := len(groups)) == 1:
            return self.weight.index_select(1, groups[0]).view(1, self.out_channels, -1)
        return self.weight[:, groups].transpose(0, 1).reshape(n, self.out_channels, -1)

    def _transposed(self, kept: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        n, size = len(kept), self._output_size(kept)
        weight = self.weight.index_select(0, groups.flatten()).view(n, -1, self.out_channels, *self.kernel)
        if self.kernel == (1, 1) and self.padding == (0, 0):
            product = torch.bmm(weight.flatten(2).transpose(1, 2), kept.flatten(2))
            return self._with_bias(product.view(n, self.out_channels, *size))
        reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True)]
        # A transposed convolution cannot take more padding away than its kernel reaches.
        beyond = [max(0, p - r) for p, r in zip(self.padding, reach, strict=True)]
        if any(beyond):
            kept = F.pad(kept, (beyond[1], beyond[1], beyond[0], beyond[0]))
        cropped = [max(0, r - p) for p, r in zip(self.padding, reach, strict=True)]
        if n == 1:
            return F.conv_transpose2d(kept, weight[0], self.bias, 1, cropped, dilation=self.dilation)
        stacked = kept.reshape(1, -1, *kept.shape[2:])
        result = F.conv_transpose2d(stacked, weight.flatten(0, 1), None, 1, cropped, 0, n, self.dilation)
        return self._with_bias(result.view(n, self.out_channels, *size))
