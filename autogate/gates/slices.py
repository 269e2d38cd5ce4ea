"""Slices: channels removed for good from every layer that holds them; what families share that differ in the choice."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from autogate.gates.family import (
    CompactEditor,
    DenseParts,
    Family,
    Holder,
    TrainingGate,
    kept_count,
    nearest_multiple,
    soften,
)
from autogate.gates.gene import Gene
from autogate.policy import Gate, GeneValue
from autogate.records import Site, SiteKind


def squared_filter_norms(dense: DenseParts, *, folded: bool = True) -> torch.Tensor:
    """Return the squared L2 norm of the filters that write each of the site's channels, ``[C]``.

    Batch normalisation makes a filter's own norm arbitrary; ``folded`` counts its scale ``|gamma| / sigma`` in.
    """
    total = dense.holders[0].layer.weight.new_zeros(len(dense.holders[0].channels))
    for holder in dense.holders:
        if not holder.reads:
            squared, norm = holder.layer.weight.square().flatten(1).sum(dim=1), holder.norm
            if folded and norm is not None and norm.running_var is not None:
                squared = squared / (norm.running_var + norm.eps)
            if folded and norm is not None and norm.affine:
                squared = squared * norm.weight.square()
            total = _added(total, holder, squared)
    return total


def squared_reader_norms(dense: DenseParts) -> torch.Tensor:
    """Return the squared L2 norm of the weights that read each of the site's channels, ``[C]``."""
    total = dense.holders[0].layer.weight.new_zeros(len(dense.holders[0].channels))
    for holder in dense.holders:
        if holder.reads:
            total = _added(total, holder, holder.layer.weight.square().transpose(0, 1).flatten(1).sum(dim=1))
    return total


def _added(total: torch.Tensor, holder: Holder, values: torch.Tensor) -> torch.Tensor:
    positions, channels = holder.positions.to(total.device), holder.channels.to(total.device)
    return total.index_add(0, channels, values[positions])


def filter_norms(dense: DenseParts) -> torch.Tensor:
    """Return the L2 norm of the filters that write each of the site's channels, ``[C]``."""
    return squared_filter_norms(dense).detach().sqrt()


class ChannelMask(TrainingGate):
    """Zeroes fixed channels of a map or group, wherever they are read.

    Args:
        dense: The layers that hold the channels.
        kept: The channels that stay, sorted, int64 ``[k]``.
        dropout: Probability with which a training step drops a channel that is to go.
    """

    kept: torch.Tensor

    def __init__(self, dense: DenseParts, kept: torch.Tensor, dropout: float) -> None:
        super().__init__()
        self.dense = dense
        self.dropout = dropout
        self.register_buffer("kept", kept)
        for i, held in enumerate(dense.holders):
            # The network's structure is no state.
            self.register_buffer(f"positions{i}", held.positions, persistent=False)
            self.register_buffer(f"channels{i}", held.channels, persistent=False)

    def describe(self) -> str:
        """How many channels stay."""
        return f"{len(self.kept)} of {len(self.dense.holders[0].channels)} channels"

    def forward(self, value: torch.Tensor, context: torch.Tensor, holder: int | None = None) -> torch.Tensor:
        """Return the map, or what a group's holder reads, ``[N, C, ...]`` with the removed channels at zero."""
        mask = self._mask(value, holder)
        if self.training and self.dropout < 1:
            mask = soften(mask.expand(value.shape[0], -1), self.dropout)
        return value * mask.view(*mask.shape, *[1] * (value.ndim - 2))

    def _mask(self, value: torch.Tensor, holder: int | None) -> torch.Tensor:
        stays = value.new_zeros(1, len(self.dense.holders[0].channels)).index_fill_(1, self.kept, 1.0)
        if holder is None:
            return stays
        positions, channels = self.get_buffer(f"positions{holder}"), self.get_buffer(f"channels{holder}")
        return value.new_ones(1, value.shape[1]).index_copy_(1, positions, stays[:, channels])


_PROFILED_AS = "magnitude"


class SliceFamily(Family):
    """A family whose compact form is the network with fewer channels; a subclass says which ones stay."""

    kinds = frozenset[SiteKind]({"map", "group"})
    is_static = True

    def genes(self, kind: SiteKind) -> tuple[Gene, ...]:
        """``ratio``: share of the channels that is removed."""
        return (Gene("ratio", 0.5, low=0.0, high=0.97, prunes=True),)

    def test_genes(self, kind: SiteKind) -> tuple[Mapping[str, GeneValue], ...]:
        """Two shares, one of which leaves a part of a channel."""
        return ({"ratio": 0.5}, {"ratio": 0.3})

    def unsupported_reason(self, site: Site) -> str | None:
        """A map needs a producer whose filters can be removed."""
        if (reason := super().unsupported_reason(site)) is not None:
            return reason
        return None if site.has_producer else "no single convolution writes the map"

    def aligned(self, site: Site, gate: Gate, step: int) -> Gate:
        """Keep the nearest number of channels that is a multiple of ``step``."""
        kept = nearest_multiple(self.kept(site, gate), step, site.channels)
        if kept == self.kept(site, gate):
            return gate
        return Gate(gate.family, {**gate.genes, "ratio": (site.channels - kept) / site.channels})

    def profile_alias(self, gate: Gate) -> Gate:
        """As any slice of so many channels, however they were found."""
        return Gate(_PROFILED_AS, gate.genes)

    def is_open(self, site: Site, gate: Gate) -> bool:
        """A ratio that removes no channel changes nothing."""
        return self.kept(site, gate) == site.channels

    def kept(self, site: Site, gate: Gate) -> int:
        """Return the number of channels that stay."""
        return kept_count(site.channels, float(gate.genes["ratio"]))

    def compact(self, site: Site, gate: Gate, trained: TrainingGate, editor: CompactEditor) -> None:
        """Cut the removed channels out of every weight that touches them."""
        assert isinstance(trained, ChannelMask)  # noqa: S101 - build_training_gate() made it
        editor.keep_channels(site.name, trained.kept)

    def mac_factors(self, site: Site, gate: Gate, decision: float | None) -> Mapping[str, float]:
        """Every layer shrinks with the channels it holds."""
        if site.kind == "group":
            return {}
        return dict.fromkeys((conv.name for conv in site.convs), self.kept_share(site, gate))

    def kept_share(self, site: Site, gate: Gate) -> float:
        """The kept channels."""
        return self.kept(site, gate) / site.channels
