"""Find the sites of a network from its graph.

Four patterns are looked for: a residual unit whose shortcut is the identity, a plain convolution-activation unit that
keeps its input's shape, a feature map that exactly one convolution reads, and channels that several layers
share. Class names play no part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import fx, nn

from autogate.errors import ModelError
from autogate.records import ConvSpec, Site
from autogate.sites.graph import (
    chw,
    conv_of,
    conv_spec,
    is_activation,
    is_add,
    is_depthwise,
    is_trunk,
    keeps_channels_apart,
    mark_tied,
    module_of,
    region,
)
from autogate.sites.groups import find_groups
from autogate.sites.in_place import drop_unread, make_out_of_place
from autogate.sites.layers import check_network, is_exact_layer
from autogate.sites.network import BlockNodes, MapNodes, Network, SiteNodes
from autogate.sites.plain import plain_copy
from autogate.sites.refusals import refusals
from autogate.sites.trace import buffers_kept, modes_kept, traced
from autogate.sites.trace_check import check_trace, output_difference
from autogate.sites.training_heads import result_in_training, split_heads, training_only

# Convolutions that a stem has at most.
_STEM_CONVS = 3


def find_sites(model: nn.Module, input_shape: tuple[int, int, int]) -> Network:
    """Trace ``model`` and find every site in it.

    Layers of subclasses that fuse or compute something are made plain first, on a copy that shares the weights
    (:func:`~autogate.sites.plain.plain_copy`); the result's ``model`` then is that copy.

    Args:
        model: A network that takes one image batch, float32 ``[N, C, H, W]``.
        input_shape: Channels, height and width of one input.

    Raises:
        ModelError: If the network cannot be traced, its trace computes something else, or no gate fits anywhere; names
            module and reason.
    """
    check_network(model, input_shape)
    with buffers_kept(model):
        return _found(model, input_shape)


def _found(model: nn.Module, input_shape: tuple[int, int, int]) -> Network:
    model, graph, closed = _traced(model, input_shape)
    make_out_of_place(graph, model)
    drop_unread(graph, result_in_training(graph))
    mark_tied(graph, model)
    check_trace(model, graph, input_shape)
    heads = training_only(graph)
    evaluated = [node for node in graph.nodes if node not in heads]
    found: list[tuple[fx.Node, Site, SiteNodes]] = [*_blocks(evaluated, model), *_maps(evaluated, model)]
    covered = {nodes.producer for _, _, nodes in found if isinstance(nodes, MapNodes) and nodes.producer}
    blocks = {site.name: nodes for _, site, nodes in found if isinstance(nodes, BlockNodes)}
    groups = find_groups(model, graph, input_shape, covered, blocks)
    found += groups.sites
    if not found and closed:
        path, reason = next(iter(closed.items()))
        raise ModelError(f"{type(model).__name__} shows no site for a gate: cannot trace module {path!r}: {reason}")
    if not found:
        raise ModelError(
            f"{type(model).__name__} has no site for a gate: it has no residual unit with an identity shortcut, no "
            "shape-preserving convolution unit, and no feature map whose channels can be removed"
        )
    order = {node: i for i, node in enumerate(evaluated)}
    found.sort(key=lambda item: (order[item[0]], item[1].kind))
    stages = _stages(site for _, site, _ in found)
    indices = _indices(evaluated, model, [(site, nodes) for _, site, nodes in found if isinstance(nodes, BlockNodes)])
    sites: dict[str, Site] = {}
    for _, site, nodes in found:
        inside = site.inside
        if isinstance(nodes, MapNodes):
            inside = tuple(name for name, block in blocks.items() if {nodes.producer, nodes.consumer} & {*block.inner})
        sites[site.name] = replace(site, stage=stages[site.name], inside=inside, index=indices.get(site.name, 0))
    nodes_of = {site.name: nodes for _, site, nodes in found}
    network = Network(model, graph, input_shape, sites, nodes_of)
    refused = refusals(network, groups.refused, groups.coupled, closed)
    return replace(network, refused=refused, heads=split_heads(graph))


def _traced(model: nn.Module, input_shape: tuple[int, int, int]) -> tuple[nn.Module, fx.Graph, dict[str, str]]:
    """Trace the network with plain layers in place of fused ones, or as it is where that does not work."""
    plain = plain_copy(model, input_shape)
    if plain is not model:
        with modes_kept(model), modes_kept(plain):
            model.eval()
            plain.eval()
            try:
                if output_difference(plain, model, input_shape) is None:
                    return plain, *traced(plain, input_shape)
            except Exception:  # noqa: BLE001, S110 - of any code of the user's; what is wrong shows below
                pass
    return model, *traced(model, input_shape)


def _stages(sites: Iterator[Site]) -> dict[str, str]:
    """Number the resolutions in order of appearance; that is what "stage" means for any CNN."""
    numbers: dict[tuple[int, int], int] = {}
    return {site.name: f"stage{numbers.setdefault(site.shape[1:], len(numbers) + 1)}" for site in sites}


def _indices(steps: Sequence[fx.Node], model: nn.Module, blocks: list[tuple[Site, BlockNodes]]) -> dict[str, int]:
    """Number the blocks of equal width and resolution, those that are no sites included.

    Everything before the first residual site, if it has convolutions, is a block, unless it is a stem.
    """
    order = {node.name: i for i, node in enumerate(steps)}
    convs = [node for node in steps if isinstance(module_of(node, model), nn.Conv2d)]
    indices: dict[str, int] = {}
    following: dict[tuple[int, int, int], int] = {}
    for site, nodes in blocks:
        if site.shape not in following:
            before = [node for node in convs if order[node.name] < order[nodes.inner[0]]]
            is_stem = site.residual and len(before) <= _STEM_CONVS
            following[site.shape] = int(not is_stem and any(chw(node) == site.shape for node in before))
        indices[site.name] = following[site.shape]
        following[site.shape] += 1
    return indices


def _convs(nodes: list[fx.Node], model: nn.Module) -> tuple[ConvSpec, ...]:
    pairs = [(node, module_of(node, model)) for node in nodes]
    return tuple(conv_spec(node, conv) for node, conv in pairs if isinstance(conv, nn.Conv2d))


def _common_path(nodes: list[fx.Node]) -> str:
    """Longest module path that contains all modules the nodes call."""
    paths = [str(node.target).split(".") for node in nodes if node.op == "call_module"]
    shared: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    if len(paths) == 1:
        return ".".join(paths[0])
    return ".".join(shared) or ".".join(paths[0])


def _blocks(steps: Sequence[fx.Node], model: nn.Module) -> Iterator[tuple[fx.Node, Site, BlockNodes]]:
    names: set[str] = set()

    def site_of(entry: fx.Node, inner: list[fx.Node], path: str, residual: bool) -> Site:
        name = f"block:{path}"
        while name in names:
            name += "'"
        names.add(name)
        shape = chw(entry)
        assert shape is not None  # noqa: S101 - checked by both patterns
        convs = _convs(inner, model)
        plain = all(len(node.all_input_nodes) == 1 and _can_be_rebuilt(node, model) for node in inner)
        macs = sum(conv.macs for conv in convs)
        return Site(name, "block", "", shape, macs, convs, residual=residual, plain_chain=plain)

    for node in steps:
        if is_add(node) and (unit := _residual_unit(node)) is not None:
            entry, branch, inner = unit
            if not _convs(inner, model):
                continue
            users = list(node.users)
            end = users[0] if len(users) == 1 and is_activation(users[0], model) else node
            site = site_of(entry, inner, _common_path(inner), residual=True)
            yield inner[0], site, BlockNodes(entry.name, branch.name, node.name, end.name, _names(inner))
        elif (chain := _plain_unit(node, model)) is not None:
            entry = node.all_input_nodes[0]
            site = site_of(entry, chain, str(node.target), residual=False)
            yield node, site, BlockNodes(entry.name, chain[-1].name, None, chain[-1].name, _names(chain))


def _can_be_rebuilt(node: fx.Node, model: nn.Module) -> bool:
    """Whether the node is a layer that can be built again with fewer channels."""
    conv = conv_of(node, model)
    if conv is not None:
        return conv.groups == 1 or is_depthwise(conv)
    return is_activation(node, model) or is_exact_layer(module_of(node, model), nn.BatchNorm2d)


def _names(nodes: list[fx.Node]) -> tuple[str, ...]:
    return tuple(node.name for node in nodes)


def _residual_unit(join: fx.Node) -> tuple[fx.Node, fx.Node, list[fx.Node]] | None:
    """Return entry, branch end and branch of ``join = entry + branch(entry)``, if it is one."""
    for entry, branch in (join.all_input_nodes, join.all_input_nodes[::-1]):
        if chw(entry) is None or not chw(entry) == chw(branch) == chw(join) or len(branch.users) != 1:
            continue
        inner = region(entry, branch)
        if inner is not None:
            return entry, branch, inner
    return None


def _plain_unit(node: fx.Node, model: nn.Module) -> list[fx.Node] | None:
    """Return convolution, normalisation and activation of a shape-preserving unit on the trunk."""
    conv = conv_of(node, model)
    if conv is None or conv.groups != 1 or chw(node) is None:
        return None
    entry = node.all_input_nodes[0]
    if chw(entry) != chw(node) or len(entry.users) != 1:
        return None
    chain = [node]
    while not is_activation(chain[-1], model):
        users = list(chain[-1].users)
        follows = len(users) == 1 and (
            is_activation(users[0], model) or is_exact_layer(module_of(users[0], model), nn.BatchNorm2d)
        )
        if not follows:
            return None
        chain.append(users[0])
    return chain if is_trunk(entry) and is_trunk(chain[-1]) else None


def _maps(steps: Sequence[fx.Node], model: nn.Module) -> Iterator[tuple[fx.Node, Site, MapNodes]]:
    for consumer in steps:
        conv = conv_of(consumer, model)
        if conv is None or conv.groups != 1:
            continue
        value = consumer.all_input_nodes[0]
        chain: list[fx.Node] = []
        node = value
        while len(node.users) == 1 and keeps_channels_apart(node, model) and (len(node.all_input_nodes) == 1):
            chain.insert(0, node)
            node = node.all_input_nodes[0]
        shape = chw(value)
        if shape is None or shape[1] * shape[2] == 1:
            continue
        activated = _is_activated(chain, model)
        producer = conv_of(node, model)
        if producer is not None and producer.groups == 1 and len(node.users) == 1:
            specs = (conv_spec(node, producer), *_convs(chain, model), conv_spec(consumer, conv))
            macs = sum(spec.macs for spec in specs)
            name = f"map:{node.target}"
            site = Site(
                name,
                "map",
                "",
                shape,
                macs,
                specs,
                has_producer=True,
                plain_chain=_weightless(chain, model),
                activated=activated,
            )
            yield node, site, MapNodes(node.name, _names(chain), value.name, consumer.name)
        elif activated and node.op != "placeholder" and not _is_passed_by(node, chain[0]):
            spec = conv_spec(consumer, conv)
            name = f"map:{consumer.target}.input"
            site = Site(name, "map", "", shape, spec.macs, (spec,), plain_chain=False, activated=True)
            yield chain[0], site, MapNodes(None, _names(chain), value.name, consumer.name)


def _is_activated(chain: list[fx.Node], model: nn.Module) -> bool:
    """Whether the chain's last step with an effect on single values is an activation."""
    for node in reversed(chain):
        module = module_of(node, model)
        if is_activation(node, model):
            return True
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            return False
    return False


def _is_passed_by(node: fx.Node, first: fx.Node) -> bool:
    """Whether another reader than ``first`` takes the node to a sum: then the node is the input of a residual unit."""
    for reader in node.users:
        while reader is not first and not is_add(reader) and len(reader.users) == len(reader.all_input_nodes) == 1:
            reader = next(iter(reader.users))
        if is_add(reader):
            return True
    return False


def _weightless(chain: list[fx.Node], model: nn.Module) -> bool:
    """Whether the chain holds no per-channel weights once a leading batch normalisation is folded away."""
    modules = [module_of(node, model) for node in chain]
    if modules and isinstance(modules[0], nn.BatchNorm2d) and modules[0].running_mean is not None:
        modules = modules[1:]
    weighted = (isinstance(m, nn.BatchNorm2d) or (isinstance(m, nn.Conv2d) and is_depthwise(m)) for m in modules)
    return not any(weighted)
