"""Find the places of a traced CNN where gates can stand."""

from autogate.sites.find import BlockNodes, MapNodes, Network, find_sites

__all__ = ["BlockNodes", "MapNodes", "Network", "find_sites"]
