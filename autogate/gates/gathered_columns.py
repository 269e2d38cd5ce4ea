"""A convolution that reads only some columns of its input, and channels, chosen per image.

A column is the vector at one position.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autogate.gates.gathered_conv import Choose, GatheredConv

COLUMN_EXECUTORS = ("scatter", "halo")


class ColumnGatheredConv(GatheredConv):
    """A convolution of the columns that ``choose`` names, and of their channels that it names, if it names any.

    ``scatter`` is the input-stationary form: every kept column is multiplied by the kernel once and added to the
    outputs it reaches, so that the work is exactly proportional to the kept columns. ``halo`` computes the outputs
    whose window reaches a kept column.
    """

    def __init__(self, conv: nn.Conv2d, choose: Choose, executor: str, granularity: int = 1) -> None:
        super().__init__(conv, choose, executor, granularity)
        self.weight = conv.weight

    def _run(self, value: torch.Tensor) -> torch.Tensor:
        groups, columns = self.choose(value)
        assert columns is not None  # noqa: S101 - a gate that keeps all columns is of channels
        channels = None
        if groups is not None:
            inner = torch.arange(self.granularity, device=groups.device)
            channels = (groups[:, :, None] * self.granularity + inner).flatten(1)
        run = self._halo if self.executor == "halo" else self._scatter
        return run(value, channels, columns)

    def _scatter(self, value: torch.Tensor, channels: torch.Tensor | None, columns: torch.Tensor) -> torch.Tensor:
        n, c, _, w = value.shape
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        ph, pw = self.padding
        rows = value.flatten(2).gather(2, columns[:, None, :].expand(-1, c, -1)).transpose(1, 2)
        weight = self.weight.permute(1, 2, 3, 0).reshape(c, kh * kw * self.out_channels)
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
        result = spread.new_zeros(n * (out_h * out_w + 1), self.out_channels)
        result.index_add_(0, (target + image).flatten(), spread.reshape(-1, self.out_channels))
        result = result.view(n, -1, self.out_channels)[:, :-1].transpose(1, 2)
        return self._with_bias(result.reshape(n, self.out_channels, out_h, out_w))

    def _halo(self, value: torch.Tensor, channels: torch.Tensor | None, columns: torch.Tensor) -> torch.Tensor:
        n, _, h, w = value.shape
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        ph, pw = self.padding
        mask = value.new_zeros(n, h * w).scatter_(1, columns, 1.0).view(n, 1, h, w)
        window = mask.new_ones(1, 1, kh, kw)
        reached = F.conv2d(mask, window, None, self.stride, self.padding, self.dilation).flatten(1)
        if n == 1:
            output = (reached[0] > 0).nonzero()[None, :, 0]
            most = output.shape[1]
            torch._check(most <= reached.shape[1])
        else:
            # Images that reach fewer outputs than others fill up with some they do not reach: those get 0.
            most = int((reached > 0).sum(dim=1).max())
            output = reached.topk(most, dim=1).indices
        value, weight = value * mask, self.weight[None]
        if channels is not None:
            index = channels[:, :, None, None].expand(-1, -1, *value.shape[2:])
            value, weight = value.gather(1, index), self.weight[:, channels].transpose(0, 1)
        out_h, out_w = self._output_size(value)
        corner = output.div(out_w, rounding_mode="floor") * sh * (w + 2 * pw) + output.remainder(out_w) * sw
        cell = torch.arange(kh * kw, device=value.device)
        offset = cell.div(kw, rounding_mode="floor") * dh * (w + 2 * pw) + cell.remainder(kw) * dw
        index = (corner[:, :, None] + offset).flatten(1)[:, None].expand(-1, value.shape[1], -1)
        patches = F.pad(value, (pw, pw, ph, ph)).flatten(2).gather(2, index).view(n, value.shape[1], most, kh * kw)
        computed = patches.transpose(1, 2).flatten(2) @ weight.flatten(2).transpose(1, 2)
        result = value.new_zeros(n, out_h * out_w, self.out_channels)
        result.scatter_(1, output[:, :, None].expand_as(computed), computed)
        return self._with_bias(result.transpose(1, 2).reshape(n, self.out_channels, out_h, out_w))
