"""``magnitude``: channels of an inner map removed for good, those with the smallest filters first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from autogate.gates.family import CompactEditor, DenseParts, Family, Knobs, TrainingGate, kept_count, largest, soften
from autogate.gates.gene import TARGETED_DROPOUT, Gene
from autogate.policy import Gate
from autogate.records import Site, SiteKind


def squared_filter_norms(producer: nn.Conv2d, norm: nn.BatchNorm2d | None) -> torch.Tensor:
    """Return the squared L2 norm of each filter, with the scale ``|gamma| / sigma`` that follows it, ``[C]``."""
    squared = producer.weight.square().sum(dim=(1, 2, 3))
    if norm is not None and norm.running_var is not None:
        squared = squared / (norm.running_var + norm.eps)
    return squared * norm.weight.square() if norm is not None and norm.affine else squared


def filter_norms(dense: DenseParts) -> torch.Tensor:
    """Return the L2 norm of each of the producer's filters, ``[C]``.

    Batch normalisation makes a filter's own norm arbitrary, so its scale is counted in.
    """
    assert dense.producer is not None  # noqa: S101 - fits() asks for a producer
    return squared_filter_norms(dense.producer, dense.norm).detach().sqrt()


class ChannelMask(TrainingGate):
    """Zeroes fixed channels of a map.

    Attributes:
        kept: The channels that stay, sorted, int64 ``[k]``.
    """

    kept: torch.Tensor

    def __init__(self, kept: torch.Tensor, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.register_buffer("kept", kept)

    def forward(self, value: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Return the map ``[N, C, H, W]`` with the removed channels at zero."""
        mask = value.new_zeros(1, value.shape[1], 1, 1).index_fill_(1, self.kept, 1.0)
        if self.training and self.dropout < 1:
            mask = soften(mask.expand(value.shape[0], -1, 1, 1), self.dropout)
        return value * mask


class Magnitude(Family):
    """Remove the channels with the smallest filters."""

    name = "magnitude"
    kinds = frozenset[SiteKind]({"map"})
    knobs: ClassVar[tuple[Gene, ...]] = (TARGETED_DROPOUT,)
    is_static = True

    def genes(self, kind: SiteKind) -> tuple[Gene, ...]:
        """``ratio``: share of the channels that is removed."""
        return (Gene("ratio", 0.5, low=0.0, high=0.97, prunes=True),)

    def fits(self, site: Site) -> str | None:
        """The map needs a producer whose filters can be removed."""
        if (reason := super().fits(site)) is not None:
            return reason
        return None if site.has_producer else "no single convolution writes the map"

    def runs_as(self, gate: Gate) -> Gate:
        """As any slice of so many channels, however they were found."""
        return Gate(Magnitude.name, gate.genes)

    def is_open(self, site: Site, gate: Gate) -> bool:
        """A ratio that removes no channel changes nothing."""
        return kept_count(site.channels, float(gate.genes["ratio"])) == site.channels

    def attach(self, site: Site, gate: Gate, dense: DenseParts, knobs: Knobs) -> TrainingGate:
        """Rank the channels by their filters as they are now."""
        k = kept_count(site.channels, float(gate.genes["ratio"]))
        return ChannelMask(largest(filter_norms(dense), k), float(knobs["targeted_dropout"]))

    def compact(self, site: Site, gate: Gate, trained: TrainingGate, editor: CompactEditor) -> None:
        """Cut the removed channels out of every weight that touches the map."""
        assert isinstance(trained, ChannelMask)  # noqa: S101 - attach() made it
        editor.keep_channels(site.name, trained.kept)

    def mac_factors(self, site: Site, gate: Gate, decision: float | None) -> Mapping[str, float]:
        """Producer and consumer shrink with the map."""
        share = kept_count(site.channels, float(gate.genes["ratio"])) / site.channels
        return {conv.name: share for conv in site.convs}
