"""A traced network with its sites, and the graph nodes that belong to each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import fx, nn

from autogate.records import Site
from autogate.sites.graph import is_depthwise, module_of
from autogate.sites.training_heads import TrainingHeads


@dataclass(frozen=True)
class BlockNodes:
    """Nodes of a block site: ``join`` adds ``entry`` and ``branch``; without a join the unit is plain."""

    entry: str
    branch: str
    join: str | None
    end: str
    inner: tuple[str, ...]


@dataclass(frozen=True)
class MapNodes:
    """Nodes of a map site; ``chain`` runs from after the producer up to the value the consumer reads."""

    producer: str | None
    chain: tuple[str, ...]
    value: str
    consumer: str


@dataclass(frozen=True)
class Member:
    """A layer that holds channels of a site.

    Attributes:
        node: The node that calls it.
        reads: Whether the channels are among its inputs; else they are among its outputs.
        positions: Where they are there.
        channels: For each position, which of the site's channels it holds.
    """

    node: str
    reads: bool
    positions: tuple[int, ...]
    channels: tuple[int, ...]


@dataclass(frozen=True)
class GroupNodes:
    """Layers of a group site: everything that must be cut when one of its channels goes."""

    members: tuple[Member, ...]


SiteNodes = BlockNodes | MapNodes | GroupNodes


@dataclass
class Network:
    """A traced network with its sites.

    Attributes:
        model: The user's network, or a copy with plain layers in place of fused ones that shares its weights.
        graph: Its fx graph, with the shapes of a batch of one in ``meta["shape"]``.
        input_shape: Channels, height and width of one input.
        sites: Sites by name, in the order in which data meets them.
        nodes: Nodes of each site, by site name.
        refused: What looks like a site and is none, by the name that the site would have, and why.
        heads: What runs in training only, if there is anything.
    """

    model: nn.Module
    graph: fx.Graph
    input_shape: tuple[int, int, int]
    sites: dict[str, Site]
    nodes: dict[str, SiteNodes]
    refused: Mapping[str, str] = field(default_factory=dict)
    heads: TrainingHeads | None = None

    def block(self, site: str) -> BlockNodes:
        """Return the nodes of a block site."""
        nodes = self.nodes[site]
        assert isinstance(nodes, BlockNodes)  # noqa: S101 - guarded by the site's kind
        return nodes

    def map(self, site: str) -> MapNodes:
        """Return the nodes of a map site."""
        nodes = self.nodes[site]
        assert isinstance(nodes, MapNodes)  # noqa: S101 - guarded by the site's kind
        return nodes

    @cached_property
    def by_name(self) -> dict[str, fx.Node]:
        """The graph's nodes by name."""
        return {node.name: node for node in self.graph.nodes}

    def members(self, site: str) -> tuple[Member, ...]:
        """Return the layers that hold the channels of a group site, or of a map site with a producer."""
        nodes = self.nodes[site]
        if isinstance(nodes, GroupNodes):
            return nodes.members
        nodes = self.map(site)
        assert nodes.producer is not None  # noqa: S101 - the families that ask need one
        every = tuple(range(self.sites[site].channels))
        weighted = [name for name in nodes.chain if self._has_channels(self.by_name[name])]
        writers = [Member(name, False, every, every) for name in (nodes.producer, *weighted)]
        return (*writers, Member(nodes.consumer, True, every, every))

    def _has_channels(self, node: fx.Node) -> bool:
        module = module_of(node, self.model)
        return isinstance(module, nn.BatchNorm2d) or (isinstance(module, nn.Conv2d) and is_depthwise(module))
