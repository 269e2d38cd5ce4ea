"""Find channels that several layers share: a residual stream, a part of a concatenation, what a linear layer reads.

Torch-Pruning says which layers a channel touches. Whether cutting it out really does what masking does is tried out:
padding between channels, for one, couples layers in a way that a cut does not survive.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from autogate.records import Coupling, Site
from autogate.sites.graph import chw, conv_spec, is_depthwise, module_of
from autogate.sites.layers import is_one_of
from autogate.sites.network import BlockNodes, GroupNodes, Member
from autogate.sites.results import difference
from autogate.sites.trace_check import randomised_copy
from autogate.sites.training_heads import read_in_training
from autogate.system import one_line

# Of results in float64, so that what differs a little is not taken for a rounding error.
_TOLERANCE = 1e-9
_CUTTABLE = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)


@dataclass(frozen=True)
class Found:
    """Group sites with the node that writes them first, and the reasons against those that are none."""

    sites: list[tuple[fx.Node, Site, GroupNodes]]
    refused: Mapping[str, str]


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
        coupled = _Couplings(model, input_shape)
        members, refused = _groups_of_members(coupled, graph, model, calls, set(covered))
    except Exception as error:  # noqa: BLE001 - the library raises many types from its tracing
        reason = f"how its channels are coupled cannot be found out ({one_line(error)})"
        return Found([], {"": reason})
    outside = _written_for_heads(graph, model)
    for root in [root for root, found in members.items() if outside & {m.node for m in found if not m.reads}]:
        refused[root] = "its channels are also read by what runs in training only"
        del members[root]
    for root in set(members) - _survivors(model, input_shape, members, calls, coupled):
        refused[root] = "cutting its channels out changes more than masking them"
        del members[root]
    nodes = {root: calls[root][0] for root in members}
    return Found(
        [(nodes[r], _site(nodes[r], m, graph, model, blocks), GroupNodes(m)) for r, m in members.items()], refused
    )


def _written_for_heads(graph: fx.Graph, model: nn.Module) -> set[str]:
    """Return the nodes that write channels which what runs in training only reads, back to the layers that mix them."""
    found: set[fx.Node] = set()
    todo = read_in_training(graph)
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            module = module_of(node, model)
            mixes = isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and not is_depthwise(module))
            todo += () if mixes else node.all_input_nodes
    return {node.name for node in found}


class _Couplings:
    """Torch-Pruning's dependency graph of a copy of the network, with its modules' paths."""

    def __init__(self, model: nn.Module, input_shape: tuple[int, int, int]) -> None:
        import torch_pruning

        self.model = randomised_copy(model).cpu()
        self.paths = {module: path for path, module in self.model.named_modules()}
        self._prune_outputs = torch_pruning.prune_conv_out_channels
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            self.graph = torch_pruning.DependencyGraph().build_dependency(self.model, torch.ones(1, *input_shape))

    def groups(self) -> Iterable[tuple[str, Any]]:
        """Yield each group with the path of the convolution that writes it first."""
        for group in self.graph.get_all_groups(root_module_types=[nn.Conv2d]):
            yield self.paths[group[0].dep.target.module], group

    def reads(self, dependency: Any) -> bool:
        """Whether the channels are inputs of the dependency's layer."""
        return bool(self.graph.is_in_channel_pruning_fn(dependency.handler))

    def cut(self, root: str, channels: list[int]) -> None:
        """Remove channels of a group from the copy."""
        self.graph.get_pruning_group(self.model.get_submodule(root), self._prune_outputs, channels).prune()


def _groups_of_members(
    coupled: _Couplings, graph: fx.Graph, model: nn.Module, calls: Mapping[str, list[fx.Node]], covered: set[str]
) -> tuple[dict[str, tuple[Member, ...]], dict[str, str]]:
    """Return the members of each group by the path of its first writer, and the reasons against other groups."""
    members: dict[str, tuple[Member, ...]] = {}
    refused: dict[str, str] = {}
    held: dict[tuple[str, bool], set[int]] = defaultdict(set)
    for name, node in ((nodes[0].name, nodes[0]) for nodes in calls.values()):
        if name in covered:
            held[(name, False)] = set(range(node.meta["shape"][1]))
    for first, group in coupled.groups():
        try:
            found = _members(group, coupled, calls)
            root = _root(found, graph, model)
        except _RefusedError as error:
            refused[first] = str(error)
            continue
        writer = calls[root][0]
        height, width = writer.meta["shape"][2:]
        if writer.name in covered or height * width == 1 or not any(member.reads for member in found):
            continue
        if any(held[(member.node, member.reads)] & {*member.positions} for member in found):
            refused[root] = "some of its channels belong to another site"
            continue
        members[root] = tuple(sorted(found, key=lambda member: (member.node != writer.name, member.reads)))
        for member in found:
            held[(member.node, member.reads)] |= {*member.positions}
    return members, refused


def _members(group: Any, coupled: _Couplings, calls: Mapping[str, list[fx.Node]]) -> tuple[Member, ...]:
    found: dict[tuple[str, bool], dict[int, int]] = {}
    for item in group:
        module = item.dep.target.module
        path = coupled.paths.get(module)
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
        if len(calls.get(path, ())) != 1:
            raise _RefusedError(f"{path} is not called exactly once")
        # A depthwise convolution and a normalisation hold a channel on both sides; that is one place.
        one_place = isinstance(module, nn.BatchNorm2d) or (isinstance(module, nn.Conv2d) and module.groups > 1)
        reads = not one_place and coupled.reads(item.dep)
        found.setdefault((path, reads), {}).update(zip(item.idxs, item.root_idxs, strict=True))
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


def _survivors(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    groups: Mapping[str, tuple[Member, ...]],
    calls: Mapping[str, list[fx.Node]],
    coupled: _Couplings,
) -> set[str]:
    """Return the groups whose channels can be cut out with the same result as masking them.

    All are tried at once, and those of a set that fails in halves; ``coupled`` is used up.
    """
    if not groups:
        return set()
    if _cut_as_masked(model, input_shape, groups, calls, coupled):
        return set(groups)
    names = list(groups)
    halves = (names[: len(names) // 2], names[len(names) // 2 :]) if len(names) > 1 else ()
    left: set[str] = set()
    for half in halves:
        part = {root: groups[root] for root in half}
        left |= _survivors(model, input_shape, part, calls, _Couplings(model, input_shape))
    return left


def _cut_as_masked(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    groups: Mapping[str, tuple[Member, ...]],
    calls: Mapping[str, list[fx.Node]],
    coupled: _Couplings,
) -> bool:
    """Whether cutting out a random half of each group gives what masking it gives, for every reader."""
    masked = randomised_copy(model).cpu()
    targets = {nodes[0].name: path for path, nodes in calls.items()}
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, *input_shape, generator=generator).double()
    try:
        for root, members in groups.items():
            conv = masked.get_submodule(root)
            assert isinstance(conv, nn.Conv2d)  # noqa: S101 - that is what was asked for
            gone = torch.randperm(conv.out_channels, generator=generator)[: conv.out_channels // 2].tolist()
            coupled.cut(root, sorted(gone))
            for member in members:
                if member.reads:
                    layer = masked.get_submodule(targets[member.node])
                    at = [p for p, c in zip(member.positions, member.channels, strict=True) if c in gone]
                    layer.weight.data[:, at] = 0  # type: ignore[operator]
        with torch.no_grad():
            expected = masked.double()(x)
            del masked
            found = coupled.model.double()(x)
    except Exception:  # noqa: BLE001 - a network that no longer runs has not survived
        return False
    return difference(found, expected, _TOLERANCE) is None


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
