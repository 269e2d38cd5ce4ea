"""Put a policy's gates into a network for training: everything is computed, gates mask or scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from autogate.gates import DenseParts, TrainingGate, get_family
from autogate.policy import Gate, Policy
from autogate.sites import BlockNodes, MapNodes, Network
from autogate.sites.graph import module_of
from autogate.surgery.graph_copy import GraphCopy, assemble
from autogate.surgery.live import LiveConv, LiveNorm
from autogate.surgery.policies import training_knobs

_FUNCTIONAL_ACTIVATIONS: dict[Any, type[nn.Module]] = {
    F.relu: nn.ReLU, torch.relu: nn.ReLU, "relu": nn.ReLU, "relu_": nn.ReLU, F.relu6: nn.ReLU6,
    F.silu: nn.SiLU, F.gelu: nn.GELU, F.hardswish: nn.Hardswish, F.mish: nn.Mish, F.leaky_relu: nn.LeakyReLU,
}  # fmt: skip


def gate_path(site: str) -> str:
    """Return the module path under which a site's gate lives in the training form."""
    return "gates." + site.replace(":", ".").replace("'", "_")


def by_path(gates: Mapping[str, TrainingGate]) -> dict[str, TrainingGate]:
    """Return gates by module path instead of by site."""
    return {gate_path(site): gate for site, gate in gates.items()}


def dense_parts(network: Network, site: str) -> DenseParts:
    """Return the dense modules around ``site``."""
    by_name = {node.name: node for node in network.graph.nodes}
    nodes = network.nodes[site]
    if isinstance(nodes, BlockNodes):
        branch = []
        for name in nodes.inner:
            node = by_name[name]
            module = module_of(node, network.model)
            activation = _FUNCTIONAL_ACTIVATIONS.get(node.target)
            if module is not None:
                branch.append(module)
            elif activation is not None:
                branch.append(activation())
        return DenseParts(branch=tuple(branch))
    consumer = module_of(by_name[nodes.consumer], network.model)
    assert isinstance(consumer, nn.Conv2d)  # noqa: S101 - that is what makes it a consumer
    if nodes.producer is None:
        return DenseParts(consumer=consumer)
    producer = module_of(by_name[nodes.producer], network.model)
    norm = module_of(by_name[nodes.chain[0]], network.model) if nodes.chain else None
    assert isinstance(producer, nn.Conv2d)  # noqa: S101 - that is what makes it a producer
    return DenseParts(producer, norm if isinstance(norm, nn.BatchNorm2d) else None, consumer)


def attach_gates(
    network: Network, policy: Policy, bank: Mapping[tuple[str, Gate], TrainingGate] | None = None
) -> dict[str, TrainingGate]:
    """Return a training gate for each site of the (canonical) policy.

    A gate found in ``bank`` is used as it is: that is how gates with weights keep them between policies.
    """
    gates = {}
    for site, gate in policy:
        known = None if bank is None else bank.get((site, gate))
        if known is None:
            parts = dense_parts(network, site)
            knobs = training_knobs(policy, gate.family)
            known = get_family(gate.family).attach(network.sites[site], gate, parts, knobs)
        gates[site] = known
    return gates


def training_form(network: Network, gates: Mapping[str, TrainingGate]) -> fx.GraphModule:
    """Return the network with ``gates`` in place.

    It calls the same modules as ``network.model`` under the same names, so that they share weights; gates
    live under ``gates.*``.
    """
    copy = GraphCopy(network)
    # Map gates come first: once a block has its gate, the end of its branch is no longer a convolution.
    for site, gate in sorted(gates.items(), key=lambda item: network.sites[item[0]].kind == "block"):
        nodes = network.nodes[site]
        if isinstance(nodes, BlockNodes):
            _gate_block(copy, nodes, gate_path(site), gate)
        else:
            _gate_map(copy, nodes, gate_path(site))
    return assemble(network.model, copy.graph, {**by_path(gates), **_live_layers(network, gates)})


def _live_layers(network: Network, gates: Mapping[str, TrainingGate]) -> dict[str, nn.Module]:
    """Return, by path, what takes the place of the layers that run on selected channels only."""
    by_name = {node.name: node for node in network.graph.nodes}
    live: dict[str, nn.Module] = {}

    def conv_at(name: str) -> LiveConv:
        path = str(by_name[name].target)
        conv = network.model.get_submodule(path)
        assert isinstance(conv, nn.Conv2d)  # noqa: S101 - producers and consumers are
        found = live.setdefault(path, LiveConv(conv))
        assert isinstance(found, LiveConv)  # noqa: S101
        return found

    for site, gate in gates.items():
        if not gate.slices:
            continue
        nodes = network.map(site)
        assert nodes.producer is not None  # noqa: S101 - the family asked for one
        conv_at(nodes.producer).follow(outputs=gate)
        for name in nodes.chain:
            layer = module_of(by_name[name], network.model)
            if isinstance(layer, nn.Conv2d):
                conv_at(name).follow(inputs=gate, outputs=gate)
            elif isinstance(layer, nn.BatchNorm2d):
                live[str(by_name[name].target)] = LiveNorm(layer, gate)
        conv_at(nodes.consumer).follow(inputs=gate)
    return live


def _gate_map(copy: GraphCopy, nodes: MapNodes, path: str) -> None:
    value, consumer = copy.nodes[nodes.value], copy.nodes[nodes.consumer]
    context = copy.nodes[nodes.producer].all_input_nodes[0] if nodes.producer else value
    with copy.graph.inserting_before(consumer):
        call = copy.graph.call_module(path, (value, context))
    consumer.replace_input_with(value, call)


def _gate_block(copy: GraphCopy, nodes: BlockNodes, path: str, gate: TrainingGate) -> None:
    entry, branch = copy.nodes[nodes.entry], copy.nodes[nodes.branch]
    if gate.shut:
        copy.redirect(copy.nodes[nodes.join] if nodes.join else branch, entry)
        return
    with copy.graph.inserting_after(branch):
        call = copy.graph.call_module(path, (None if gate.replaces_branch else branch, entry))
    copy.redirect(branch, call)
