"""Find the places of a traced CNN where gates can stand."""

from autogate.sites.exact_layer import is_one_of, is_plain
from autogate.sites.find import find_sites
from autogate.sites.graph import activation_key, conv_of, conv_spec, is_add, is_depthwise, layer_text, module_of, region
from autogate.sites.in_place import changes_state
from autogate.sites.network import BlockNodes, GroupNodes, MapNodes, Member, Network, SiteNodes
from autogate.sites.trace_check import difference, lively_copy

__all__ = [
    "BlockNodes",
    "GroupNodes",
    "MapNodes",
    "Member",
    "Network",
    "SiteNodes",
    "activation_key",
    "changes_state",
    "conv_of",
    "conv_spec",
    "difference",
    "find_sites",
    "is_add",
    "is_depthwise",
    "is_one_of",
    "is_plain",
    "layer_text",
    "lively_copy",
    "module_of",
    "region",
]
