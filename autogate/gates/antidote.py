"""``antidote``: per input, keep the channels and columns of a map with the highest mean activation.

Source: AntiDote (arXiv 2008.06543), mechanism-faithful. Attention is the mean activation of a channel over
space, and of a column (the vector at one position) over channels; the top k of each stay, with no
re-weighting. Both attentions are taken from the unmasked map. Rounding and tie handling are a
reconstruction. Training drops the same targets as testing (targeted dropout).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from autogate.gates.family import (
    CompactEditor,
    DenseParts,
    Family,
    Gene,
    TrainingGate,
    kept_count,
    soften,
    top_k_mask,
)
from autogate.policy import Gate
from autogate.records import Site, SiteKind


def channel_attention(value: torch.Tensor) -> torch.Tensor:
    """Return the mean of each channel over space, ``[N, C, H, W] -> [N, C]``."""
    return value.mean(dim=(2, 3))


def column_attention(value: torch.Tensor) -> torch.Tensor:
    """Return the mean of each column over channels, ``[N, C, H, W] -> [N, H * W]``."""
    return value.mean(dim=1).flatten(1)


class AttentionMask(TrainingGate):
    """Multiplies a map by its own top-k channel and column masks; gradients reach what is kept."""

    def __init__(self, channels: int | None, columns: int | None, dropout: float) -> None:
        super().__init__()
        self.channels = channels
        self.columns = columns
        self.dropout = dropout

    def forward(self, value: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Return the masked map, ``[N, C, H, W] -> [N, C, H, W]``."""
        n, c, h, w = value.shape
        mask = value.new_ones(1, 1, 1, 1)
        with torch.no_grad():
            if self.channels is not None:
                mask = mask * self._mask(channel_attention(value), self.channels).view(n, c, 1, 1)
            if self.columns is not None:
                mask = mask * self._mask(column_attention(value), self.columns).view(n, 1, h, w)
        return value * mask

    def _mask(self, attention: torch.Tensor, k: int) -> torch.Tensor:
        mask = top_k_mask(attention, k)
        return soften(mask, self.dropout) if self.training else mask


class GatheredConv(nn.Module):
    """A convolution that reads only each image's own top-k channels and columns.

    Channels alone: a convolution of the gathered channels, one weight slice per image. With columns, the
    input-stationary form: every kept column is multiplied by the kernel once and added to the outputs it
    reaches, so that the work is exactly proportional to the kept columns.
    """

    def __init__(self, conv: nn.Conv2d, channels: int | None, columns: int | None) -> None:
        super().__init__()
        self.conv = conv
        self.channels = channels
        self.columns = columns

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return what the convolution gives on the masked map, ``[N, C, H, W] -> [N, O, H', W']``."""
        kept = None
        if self.channels is not None:
            kept = channel_attention(value).topk(self.channels, dim=1).indices
        if self.columns is None:
            assert kept is not None  # noqa: S101 - a gate with neither is open and never built
            return self._channels_only(value, kept)
        return self._columns(value, kept, self.columns)

    def _channels_only(self, value: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        conv, (n, k) = self.conv, kept.shape
        h, w = value.shape[2:]
        if n == 1:
            index = kept[0]
            weight, gathered = conv.weight.index_select(1, index), value.index_select(1, index)
            return F.conv2d(gathered, weight, conv.bias, conv.stride, conv.padding, conv.dilation)
        gathered = value.gather(1, kept[:, :, None, None].expand(-1, -1, h, w)).reshape(1, n * k, h, w)
        weight = conv.weight[:, kept].transpose(0, 1).reshape(n * conv.out_channels, k, *conv.kernel_size)
        result = F.conv2d(gathered, weight, None, conv.stride, conv.padding, conv.dilation, groups=n)
        result = result.view(n, conv.out_channels, *result.shape[2:])
        return result if conv.bias is None else result + conv.bias.view(1, -1, 1, 1)

    def _columns(self, value: torch.Tensor, kept: torch.Tensor | None, k: int) -> torch.Tensor:
        conv, (n, c, h, w) = self.conv, value.shape
        (kh, kw), (sh, sw), (dh, dw) = conv.kernel_size, conv.stride, conv.dilation
        ph, pw = (int(p) for p in conv.padding)
        position = column_attention(value).topk(k, dim=1).indices
        rows = value.flatten(2).gather(2, position[:, None, :].expand(-1, c, -1)).transpose(1, 2)
        weight = conv.weight.permute(1, 2, 3, 0).reshape(c, kh * kw * conv.out_channels)
        if kept is None:
            spread = rows @ weight
        else:
            rows = rows.gather(2, kept[:, None, :].expand(-1, k, -1))
            spread = torch.bmm(rows, weight[kept])
        spread = spread.view(n, k, kh * kw, conv.out_channels)
        # Position (y, x) reaches output ((y + ph - i * dh) / sh, (x + pw - j * dw) / sw) through kernel cell (i, j).
        out_h, out_w = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1
        cell = torch.arange(kh * kw, device=value.device)
        y = position.div(w, rounding_mode="floor")[:, :, None] + ph - cell.div(kw, rounding_mode="floor") * dh
        x = position.remainder(w)[:, :, None] + pw - cell.remainder(kw) * dw
        inside = (y >= 0) & (x >= 0) & (y < out_h * sh) & (x < out_w * sw)
        inside = inside & (y.remainder(sh) == 0) & (x.remainder(sw) == 0)
        target = y.div(sh, rounding_mode="floor") * out_w + x.div(sw, rounding_mode="floor")
        target = target.where(inside, out_h * out_w)  # one spare column collects what falls outside
        image = torch.arange(n, device=value.device).view(n, 1, 1) * (out_h * out_w + 1)
        result = spread.new_zeros(n * (out_h * out_w + 1), conv.out_channels)
        result.index_add_(0, (target + image).flatten(), spread.reshape(-1, conv.out_channels))
        result = result.view(n, -1, conv.out_channels)[:, :-1]
        if conv.bias is not None:
            result = result + conv.bias
        return result.transpose(1, 2).reshape(n, conv.out_channels, out_h, out_w)


class Antidote(Family):
    """Keep a fixed number of channels and columns, chosen per input by mean activation."""

    name = "antidote"
    kinds = frozenset[SiteKind]({"map"})
    dropout = True

    def genes(self, kind: SiteKind) -> tuple[Gene, ...]:
        """``channel_ratio`` and ``column_ratio``: shares of the channels and columns left out."""
        return (Gene("channel_ratio", 0.0, low=0.0, high=0.97), Gene("column_ratio", 0.0, low=0.0, high=0.97))

    def is_open(self, site: Site, gate: Gate) -> bool:
        """Two ratios that leave nothing out change nothing."""
        return self._counts(site, gate) == (None, None)

    def attach(self, site: Site, gate: Gate, dense: DenseParts, dropout: float) -> AttentionMask:
        """Return the mask; it has no weights and works on any trained network."""
        channels, columns = self._counts(site, gate)
        return AttentionMask(channels, columns, dropout)

    def compact(self, site: Site, gate: Gate, trained: TrainingGate, editor: CompactEditor) -> None:
        """Let the consumer gather."""
        channels, columns = self._counts(site, gate)
        editor.replace_consumer(site.name, lambda conv: GatheredConv(conv, channels, columns))

    def mac_factors(self, site: Site, gate: Gate, decision: float | None) -> Mapping[str, float]:
        """The consumer keeps the product of both shares, as the paper counts."""
        channels, columns = self._counts(site, gate)
        c, h, w = site.shape
        share = (c if channels is None else channels) / c * (h * w if columns is None else columns) / (h * w)
        return {site.consumer.name: share}

    def _counts(self, site: Site, gate: Gate) -> tuple[int | None, int | None]:
        """Kept channels and columns; None where nothing is left out."""
        c, h, w = site.shape
        channels = kept_count(c, float(gate.genes["channel_ratio"]))
        columns = kept_count(h * w, float(gate.genes["column_ratio"]))
        return (None if channels == c else channels, None if columns == h * w else columns)
