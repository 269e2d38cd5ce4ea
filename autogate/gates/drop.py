"""``drop``: a block's gate shut for good; the block's input is its result."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from autogate.gates.family import CompactEditor, DenseParts, Family, Knobs, TrainingGate
from autogate.gates.gene import TARGETED_DROPOUT, Gene
from autogate.gates.registry import register_family
from autogate.policy import Gate
from autogate.records import Site, SiteKind


class DropGate(TrainingGate):
    """Shut in evaluation; in training, the block runs with probability ``1 - dropout`` (stochastic depth)."""

    def __init__(self, dropout: float, residual: bool) -> None:
        super().__init__()
        self.dropout = dropout
        self.residual = residual
        self.shut = dropout >= 1

    def forward(self, value: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Return the branch's result ``[N, C, H, W]``, or what stands for a skipped block."""
        if self.training and torch.rand(()) >= self.dropout:
            return value
        return torch.zeros_like(value) if self.residual else context


@register_family
class Drop(Family):
    """Remove whole blocks."""

    name = "drop"
    kinds = frozenset[SiteKind]({"block"})
    knobs = (TARGETED_DROPOUT,)
    is_static = True
    hides_inside = True

    def genes(self, kind: SiteKind) -> tuple[Gene, ...]:
        """A dropped block has no genes."""
        return ()

    def build_training_gate(self, site: Site, gate: Gate, dense: DenseParts, knobs: Knobs) -> DropGate:
        """Return a gate that is shut, or, with targeted dropout below 1, shut at random in training."""
        return DropGate(float(knobs["targeted_dropout"]), site.residual)

    def compact(self, site: Site, gate: Gate, trained: TrainingGate, editor: CompactEditor) -> None:
        """Take the block out."""
        editor.skip_block(site.name)

    def mac_factors(self, site: Site, gate: Gate, decision: float | None) -> Mapping[str, float]:
        """Nothing of the block is left."""
        return {conv.name: 0.0 for conv in site.convs}
