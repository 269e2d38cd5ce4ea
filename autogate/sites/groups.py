"""Find channels that several layers share: a residual stream, a part of a concatenation, what a linear layer reads.

Torch-Pruning says which layers a channel touches. Whether cutting it out really does what masking does is tried out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import fx, nn

from autogate.records import Coupling, Site
from autogate.sites.couplings import Couplings, Place
from autogate.sites.cut_check import survivors
from autogate.sites.graph import TIED, chw, conv_spec, is_depthwise, module_of
from autogate.sites.layers import is_one_of
from autogate.sites.network import BlockNodes, GroupNodes, Member
from autogate.sites.training_heads import read_in_training
from autogate.system import one_line

_READ_IN_TRAINING = "its channels are also read by what runs in training only"
_NOT_AS_MASKED = "cutting its channels out changes more than masking them"
_NOT_RUNNING = "without some of its channels the network does not run: its code counts on their number"
_CUTTABLE = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)


@dataclass(frozen=True)
class Found:
    """Group sites with the node that writes them first, and the reasons against those that are none.

    Attributes:
        sites: First writer, site and nodes.
        refused: Reasons by the path of the convolution that writes the channels first.
        coupled: For each layer that writes channels, by path, the one that writes them first.
    """

    sites: list[tuple[fx.Node, Site, GroupNodes]]
    refused: Mapping[str, str]
    coupled: Mapping[str, str]


class _RefusedError(Exception):
    """Why a group cannot be cut."""


def find_groups(
    model: nn.Module,
    graph: fx.Graph,
    input_shape: tuple[int, int, int],
    covered: Iterable[str],
    blocks: Mapping[str, BlockNodes],
) -> Found:
    """Find the groups of coupled channels.

    Args:
        model: The network.
        graph: Its graph, with shapes.
        input_shape: Channels, height and width of one input.
        covered: Nodes of convolutions whose channels are a map site already.
        blocks: Nodes of the residual units (with a join) and of the plain ones, by site.
    """
    calls: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            calls.setdefault(str(node.target), []).append(node)
    try:
        coupled = [*Couplings(model, input_shape).groups()]
        members, refused = _groups_of_members(coupled, graph, model, calls, set(covered))
    except Exception as error:  # noqa: BLE001 - the library raises many types from its tracing
        reason = f"how its channels are coupled cannot be found out ({one_line(error)})"
        return Found([], {"": reason}, {})
    outside = _written_for_heads(graph, model)
    for root in [root for root, found in members.items() if outside & {m.node for m in found if not m.reads}]:
        refused[root] = _READ_IN_TRAINING
        del members[root]
    equal, running = survivors(model, graph, input_shape, members)
    for root in set(members) - equal:
        refused[root] = _NOT_AS_MASKED if root in running else _NOT_RUNNING
        del members[root]
    nodes = {root: calls[root][0] for root in members}
    found = [(nodes[r], _site(nodes[r], m, graph, model, blocks), GroupNodes(m)) for r, m in members.items()]
    # What treats channels apart holds them on both sides.
    firsts = {
        p.path: first for first, places in coupled for p in places if p.path and not (p.reads and _mixes(p.module))
    }
    return Found(found, refused, firsts)


def _written_for_heads(graph: fx.Graph, model: nn.Module) -> set[str]:
    """Return the nodes that write channels which what runs in training only reads, back to the layers that mix them."""
    found: set[fx.Node] = set()
    todo = list(read_in_training(graph))
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += () if _mixes(module_of(node, model)) else node.all_input_nodes
    return {node.name for node in found}


def _mixes(module: nn.Module | None) -> bool:
    """Whether each channel that a layer writes depends on all that it reads."""
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and not is_depthwise(module))


def _groups_of_members(
    coupled: list[tuple[str, list[Place]]],
    graph: fx.Graph,
    model: nn.Module,
    calls: Mapping[str, list[fx.Node]],
    covered: set[str],
) -> tuple[dict[str, tuple[Member, ...]], dict[str, str]]:
    """Return the members of each group by the path of its first writer, and the reasons against other groups."""
    members: dict[str, tuple[Member, ...]] = {}
    refused: dict[str, str] = {}
    held: dict[tuple[str, bool], set[int]] = defaultdict(set)
    for name, node in ((nodes[0].name, nodes[0]) for nodes in calls.values()):
        if name in covered:
            held[(name, False)] = set(range(node.meta["shape"][1]))
    for first, places in coupled:
        try:
            found = _members(places, calls)
            root = _root(found, graph, model)
        except _RefusedError as error:
            refused[first] = str(error)
            continue
        writer = calls[root][0]
        height, width = writer.meta["shape"][2:]
        if writer.name in covered:
            continue
        if height * width == 1:
            refused[root] = "what it writes is one pixel large"
            continue
        if not any(member.reads for member in found):
            refused[root] = "no layer reads its channels"
            continue
        if any(held[(member.node, member.reads)] & {*member.positions} for member in found):
            refused[root] = "some of its channels belong to another site"
            continue
        members[root] = tuple(sorted(found, key=lambda member: (member.node != writer.name, member.reads)))
        for member in found:
            held[(member.node, member.reads)] |= {*member.positions}
    return members, refused


def _members(places: list[Place], calls: Mapping[str, list[fx.Node]]) -> tuple[Member, ...]:
    found: dict[tuple[str, bool], dict[int, int]] = {}
    for place in places:
        module, path = place.module, place.path
        if path is None:
            if isinstance(module, nn.Parameter):
                raise _RefusedError("one of its parameters holds a value for each channel")
            continue
        if isinstance(module, nn.Conv2d) and module.groups > 1 and not is_depthwise(module):
            raise _RefusedError(f"{path} convolves groups of channels")
        if isinstance(module, nn.Conv2d) and (module.padding_mode != "zeros" or isinstance(module.padding, str)):
            raise _RefusedError(f"{path} pads in another way than with zeros of a given number")
        if not is_one_of(module, _CUTTABLE):
            detail = ", a subclass with another forward pass" if isinstance(module, _CUTTABLE) else ""
            raise _RefusedError(f"{path} is a {type(module).__name__}{detail}")
        if path not in calls:
            raise _RefusedError(f"{path} is inside of a module that is called as a whole")
        if len(calls[path]) != 1:
            raise _RefusedError(f"{path} is not called exactly once")
        if TIED in calls[path][0].meta:
            raise _RefusedError(f"{path} has the same weights as {calls[path][0].meta[TIED]}")
        # A depthwise convolution and a normalisation hold a channel on both sides; that is one place.
        one_place = isinstance(module, nn.BatchNorm2d) or (isinstance(module, nn.Conv2d) and module.groups > 1)
        found.setdefault((path, place.reads and not one_place), {}).update(place.channels)
    return tuple(
        Member(calls[path][0].name, reads, tuple(places), tuple(places.values()))
        for (path, reads), places in ((key, dict(sorted(at.items()))) for key, at in found.items())
    )


def _root(members: tuple[Member, ...], graph: fx.Graph, model: nn.Module) -> str:
    """Return the first convolution whose outputs are the group's channels in order."""
    every = tuple(sorted({channel for member in members for channel in member.channels}))
    writers = {
        member.node: member for member in members if not member.reads and member.positions == member.channels == every
    }
    for node in graph.nodes:
        layer = model.get_submodule(str(node.target)) if node.name in writers else None
        if isinstance(layer, nn.Conv2d) and layer.groups == 1:
            if len(writers[node.name].positions) < layer.out_channels:
                raise _RefusedError(f"{node.target} also writes other channels")
            return str(node.target)
    raise _RefusedError("no single convolution writes all of the channels")


def _site(
    root: fx.Node,
    members: tuple[Member, ...],
    graph: fx.Graph,
    model: nn.Module,
    blocks: Mapping[str, BlockNodes],
) -> Site:
    shape = chw(root)
    assert shape is not None  # noqa: S101 - a convolution's result is a feature map
    by_name = {node.name: node for node in graph.nodes}
    shares: dict[str, dict[bool, float]] = {}
    for member in members:
        layer = model.get_submodule(str(by_name[member.node].target))
        if isinstance(layer, nn.Conv2d):
            width = layer.in_channels if member.reads else layer.out_channels
        elif isinstance(layer, nn.Linear):
            width = layer.in_features if member.reads else layer.out_features
        else:
            continue
        shares.setdefault(member.node, {})[member.reads] = len(member.positions) / width
    convs, couplings, macs = [], [], 0.0
    for name, share in shares.items():
        node = by_name[name]
        layer = model.get_submodule(str(node.target))
        if isinstance(layer, nn.Conv2d):
            convs.append(conv_spec(node, layer))
            layer_macs = convs[-1].macs
        else:
            assert isinstance(layer, nn.Linear)  # noqa: S101 - the only other layer with MACs
            layer_macs = layer.in_features * layer.out_features
        coupling = Coupling(str(node.target), share.get(True, 0.0), share.get(False, 0.0))
        couplings.append(coupling)
        macs += layer_macs * (1 - coupling.left(0.0))
    names = {member.node for member in members}
    inside, along = [], []
    for site, block in blocks.items():
        here = names & set(block.inner)
        if here == names or (here and block.join is None):
            inside.append(site)
        elif here:
            along.append(site)
    return Site(
        f"group:{root.target}",
        "group",
        "",
        shape,
        round(macs),
        tuple(convs),
        has_producer=True,
        plain_chain=False,
        inside=tuple(inside),
        along=tuple(along),
        couplings=tuple(couplings),
    )
