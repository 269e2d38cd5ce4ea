"""Find the places of a traced CNN where gates can stand."""

from autogate.sites.find import find_sites
from autogate.sites.network import BlockNodes, GroupNodes, MapNodes, Member, Network

__all__ = ["BlockNodes", "GroupNodes", "MapNodes", "Member", "Network", "find_sites"]
