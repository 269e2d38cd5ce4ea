"""Name what looks like a site and is none, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import fx, nn

from autogate.sites.graph import chw, is_add, module_of, region, with_ancestors
from autogate.sites.network import BlockNodes, Network
from autogate.sites.training_heads import training_only

_IN_TRAINING = "it runs in training only"


def refusals(
    network: Network, groups: Mapping[str, str], coupled: Mapping[str, str], closed: Mapping[str, str]
) -> dict[str, str]:
    """Return the reasons against what is no site, by the name that the site would have.

    Args:
        network: The traced network with its sites.
        groups: Reasons against groups of channels, by the convolution that writes them first.
        coupled: For each layer that writes channels, by path, the one that writes them first.
        closed: Reasons why modules could not be opened.
    """
    found = {f"block:{path}": f"it is called as a whole: {reason}" for path, reason in closed.items()}
    joins = {site.join for site in network.nodes.values() if isinstance(site, BlockNodes)}
    heads = training_only(network.graph)
    for join in network.graph.nodes:
        if join in heads:
            continue
        if is_add(join) and join.name not in joins and (reason := _against_block(join, network.model)):
            found.setdefault(f"block:{_owner(join) or join.name}", reason)
    found |= {f"group:{first}": reason for first, reason in groups.items()}
    held = {conv.name for site in network.sites.values() for conv in site.convs} | set(groups)
    held |= {coupling.name for site in network.sites.values() for coupling in site.couplings}
    for node in network.graph.nodes:
        path = str(node.target)
        if path not in held and isinstance(module_of(node, network.model), nn.Conv2d):
            found[f"map:{path}"] = _IN_TRAINING if node in heads else _against_map(path, coupled)
    return found


def _against_map(path: str, coupled: Mapping[str, str]) -> str:
    first = coupled.get(path)
    if first is None:
        return "what its channels are coupled with cannot be told"
    if first == path:
        return "what reads its channels is no convolution or linear layer that could do without some"
    return f"its channels are coupled with those of {first}, which are no site"


def _against_block(join: fx.Node, model: nn.Module) -> str | None:
    """Return why a sum of two feature maps is no residual unit; None if it does not look like one."""
    left, right = join.all_input_nodes
    if chw(left) is None or not chw(left) == chw(right) == chw(join):
        return None
    before = {node: with_ancestors(node.all_input_nodes) for node in (left, right)}
    for entry, branch in ((left, right), (right, left)):
        if entry not in before[branch]:
            continue
        if len(branch.users) != 1:
            reader = next(user for user in branch.users if user is not join)
            return f"what its branch computes is also read by {_name(reader)}"
        inner = region(entry, branch)
        if inner is not None:
            return None if _has_conv(inner, model) else "its branch has no convolution"
        return _leak(entry, branch, before[branch])
    # The shorter of both ways is the shortcut.
    shortcut = min((left, right), key=lambda node: len(before[node] - before[right if node is left else left]))
    return f"its shortcut is not the identity: {_name(_last_layer(shortcut))} stands on it"


def _leak(entry: fx.Node, branch: fx.Node, before: set[fx.Node]) -> str:
    """Return which tensor crosses the edge of a branch."""
    after = {branch, *(node for node in before if node is not entry and entry in with_ancestors(node.all_input_nodes))}
    for node in after:
        for source in node.all_input_nodes:
            if source is not entry and source not in after and source.op != "get_attr":
                return f"its branch also reads {_name(source)}, which is outside of it"
        for user in node.users:
            if node is not branch and user not in after:
                return f"{_name(node)} in its branch is also read outside of it, by {_name(user)}"
    return "its branch reads or is read by something outside of it"


def _chain_before(node: fx.Node) -> Iterator[fx.Node]:
    """Yield what leads to a node without branching."""
    while len(node.all_input_nodes) == 1 and len(node.all_input_nodes[0].users) == 1:
        node = node.all_input_nodes[0]
        yield node


def _last_layer(node: fx.Node) -> fx.Node:
    return next((one for one in (node, *_chain_before(node)) if one.op == "call_module"), node)


def _has_conv(nodes: Iterable[fx.Node], model: nn.Module) -> bool:
    return any(isinstance(module_of(node, model), nn.Conv2d) for node in nodes)


def _name(node: fx.Node) -> str:
    """Return what to call a node: the layer's path, or the module whose code asks for the operation."""
    if node.op == "call_module":
        return str(node.target)
    owner = _owner(node)
    return f"{node.name} of {owner}" if owner else node.name


def _owner(node: fx.Node) -> str:
    stack = [str(entry[0]) for entry in node.meta.get("nn_module_stack", {}).values()]
    paths = [path for path in stack if node.op != "call_module" or path != node.target]
    return paths[-1] if paths else ""
