"""``magnitude``: channels removed for good from every layer that holds them, those with the smallest filters first."""

from __future__ import annotations

from autogate.gates.family import DenseParts, Knobs, TrainingGate, largest
from autogate.gates.gene import TARGETED_DROPOUT
from autogate.gates.registry import register_family
from autogate.gates.slices import ChannelMask, SliceFamily, filter_norms
from autogate.policy import Gate
from autogate.records import Site


@register_family
class Magnitude(SliceFamily):
    """Remove the channels with the smallest filters."""

    name = "magnitude"
    knobs = (TARGETED_DROPOUT,)

    def build_training_gate(self, site: Site, gate: Gate, dense: DenseParts, knobs: Knobs) -> TrainingGate:
        """Rank the channels by their filters as they are now."""
        kept = largest(filter_norms(dense), self.kept(site, gate))
        return ChannelMask(dense, kept, float(knobs["targeted_dropout"]))
