"""Find the places of a traced CNN where gates can stand."""

from autogate.sites.assembling import assemble, attribute
from autogate.sites.find import find_sites
from autogate.sites.graph import activation_key, conv_of, conv_spec, is_add, is_depthwise, layer_text, module_of, region
from autogate.sites.in_place import changes_state
from autogate.sites.layers import is_exact_layer, is_one_of
from autogate.sites.network import BlockNodes, GroupNodes, MapNodes, Member, Network, SiteNodes
from autogate.sites.results import difference, tensors_of
from autogate.sites.slicing import slice_channels, width
from autogate.sites.trace import modes_kept
from autogate.sites.trace_check import output_difference, randomised_copy
from autogate.sites.training_heads import TrainingHeads

__all__ = [
    "BlockNodes",
    "GroupNodes",
    "MapNodes",
    "Member",
    "Network",
    "SiteNodes",
    "TrainingHeads",
    "activation_key",
    "assemble",
    "attribute",
    "changes_state",
    "conv_of",
    "conv_spec",
    "difference",
    "find_sites",
    "is_add",
    "is_depthwise",
    "is_exact_layer",
    "is_one_of",
    "layer_text",
    "modes_kept",
    "module_of",
    "output_difference",
    "randomised_copy",
    "region",
    "slice_channels",
    "tensors_of",
    "width",
]
