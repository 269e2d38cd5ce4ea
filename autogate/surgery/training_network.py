"""Put a policy's gates into a network for training: everything is computed, gates mask or scale."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from autogate.gates import DenseParts, Holder, TrainingGate, get_family
from autogate.policy import Gate, Policy
from autogate.sites import BlockNodes, GroupNodes, MapNodes, Member, Network, assemble, is_depthwise, module_of
from autogate.surgery.graph_copy import GraphCopy
from autogate.surgery.head_switch import add_heads
from autogate.surgery.policies import training_knobs
from autogate.surgery.sliced_layers import live_layers

_FUNCTIONAL_ACTIVATIONS: dict[Any, type[nn.Module]] = {
    F.relu: nn.ReLU,
    torch.relu: nn.ReLU,
    "relu": nn.ReLU,
    "relu_": nn.ReLU,
    F.relu6: nn.ReLU6,
    F.silu: nn.SiLU,
    F.gelu: nn.GELU,
    F.hardswish: nn.Hardswish,
    F.mish: nn.Mish,
    F.leaky_relu: nn.LeakyReLU,
}


def gate_path(site: str) -> str:
    """Return the module path under which a site's gate lives in the training form."""
    return "gates." + site.replace(":", ".").replace("'", "_")


def site_at(path: str) -> str:
    """Return the site whose gate lives at a module path, as a message names it."""
    return path.removeprefix("gates.").replace(".", ":", 1)


def by_path(gates: Mapping[str, TrainingGate]) -> dict[str, TrainingGate]:
    """Return gates by module path instead of by site."""
    return {gate_path(site): gate for site, gate in gates.items()}


def dense_parts(network: Network, site: str) -> DenseParts:
    """Return the dense modules around ``site``."""
    nodes = network.nodes[site]
    if isinstance(nodes, BlockNodes):
        branch = []
        for name in nodes.inner:
            node = network.by_name[name]
            module = module_of(node, network.model)
            activation = _FUNCTIONAL_ACTIVATIONS.get(node.target)
            if module is not None:
                branch.append(module)
            elif activation is not None:
                # Both take the same settings, after the tensor.
                settings = {name: value for name, value in node.kwargs.items() if name != "input"}
                branch.append(activation(*node.args[1:], **settings))
        return DenseParts(branch=tuple(branch))
    if not network.sites[site].has_producer:
        return DenseParts()
    holders = (_holder(network.by_name[member.node], member, network.model) for member in network.members(site))
    return DenseParts(holders=tuple(holder for holder in holders if holder is not None))


def _holder(node: fx.Node, member: Member, model: nn.Module) -> Holder | None:
    """Describe a convolution or linear layer; layers that treat every channel separately are left out."""
    layer = module_of(node, model)
    if not isinstance(layer, nn.Conv2d | nn.Linear) or (isinstance(layer, nn.Conv2d) and is_depthwise(layer)):
        return None
    norm = module_of(users[0], model) if len(users := list(node.users)) == 1 and not member.reads else None
    return Holder(
        layer,
        norm if isinstance(norm, nn.BatchNorm2d) else None,
        member.reads,
        torch.tensor(member.positions),
        torch.tensor(member.channels),
    )


def attach_gates(
    network: Network, policy: Policy, bank: Mapping[tuple[str, Gate], TrainingGate] | None = None
) -> dict[str, TrainingGate]:
    """Return a training gate for each site of the (canonical) policy, on the network's device.

    A gate found in ``bank`` is used as it is: that is how gates with weights keep them between policies.
    """
    gates = {}
    parameter = next(network.model.parameters(), None)
    for site, gate in policy:
        known = None if bank is None else bank.get((site, gate))
        if known is None:
            parts = dense_parts(network, site)
            knobs = training_knobs(policy, gate.family)
            known = get_family(gate.family).build_training_gate(network.sites[site], gate, parts, knobs)
            if parameter is not None:
                known.to(parameter.device)
        gates[site] = known
    return gates


def training_form(network: Network, gates: Mapping[str, TrainingGate]) -> fx.GraphModule:
    """Return the network with ``gates`` in place.

    It calls the same modules as ``network.model`` under the same names, so that they share weights; gates
    live under ``gates.*``. In training and in evaluation it returns what ``network.model`` does.
    """
    copy = GraphCopy(network)
    # Map gates come first: once a block has its gate, the end of its branch is no longer a convolution.
    for site, gate in sorted(gates.items(), key=lambda item: network.sites[item[0]].kind == "block"):
        nodes = network.nodes[site]
        if isinstance(nodes, BlockNodes):
            _gate_block(copy, nodes, gate_path(site), gate)
        elif isinstance(nodes, MapNodes):
            _gate_map(copy, nodes, gate_path(site))
        else:
            _gate_group(copy, nodes, gate_path(site), gate, network)
    heads = add_heads(copy, network)
    return assemble(network.model, copy.graph, {**by_path(gates), **live_layers(network, gates), **heads})


def _gate_map(copy: GraphCopy, nodes: MapNodes, path: str) -> None:
    value, consumer = copy.nodes[nodes.value], copy.nodes[nodes.consumer]
    context = copy.nodes[nodes.producer].all_input_nodes[0] if nodes.producer else value
    with copy.graph.inserting_before(consumer):
        call = copy.graph.call_module(path, (value, context))
    consumer.replace_input_with(value, call)


def _gate_group(copy: GraphCopy, nodes: GroupNodes, path: str, gate: TrainingGate, network: Network) -> None:
    """Call the gate wherever a holder reads the channels and, if it slices, where one has written them."""
    members = ((member, network.by_name[member.node]) for member in nodes.members)
    holders = [member for member, node in members if _holder(node, member, network.model) is not None]
    for i, member in enumerate(holders):
        node = copy.nodes[member.node]
        if member.reads:
            value = node.all_input_nodes[0]
            with copy.graph.inserting_before(node):
                node.replace_input_with(value, copy.graph.call_module(path, (value, value, i)))
        elif gate.slices and member.positions == member.channels:
            users = list(node.users)
            if len(users) == 1 and isinstance(module_of(users[0], network.model), nn.BatchNorm2d):
                node = users[0]
            with copy.graph.inserting_after(node):
                call = copy.graph.call_module(path, (node, node, i))
            # The node stays what it was for other gates.
            node.replace_all_uses_with(call, delete_user_cb=partial(operator.is_not, call))


def _gate_block(copy: GraphCopy, nodes: BlockNodes, path: str, gate: TrainingGate) -> None:
    entry, branch = copy.nodes[nodes.entry], copy.nodes[nodes.branch]
    if gate.shut:
        copy.redirect(copy.nodes[nodes.join] if nodes.join else branch, entry)
        return
    with copy.graph.inserting_after(branch):
        call = copy.graph.call_module(path, (None if gate.replaces_branch else branch, entry))
    copy.redirect(branch, call)
