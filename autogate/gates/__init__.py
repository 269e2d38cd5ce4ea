"""Gate families: one file each, and the registry that finds them by name."""

from autogate.gates.family import CompactEditor, DenseParts, Family, Holder, Knobs, Overwriting, TrainingGate
from autogate.gates.gathered_conv import layout_of
from autogate.gates.gene import Gene
from autogate.gates.registry import FAMILIES, brief, get_family, register_family
from autogate.gates.slices import ChannelMask, SliceFamily

__all__ = [
    "ChannelMask",
    "CompactEditor",
    "DenseParts",
    "FAMILIES",
    "Family",
    "Gene",
    "Holder",
    "Knobs",
    "Overwriting",
    "SliceFamily",
    "TrainingGate",
    "brief",
    "get_family",
    "layout_of",
    "register_family",
]
