"""``spaced``: keep channels at equal distances, whatever their filters are."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from autogate.gates import (
    CompactEditor,
    DenseParts,
    Family,
    Gene,
    Knobs,
    TrainingGate,
    register_family,
)
from autogate.policy import Gate, GeneValue
from autogate.records import Site, SiteKind


class SpacedMask(TrainingGate):
    """Zeroes all channels of a map but ``kept``, sorted, int64 ``[k]``."""

    kept: torch.Tensor

    def __init__(self, channels: int, kept: torch.Tensor) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("kept", kept)

    def forward(self, value: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Return the map ``[N, C, H, W]`` with the other channels at zero."""
        mask = value.new_zeros(1, self.channels, 1, 1).index_fill_(1, self.kept, 1.0)
        return value * mask


@register_family
class Spaced(Family):
    """Keep every ``step``-th channel of a map."""

    name = "spaced"
    kinds = frozenset[SiteKind]({"map"})
    is_static = True

    def genes(self, kind: SiteKind) -> tuple[Gene, ...]:
        """``step``: one channel of so many stays."""
        return (Gene("step", 2, low=1, high=8),)

    def test_genes(self, kind: SiteKind) -> tuple[Mapping[str, GeneValue], ...]:
        """Two steps."""
        return ({"step": 2}, {"step": 3})

    def unsupported_reason(self, site: Site) -> str | None:
        """A map needs a producer whose filters can be removed."""
        if (reason := super().unsupported_reason(site)) is not None:
            return reason
        return None if site.has_producer else "no single convolution writes the map"

    def is_open(self, site: Site, gate: Gate) -> bool:
        """A step of one keeps all."""
        return gate.genes["step"] == 1

    def build_training_gate(self, site: Site, gate: Gate, dense: DenseParts, knobs: Knobs) -> TrainingGate:
        """Return the mask."""
        return SpacedMask(site.channels, torch.arange(0, site.channels, int(gate.genes["step"])))

    def compact(self, site: Site, gate: Gate, trained: TrainingGate, editor: CompactEditor) -> None:
        """Cut the other channels out."""
        editor.keep_channels(site.name, trained.kept)  # type: ignore[arg-type]

    def mac_factors(self, site: Site, gate: Gate, decision: float | None) -> Mapping[str, float]:
        """Every layer shrinks with the channels."""
        kept = -(-site.channels // int(gate.genes["step"]))
        return dict.fromkeys((conv.name for conv in site.convs), kept / site.channels)
