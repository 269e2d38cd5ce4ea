"""Find the places of a traced CNN where gates can stand."""

from autogate.sites.assembling import assemble, attribute
from autogate.sites.find import find_sites
from autogate.sites.graph import activation_key, conv_of, conv_spec, is_add, is_depthwise, layer_text, module_of, region
from autogate.sites.in_place import changes_state
from autogate.sites.layers import is_exact_layer, is_one_of
from autogate.sites.network import BlockNodes, GroupNodes, MapNodes, Member, Network, SiteNodes
from autogate.sites.slicing import slice_channels, width
from autogate.sites.trace_check import output_difference, randomised_copy

__all__ = [
    "BlockNodes",
    "GroupNodes",
    "MapNodes",
    "Member",
    "Network",
    "SiteNodes",
    "activation_key",
    "assemble",
    "attribute",
    "changes_state",
    "conv_of",
    "conv_spec",
    "output_difference",
    "find_sites",
    "is_add",
    "is_depthwise",
    "is_exact_layer",
    "is_one_of",
    "layer_text",
    "module_of",
    "randomised_copy",
    "region",
    "slice_channels",
    "width",
]
