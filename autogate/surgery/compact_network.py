"""Rebuild a network so that gated work is really left out: the only form that is timed or exported."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from autogate.gates import Overwriting, TrainingGate, get_family
from autogate.policy import Policy
from autogate.records import ExecutionPlan
from autogate.sites import (
    BlockNodes,
    Network,
    activation_key,
    assemble,
    conv_of,
    is_add,
    is_exact_layer,
    is_one_of,
    module_of,
    region,
    slice_channels,
    width,
)
from autogate.surgery.graph_copy import GraphCopy
from autogate.surgery.slicing import SelectedConv, pick_factor, pick_index
from autogate.surgery.training_network import gate_path

UNIT = "unit"
"""Key in a node's ``meta`` under which the latency side finds the number of the node's unit."""
_ACTIVATIONS: Mapping[str, type[nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6}


def compact_form(
    network: Network,
    policy: Policy,
    gates: Mapping[str, TrainingGate],
    *,
    plan: ExecutionPlan | None = None,
    share_weights: bool = False,
) -> fx.GraphModule:
    """Return the compact form of ``network`` under ``policy``, in evaluation mode, with copied weights.

    Batch normalisation is folded and repeated activations are removed for every policy, the dense one
    included, so that a comparison of two compact forms compares gates and nothing else.

    Args:
        network: The network, with trained weights in ``network.model``.
        policy: A canonical policy.
        gates: Trained gates by site.
        plan: Executors that are not the default ones.
        share_weights: Whether unchanged weights may be shared with the network; many forms then fit in
            memory, and moving one moves them all.
    """
    editor = _Editor(network, plan or {}, share_weights)
    at_channels = [site for site, _ in policy if network.sites[site].kind != "block"]
    at_blocks = [site for site, _ in policy if network.sites[site].kind == "block"]
    # Static cuts come first, then what wraps convolutions, then what wraps whole blocks.
    at_channels.sort(key=lambda site: not get_family(policy.gates[site].family).is_static)
    for site in [*at_channels, *at_blocks]:
        gate = policy.gates[site]
        trained = copy.deepcopy(gates[site]).eval()
        if not get_family(gate.family).is_static:
            editor.cut()
        get_family(gate.family).compact(network.sites[site], gate, trained, editor)
    editor.cut()
    return editor.finish()


class _Editor(GraphCopy):
    """Edits a copy of the dense graph; see :class:`autogate.gates.CompactEditor`."""

    def __init__(self, network: Network, plan: ExecutionPlan, share_weights: bool) -> None:
        super().__init__(network)
        self.plan = plan
        self.modules: dict[str, nn.Module] = {}
        self._gone: dict[tuple[fx.Node, bool], set[int]] = {}
        # Activations that modules of ours apply last, by their targets.
        self._finished: dict[str, str] = {}
        shared = [*network.model.parameters(), *network.model.buffers()] if share_weights else []
        self.model = copy.deepcopy(network.model, {id(tensor): tensor for tensor in shared}).eval()
        self._fold_norms()

    def finish(self) -> fx.GraphModule:
        """Return the edited network."""
        self._remove_repeated_activations()
        self._work_in_place()
        self.graph.lint()
        form = assemble(self.model, self.graph, self.modules)
        form.eval()
        return form.requires_grad_(False)

    def executor(self, site: str) -> str | None:
        """Return the planned executor."""
        return self.plan.get(site)

    def skip_block(self, site: str) -> None:
        """Hand the block's input on as its result."""
        nodes = self.network.block(site)
        self.redirect(self.nodes[nodes.join or nodes.end], self.nodes[nodes.entry])

    def replace_block(self, site: str, make: Callable[[nn.Module, nn.Module | None], nn.Module]) -> None:
        """Put ``make(branch, finish)`` in place of the block."""
        nodes = self.network.block(site)
        entry = self.nodes[nodes.entry]
        last, activation = self._end_of_block(nodes)
        if nodes.join is None:
            branch_end = self.nodes[nodes.end]
        else:
            join = self.nodes[nodes.join]
            branch_end = next(node for node in join.all_input_nodes if node is not entry)
        branch = self._extract(entry, branch_end)
        path = gate_path(site)
        if activation is not None:
            self._finished[path] = activation
        finish = None if activation is None else _ACTIVATIONS[activation]()
        self._replace(last, make(branch, finish), (entry,), path)

    def keep_channels(self, site: str, kept: torch.Tensor) -> None:
        """Mark for :meth:`cut` what goes from each layer; several gates may thin the same one."""
        stay = set(kept.tolist())
        for member in self.network.members(site):
            # The node of a folded normalisation is that of its convolution.
            gone = self._gone.setdefault((self.nodes[member.node], member.reads), set())
            gone.update(p for p, c in zip(member.positions, member.channels, strict=True) if c not in stay)

    def cut(self) -> None:
        """Cut out the channels that :meth:`keep_channels` has marked."""
        for node in dict.fromkeys(node for node, _ in self._gone):
            module = self._module(node)
            assert module is not None  # noqa: S101 - members are layers
            inputs, outputs = (self._left(node, reads, module) for reads in (True, False))
            self.modules[str(node.target)] = slice_channels(module, inputs, outputs)
        self._gone = {}

    def _left(self, node: fx.Node, reads: bool, module: nn.Module) -> torch.Tensor | None:
        """Return the inputs or outputs that stay, int64 ``[k]``; None for all."""
        gone = self._gone.get((node, reads))
        if not gone:
            return None
        return torch.tensor([i for i in range(width(module, reads)) if i not in gone])

    def replace_consumer(self, site: str, make: Callable[[nn.Conv2d], nn.Module]) -> None:
        """Put ``make(consumer)`` in place of the convolution that reads the map."""
        node = self.nodes[self.network.map(site).consumer]
        conv = self._module(node)
        assert isinstance(conv, nn.Conv2d)  # noqa: S101 - canonical policies have no two gates at one consumer
        self._replace(node, make(conv), (node.all_input_nodes[0],), gate_path(site))

    def select_channels(self, site: str, select: nn.Module, granularity: int = 1) -> None:
        """Run producer and consumer on the groups of channels that ``select(producer input)`` returns."""
        nodes = self.network.map(site)
        assert nodes.producer is not None  # noqa: S101 - the family asked for one
        producer, consumer = self.nodes[nodes.producer], self.nodes[nodes.consumer]
        path = gate_path(site)
        with self.graph.inserting_before(producer):
            self.modules[path] = select
            choice = self.graph.call_module(path, (producer.all_input_nodes[0],))
            index = self.graph.call_function(pick_index, (choice,))
            factor = self.graph.call_function(pick_factor, (choice,))
        for node in (choice, index, factor):
            node.meta = dict(producer.meta)
        self._swap(producer, lambda conv: SelectedConv.around(conv).writes_groups_of(granularity))
        producer.kwargs = {**producer.kwargs, "outputs": index}
        self._swap(consumer, lambda conv: SelectedConv.around(conv).reads_groups_of(granularity))
        consumer.kwargs = {**consumer.kwargs, "inputs": index, "factor": factor}

    def _module(self, node: fx.Node) -> nn.Module | None:
        if node.op != "call_module":
            return None
        target = str(node.target)
        return self.modules[target] if target in self.modules else self.model.get_submodule(target)

    def _swap(self, node: fx.Node, change: Callable[[Any], nn.Module]) -> None:
        self.modules[str(node.target)] = change(self._module(node))

    def _replace(self, old: fx.Node, module: nn.Module, args: tuple[fx.Node, ...], path: str) -> None:
        self.modules[path] = module
        with self.graph.inserting_after(old):
            new = self.graph.call_module(path, args)
        new.meta = dict(old.meta)
        self.redirect(old, new)

    def _end_of_block(self, nodes: BlockNodes) -> tuple[fx.Node, str | None]:
        """Return the block's last node to replace, and the key of the final activation if it belongs inside."""
        end, join = self.nodes[nodes.end], self.nodes[nodes.join or nodes.end]
        if end is join:
            return end, None
        dense = self.network.by_name
        key = activation_key(dense[nodes.end], self.network.model)
        if key is None or not _is_fixed_point(dense[nodes.entry], key, self.network.model):
            return join, None
        return end, key

    def _extract(self, entry: fx.Node, end: fx.Node) -> fx.GraphModule:
        """Return the region from ``entry`` to ``end`` as a module of one argument."""
        inner = region(entry, end)
        assert inner is not None  # noqa: S101 - the site was found by this test
        graph = fx.Graph()
        copies = {entry: graph.placeholder("x")}
        for node in inner:
            copies[node] = graph.node_copy(node, copies.__getitem__)
        graph.output(copies[end])
        return assemble(self.model, graph, self.modules)

    def _fold_norms(self) -> None:
        for node in list(self.graph.nodes):
            norm = module_of(node, self.model)
            if not is_exact_layer(norm, nn.BatchNorm2d) or norm.running_mean is None:
                continue
            conv_node = node.all_input_nodes[0]
            conv = conv_of(conv_node, self.model)
            if conv is None or len(conv_node.users) != 1:
                continue
            self.modules[str(conv_node.target)] = fuse_conv_bn_eval(conv, norm)
            self.redirect(node, conv_node)

    def _remove_repeated_activations(self) -> None:
        for node in list(self.graph.nodes):
            key = None if str(node.target) in self.modules else activation_key(node, self.model)
            if key is None:
                continue
            source = node.all_input_nodes[0]
            ours = str(source.target) if source.op == "call_module" and str(source.target) in self.modules else None
            if ours is not None and self._finished.get(ours) != key:
                continue
            if ours is not None or _is_fixed_point(source, key, self.model, self.modules):
                node.replace_all_uses_with(source)
                self.graph.erase_node(node)

    def _work_in_place(self) -> None:
        """Let activations and gates overwrite results that nobody else reads."""
        for node in list(self.graph.nodes):
            key = None if str(node.target) in self.modules else activation_key(node, self.model)
            if key is None:
                continue
            source = node.all_input_nodes[0]
            fresh = is_add(source) or is_exact_layer(self._module(source), nn.Conv2d)
            if fresh and len(source.users) == 1:
                node.op, node.target = "call_function", F.relu6 if key == "relu6" else F.relu
                node.args, node.kwargs = (source,), {"inplace": True}
        for node in self.graph.nodes:
            module = self._module(node)
            if isinstance(module, Overwriting):
                module.overwrites = self._is_spare(node.all_input_nodes[0])

    def _is_spare(self, node: fx.Node) -> bool:
        """Whether the node's value has one reader, and shares memory with nothing that has others."""
        if len(node.users) != 1:
            return False
        module = self._module(node)
        if is_add(node) or is_one_of(module, (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d)):
            return True
        passes_on = isinstance(module, Overwriting) or is_one_of(module, (nn.ReLU, nn.ReLU6, nn.Identity))
        passes_on = passes_on or node.target in (F.relu, F.relu6)
        return passes_on and self._is_spare(node.all_input_nodes[0])


def _is_fixed_point(node: fx.Node, key: str, model: nn.Module, inserted: Mapping[str, nn.Module] | None = None) -> bool:
    """Whether the activation ``key`` leaves the node's value unchanged, because it was applied before."""
    if inserted and node.op == "call_module" and str(node.target) in inserted:
        return False
    if activation_key(node, model) == key:
        return True
    if is_one_of(module_of(node, model), (nn.MaxPool2d, nn.Identity, nn.Dropout)):
        return _is_fixed_point(node.all_input_nodes[0], key, model, inserted)
    return False


def script_decisions(compact: nn.Module, decisions: Mapping[str, int | None]) -> None:
    """Set the decisions that the varying gates of a compact network take for every input.

    A map gate inside a gated block lives below the block's gate.
    """
    paths = {gate_path(site): decision for site, decision in decisions.items() if decision is not None}
    for name, module in compact.named_modules():
        for path, decision in paths.items():
            if name == path or name.endswith("." + path):
                module.scripted = decision
