"""A convolution that reads only some channels and columns of its input, chosen per image.

A column is the vector at one position. Executors give equal results and differ in speed, by device; the first of each
kind is the default.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

Chosen = tuple[torch.Tensor | None, torch.Tensor | None]
"""Kept channels ``[N, k]`` and kept columns ``[N, m]`` of each image, int64; None where all are kept."""
Choose = Callable[[torch.Tensor], Chosen]

CHANNEL_EXECUTORS = ("grouped", "unfolded")
COLUMN_EXECUTORS = ("scatter", "halo")


class GatheredConv(nn.Module):
    """A convolution without groups that reads what ``choose(value)`` names, and nothing else.

    ``grouped`` is a convolution of the gathered channels with one weight slice per image; ``unfolded`` is the same as
    one matrix product per image. ``scatter`` is the input-stationary form: every kept column is multiplied by the
    kernel once and added to the outputs it reaches, so that the work is exactly proportional to the kept columns.
    ``halo`` computes the outputs whose window reaches a kept column.

    The result has the memory layout of the map: another one would slow down every layer behind.
    """

    def __init__(self, conv: nn.Conv2d, choose: Choose, executor: str) -> None:
        super().__init__()
        self.conv = conv
        self.choose = choose
        self.executor = executor

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return what the convolution gives on the masked map, ``[N, C, H, W] -> [N, O, H', W']``."""
        return self._run(value).contiguous(memory_format=_layout(value))

    def _run(self, value: torch.Tensor) -> torch.Tensor:
        channels, columns = self.choose(value)
        if columns is None:
            assert channels is not None  # noqa: S101 - a gate that keeps everything is never built
            if self.executor == "unfolded":
                return self._unfolded(value, channels)
            return self._grouped(value, channels)
        if self.executor == "halo":
            return self._halo(value, channels, columns)
        return self._scatter(value, channels, columns)

    def _grouped(self, value: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
        conv, (n, k) = self.conv, channels.shape
        h, w = value.shape[2:]
        if n == 1:
            index = channels[0]
            weight, gathered = conv.weight.index_select(1, index), value.index_select(1, index)
            return F.conv2d(gathered, weight, conv.bias, conv.stride, conv.padding, conv.dilation)
        gathered = self._gather(value, channels).reshape(1, n * k, h, w)
        weight = conv.weight[:, channels].transpose(0, 1).reshape(n * conv.out_channels, k, *conv.kernel_size)
        result = F.conv2d(gathered, weight, None, conv.stride, conv.padding, conv.dilation, groups=n)
        return self._with_bias(result.view(n, conv.out_channels, *result.shape[2:]))

    def _unfolded(self, value: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
        conv, n = self.conv, len(value)
        patches = self._patches(self._gather(value, channels))
        weight = conv.weight[:, channels].transpose(0, 1).reshape(n, conv.out_channels, -1)
        return self._with_bias(torch.bmm(weight, patches).view(n, conv.out_channels, *self._output_size(value)))

    def _scatter(self, value: torch.Tensor, channels: torch.Tensor | None, columns: torch.Tensor) -> torch.Tensor:
        conv, (n, c, _, w) = self.conv, value.shape
        (kh, kw), (sh, sw), (dh, dw) = conv.kernel_size, conv.stride, conv.dilation
        ph, pw = (int(p) for p in conv.padding)
        rows = value.flatten(2).gather(2, columns[:, None, :].expand(-1, c, -1)).transpose(1, 2)
        weight = conv.weight.permute(1, 2, 3, 0).reshape(c, kh * kw * conv.out_channels)
        if channels is None:
            spread = rows @ weight
        else:
            rows = rows.gather(2, channels[:, None, :].expand(-1, columns.shape[1], -1))
            spread = torch.bmm(rows, weight[channels])
        # Input (y, x) reaches output ((y + ph - i * dh) / sh, (x + pw - j * dw) / sw) through kernel cell (i, j).
        out_h, out_w = self._output_size(value)
        cell = torch.arange(kh * kw, device=value.device)
        y = columns.div(w, rounding_mode="floor")[:, :, None] + ph - cell.div(kw, rounding_mode="floor") * dh
        x = columns.remainder(w)[:, :, None] + pw - cell.remainder(kw) * dw
        inside = (y >= 0) & (x >= 0) & (y < out_h * sh) & (x < out_w * sw)
        inside = inside & (y.remainder(sh) == 0) & (x.remainder(sw) == 0)
        target = y.div(sh, rounding_mode="floor") * out_w + x.div(sw, rounding_mode="floor")
        target = target.where(inside, out_h * out_w)  # one spare column collects what falls outside
        image = torch.arange(n, device=value.device).view(n, 1, 1) * (out_h * out_w + 1)
        result = spread.new_zeros(n * (out_h * out_w + 1), conv.out_channels)
        result.index_add_(0, (target + image).flatten(), spread.reshape(-1, conv.out_channels))
        result = result.view(n, -1, conv.out_channels)[:, :-1].transpose(1, 2)
        return self._with_bias(result.reshape(n, conv.out_channels, out_h, out_w))

    def _halo(self, value: torch.Tensor, channels: torch.Tensor | None, columns: torch.Tensor) -> torch.Tensor:
        conv, (n, _, h, w) = self.conv, value.shape
        (kh, kw), (sh, sw), (dh, dw) = conv.kernel_size, conv.stride, conv.dilation
        ph, pw = (int(p) for p in conv.padding)
        mask = value.new_zeros(n, h * w).scatter_(1, columns, 1.0).view(n, 1, h, w)
        window = mask.new_ones(1, 1, kh, kw)
        reached = F.conv2d(mask, window, None, conv.stride, conv.padding, conv.dilation).flatten(1)
        if n == 1:
            output = (reached[0] > 0).nonzero()[None, :, 0]
            most = output.shape[1]
            torch._check(most <= reached.shape[1])
        else:
            # Images that reach fewer outputs than others fill up with some they do not reach: those get 0.
            most = int((reached > 0).sum(dim=1).max())
            output = reached.topk(most, dim=1).indices
        value, weight = value * mask, conv.weight[None]
        if channels is not None:
            value, weight = self._gather(value, channels), conv.weight[:, channels].transpose(0, 1)
        out_h, out_w = self._output_size(value)
        corner = output.div(out_w, rounding_mode="floor") * sh * (w + 2 * pw) + output.remainder(out_w) * sw
        cell = torch.arange(kh * kw, device=value.device)
        offset = cell.div(kw, rounding_mode="floor") * dh * (w + 2 * pw) + cell.remainder(kw) * dw
        index = (corner[:, :, None] + offset).flatten(1)[:, None].expand(-1, value.shape[1], -1)
        patches = F.pad(value, (pw, pw, ph, ph)).flatten(2).gather(2, index).view(n, value.shape[1], most, kh * kw)
        computed = patches.transpose(1, 2).flatten(2) @ weight.flatten(2).transpose(1, 2)
        result = value.new_zeros(n, out_h * out_w, conv.out_channels)
        result.scatter_(1, output[:, :, None].expand_as(computed), computed)
        return self._with_bias(result.transpose(1, 2).reshape(n, conv.out_channels, out_h, out_w))

    def _gather(self, value: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
        return value.gather(1, channels[:, :, None, None].expand(-1, -1, *value.shape[2:]))

    def _patches(self, value: torch.Tensor) -> torch.Tensor:
        """Return the window of every output, ``[N, C, H, W] -> [N, C * kh * kw, H' * W']``."""
        conv = self.conv
        padding = tuple(int(p) for p in conv.padding)
        patches: torch.Tensor = F.unfold(value, conv.kernel_size, conv.dilation, padding, conv.stride)
        return patches

    def _output_size(self, value: torch.Tensor) -> tuple[int, int]:
        conv = self.conv
        (h, w), (kh, kw), (sh, sw), (dh, dw) = value.shape[2:], conv.kernel_size, conv.stride, conv.dilation
        ph, pw = (int(p) for p in conv.padding)
        return (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1

    def _with_bias(self, result: torch.Tensor) -> torch.Tensor:
        bias = self.conv.bias
        return result if bias is None else result + bias.view(1, -1, 1, 1)


def _layout(x: torch.Tensor) -> torch.memory_format:
    channels_last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last else torch.contiguous_format
