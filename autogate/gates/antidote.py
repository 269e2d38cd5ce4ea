"""``antidote``: per input, keep the channels and columns of a map with the highest mean activation.

Source: AntiDote (arXiv 2008.06543), mechanism-faithful; the ratios are not the paper's. Attention is the mean
activation of a channel over space, and of a column (the vector at one position) over channels; the top k of each stay,
with no re-weighting. Training drops the same targets as testing (targeted dropout), with two optional schedules: ratio
ascent, and the ramps of Targeted Dropout (for-ai/TD), in which a target is dropped at random. Reconstructions:
rounding and tie handling; that the mask comes after a pooling layer where one follows, and that what is kept in
training is not scaled up; the form of ratio ascent, in which each gate ascends from 0.1 in steps of 0.05 of equal
length, so that all reach their ratios together; that a layer's MACs shrink by both shares, and that the compact form
gathers a slice of the weights per image. Strips of columns, groups of channels and the order of the two masks are
choices of this implementation, and so is that a map read by a linear layer, such as the last of VGG, has no gate. With
several images the outputs that kept columns reach differ between them, so that one executor alone is there for columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from autogate.gates.family import (
    CompactEditor,
    DenseParts,
    Family,
    Knobs,
    TrainingGate,
    indivisible_reason,
    kept_count,
    soften,
    top_k_mask,
)
from autogate.gates.gathered_channels import ChannelGatheredConv, channel_executors
from autogate.gates.gathered_columns import COLUMN_EXECUTORS, ColumnGatheredConv
from autogate.gates.gathered_conv import Chosen
from autogate.gates.gene import GRANULARITY, TARGETED_DROPOUT, Gene, granularity_of
from autogate.gates.registry import register_family
from autogate.policy import Gate, GeneValue
from autogate.records import Site, SiteKind

_ASCENT_START = 0.1
_ASCENT_STEP = 0.05
_EPS = 1e-9


def channel_attention(value: torch.Tensor) -> torch.Tensor:
    """Return the mean of each channel over space, ``[N, C, H, W] -> [N, C]``."""
    return value.mean(dim=(2, 3))


def column_attention(value: torch.Tensor) -> torch.Tensor:
    """Return the mean of each column over channels, ``[N, C, H, W] -> [N, H * W]``."""
    return value.mean(dim=1).flatten(1)


def ascending_ratio(
    ratio: float, epoch: float, epochs_per_step: float, start: float = _ASCENT_START, step: float = _ASCENT_STEP
) -> float:
    """Return the ratio in force at ``epoch``: ``min(ratio, start + step * floor(epoch / epochs_per_step))``."""
    return min(ratio, start + step * math.floor(epoch / epochs_per_step + _EPS))


def targeted_ramp(progress: float) -> tuple[float, float]:
    """Return the shares of the final ratio and of the final rate of dropout that are in force.

    Source: for-ai/TD, ramping targeted dropout; ``progress`` is the step over 40,000. The ratio has 95 % of its value
    half-way, and all of it at the end; the rate grows linearly.
    """
    targets = 0.95 * min(1.0, 2 * progress) + 0.05 * min(1.0, max(0.0, 2 * progress - 1))
    return targets, min(1.0, progress)


@dataclass(frozen=True)
class Selection:
    """What is kept of each map.

    Attributes:
        channel_ratio: Share of the channels left out.
        column_ratio: Share of the columns left out.
        strip: Columns side by side that are kept or left out together; it divides the map's width.
        channels_first: Whether columns are judged by the kept channels only.
        granularity: Neighbouring channels that are kept or left out together; it divides the map's channels.
    """

    channel_ratio: float
    column_ratio: float
    strip: int = 1
    channels_first: bool = False
    granularity: int = 1

    def kept_groups(self, channels: int) -> int | None:
        """Number of groups of channels kept; None if all are."""
        groups = channels // self.granularity
        kept = kept_count(groups, self.channel_ratio)
        return None if kept == groups else kept

    def kept_channels(self, channels: int) -> int | None:
        """Number of channels kept; None if all are."""
        groups = self.kept_groups(channels)
        return None if groups is None else groups * self.granularity

    def kept_strips(self, height: int, width: int) -> int | None:
        """Number of strips kept; None if all are."""
        strips = height * width // self.strip
        kept = kept_count(strips, self.column_ratio)
        return None if kept == strips else kept

    def strip_attention(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean of each strip, ``[N, C, H, W] -> [N, H * W / strip]``, row by row."""
        attention = column_attention(value)
        return attention if self.strip == 1 else attention.view(len(value), -1, self.strip).mean(dim=2)

    def group_attention(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean of each group of channels, ``[N, C, H, W] -> [N, C / granularity]``."""
        attention = channel_attention(value)
        return attention if self.granularity == 1 else attention.view(len(value), -1, self.granularity).mean(dim=2)

    def __call__(self, value: torch.Tensor) -> Chosen:
        """Return kept groups of channels ``[N, k]`` and kept columns ``[N, m]`` of a map ``[N, C, H, W]``."""
        _, c, h, w = value.shape
        channels = columns = None
        if (k := self.kept_groups(c)) is not None:
            attention = self.group_attention(value)
            channels = attention.topk(k, dim=1).indices
            if self.channels_first:
                mask = top_k_mask(attention, k).repeat_interleave(self.granularity, dim=1)
                value = value * mask[:, :, None, None]
        if (k := self.kept_strips(h, w)) is not None:
            strips = self.strip_attention(value).topk(k, dim=1).indices
            columns = (strips[:, :, None] * self.strip + torch.arange(self.strip, device=value.device)).flatten(1)
        return channels, columns


class AttentionMask(TrainingGate):
    """Multiplies a map by its own top-k channel and column masks; gradients reach what is kept.

    Args:
        selection: What evaluation keeps.
        dropout: Probability with which a training step drops a target.
        ascent: Share of the training over which the ratios ascend to their values in steps; 0 for none.
        ramp: Share of the training over which ratios and dropout ramp up; 0 for none.
    """

    def __init__(self, selection: Selection, dropout: float = 1.0, ascent: float = 0.0, ramp: float = 0.0) -> None:
        super().__init__()
        self.selection = selection
        self.dropout = dropout
        self.ascent = ascent
        self.ramp = ramp
        self.progress = 1.0

    def set_progress(self, fraction: float) -> None:
        """Move along the schedules."""
        self.progress = fraction

    def describe(self) -> str:
        """The ratios and the rate of dropout in force."""
        selection, dropout = self._in_force()
        ratios = f"{selection.channel_ratio:.3g} of channels, {selection.column_ratio:.3g} of columns"
        return f"leaves out {ratios} at rate {dropout:.3g}"

    def forward(self, value: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Return the masked map, ``[N, C, H, W] -> [N, C, H, W]``."""
        n, c, h, w = value.shape
        selection, dropout = self._in_force() if self.training else (self.selection, 1.0)
        mask = value.new_ones(1, 1, 1, 1)
        with torch.no_grad():
            judged = value
            if (k := selection.kept_groups(c)) is not None:
                groups = soften(top_k_mask(selection.group_attention(value), k), dropout)
                mask = groups.repeat_interleave(selection.granularity, dim=1).view(n, c, 1, 1)
                if selection.channels_first:
                    judged = value * mask
            if (k := selection.kept_strips(h, w)) is not None:
                strips = soften(top_k_mask(selection.strip_attention(judged), k), dropout)
                mask = mask * strips.repeat_interleave(selection.strip, dim=1).view(n, 1, h, w)
        return value * mask

    def _in_force(self) -> tuple[Selection, float]:
        """Return the selection and the rate of dropout at this point of the training."""
        share, dropout = 1.0, self.dropout
        if self.ramp > 0:
            share, rate = targeted_ramp(self.progress / self.ramp)
            dropout *= rate
        channel_ratio, column_ratio = (
            share * self._ascended(ratio) for ratio in (self.selection.channel_ratio, self.selection.column_ratio)
        )
        return replace(self.selection, channel_ratio=channel_ratio, column_ratio=column_ratio), dropout

    def _ascended(self, ratio: float) -> float:
        steps = math.ceil((ratio - _ASCENT_START) / _ASCENT_STEP - _EPS)
        if self.ascent == 0 or steps <= 0:
            return ratio
        return ascending_ratio(ratio, self.progress, self.ascent / steps)


@register_family
class Antidote(Family):
    """Keep a fixed number of channels and columns, chosen per input by mean activation."""

    name = "antidote"
    kinds = frozenset[SiteKind]({"map"})
    reads_whole_map = True
    waiting_executors = frozenset({"halo"})
    knobs = (
        TARGETED_DROPOUT,
        Gene("ascent", 0.0, low=0.0, high=1.0),
        Gene("ramp", 0.0, low=0.0, high=1.0),
    )

    def unsupported_reason(self, site: Site) -> str | None:
        """Attention ranks what an activation lets through; other values mean nothing by their size."""
        if (reason := super().unsupported_reason(site)) is not None:
            return reason
        return None if site.activated else "no activation stands right before the convolution that reads the map"

    def genes(self, kind: SiteKind) -> tuple[Gene, ...]:
        """``channel_ratio`` and ``column_ratio``: shares left out; ``strip``: columns that stay or go together.

        ``order``: whether columns are judged by all channels, or by the kept ones only. ``granularity``: neighbouring
        channels that stay or go together, by their mean.
        """
        return (
            Gene("channel_ratio", 0.0, low=0.0, high=0.97, prunes=True),
            Gene("column_ratio", 0.0, low=0.0, high=0.97, prunes=True),
            Gene("strip", 1, low=1, high=64),
            Gene("order", "both", choices=("both", "channels_first")),
            GRANULARITY,
        )

    def test_genes(self, kind: SiteKind) -> tuple[Mapping[str, GeneValue], ...]:
        """Channels, alone and in groups, columns, and both in either order."""
        return (
            {"channel_ratio": 0.3},
            {"channel_ratio": 0.5, "granularity": 4},
            {"column_ratio": 0.5},
            {"channel_ratio": 0.5, "column_ratio": 0.25},
            {"channel_ratio": 0.5, "column_ratio": 0.5, "strip": 2, "order": "channels_first", "granularity": 2},
        )

    def fill(self, site: Site, gate: Gate) -> Gate:
        """A ratio too small to leave anything out is none; strips and order matter only where columns go."""
        filled = super().fill(site, gate)
        genes = dict(filled.genes)
        channels, columns = self._counts(site, filled)
        if channels is None:
            genes |= {"channel_ratio": 0.0, "order": "both"}
            genes.pop(GRANULARITY.name, None)
        if columns is None:
            genes |= {"column_ratio": 0.0, "strip": 1, "order": "both"}
        return Gate(self.name, genes)

    def invalid_reason(self, site: Site, gate: Gate) -> str | None:
        """Strips must fill each row, and groups the channels."""
        selection, width = _selection(gate), site.shape[2]
        if width % selection.strip:
            return f"strip={selection.strip} does not divide the map's width of {width}"
        return indivisible_reason(site, gate)

    def is_open(self, site: Site, gate: Gate) -> bool:
        """Two ratios that leave nothing out change nothing."""
        return self._counts(site, gate) == (None, None)

    def build_training_gate(self, site: Site, gate: Gate, dense: DenseParts, knobs: Knobs) -> AttentionMask:
        """Return the mask; it has no weights and works on any trained network."""
        dropout, ascent, ramp = (float(knobs[name]) for name in ("targeted_dropout", "ascent", "ramp"))
        return AttentionMask(_selection(gate), dropout, ascent, ramp)

    def compact(self, site: Site, gate: Gate, trained: TrainingGate, editor: CompactEditor) -> None:
        """Let the consumer gather."""
        executor = editor.executor(site.name) or self.executors(site, gate, batch_size=1)[0]
        selection = _selection(gate)
        gathered = ColumnGatheredConv if executor in COLUMN_EXECUTORS else ChannelGatheredConv
        editor.replace_consumer(site.name, lambda conv: gathered(conv, selection, executor, selection.granularity))

    def executors(self, site: Site, gate: Gate, batch_size: int) -> tuple[str, ...]:
        """Gather per image in one of two ways; where columns go, scatter what is kept or compute what it reaches."""
        if self._counts(site, gate)[1] is None:
            return channel_executors(site.consumer.stride)
        # How many outputs are reached depends on the image.
        return COLUMN_EXECUTORS if batch_size == 1 else COLUMN_EXECUTORS[:1]

    def mac_factors(self, site: Site, gate: Gate, decision: float | None) -> Mapping[str, float]:
        """The consumer keeps the product of both shares, as the paper counts."""
        channels, columns = self._counts(site, gate)
        c, h, w = site.shape
        share = (c if channels is None else channels) / c * (h * w if columns is None else columns) / (h * w)
        return {site.consumer.name: share}

    def _counts(self, site: Site, gate: Gate) -> tuple[int | None, int | None]:
        """Kept channels and columns; None where nothing is left out."""
        selection = _selection(gate)
        strips = selection.kept_strips(*site.shape[1:])
        return selection.kept_channels(site.channels), None if strips is None else strips * selection.strip


def _selection(gate: Gate) -> Selection:
    genes = gate.genes
    return Selection(
        float(genes["channel_ratio"]),
        float(genes["column_ratio"]),
        int(genes["strip"]),
        genes["order"] == "channels_first",
        granularity_of(genes),
    )
