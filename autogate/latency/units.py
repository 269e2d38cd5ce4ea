"""Cut a network into units: the pieces whose times are added up.

A unit ends where a single tensor carries everything on, so that no gate's block straddles a border. Units
with equal layers and shapes share a type, wherever they stand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from torch import fx, nn

from autogate.policy import Gate, Policy
from autogate.sites import BlockNodes, Network
from autogate.sites.graph import module_of
from autogate.surgery.compact_form import UNIT

_SKIPPED_OPS = ("placeholder", "get_attr", "output")


@dataclass(frozen=True)
class Unit:
    """One unit.

    Attributes:
        index: Position in the network.
        type: Name shared by units of equal layers and shapes.
        sites: Names of the sites whose gates change the unit, in the order in which data meets them.
    """

    index: int
    type: str
    sites: tuple[str, ...]

    def key(self, gates: Mapping[str, Gate], decisions: Mapping[str, int | None]) -> str:
        """Return what runs in the unit: its type, its gates, and their scripted decisions."""
        parts = [self.type]
        for i, site in enumerate(self.sites):
            if site in gates:
                decision = decisions.get(site)
                parts.append(f"{i}:{gates[site]}" + ("" if decision is None else f"@{decision}"))
        return "|".join(parts)


def cut_into_units(network: Network) -> tuple[Unit, ...]:
    """Number the nodes of ``network.graph`` by unit (in ``meta``) and return the units."""
    nodes = [node for node in network.graph.nodes if node.op not in _SKIPPED_OPS]
    groups = _groups(nodes, network.model)
    unit_of: dict[str, int] = {}
    for index, group in enumerate(groups):
        for node in group:
            node.meta[UNIT] = index
            unit_of[node.name] = index
    touched: list[list[str]] = [[] for _ in groups]
    for site, where in network.nodes.items():
        if isinstance(where, BlockNodes):
            names = [where.branch, *([where.join] if where.join else [])]
        else:
            names = [*([where.producer] if where.producer else []), where.consumer]
        for index in sorted({unit_of[name] for name in names}):
            touched[index].append(site)
    return tuple(Unit(index, _type(group, network.model), tuple(touched[index])) for index, group in enumerate(groups))


def _groups(nodes: list[fx.Node], model: nn.Module) -> list[list[fx.Node]]:
    """Cut at every node that alone carries everything on; pieces without weights join their predecessor."""
    order = {node: i for i, node in enumerate(nodes)}
    last_use = [max((order.get(user, len(nodes)) for user in node.users), default=i) for node, i in order.items()]
    groups: list[list[fx.Node]] = [[]]
    reach = -1
    for i, node in enumerate(nodes):
        groups[-1].append(node)
        others_end_here = reach <= i
        reach = max(reach, last_use[i])
        if others_end_here and i + 1 < len(nodes):
            groups.append([])
    merged: list[list[fx.Node]] = []
    for group in groups:
        if merged and not any(_has_work(node, model) for node in group):
            merged[-1] += group
        else:
            merged.append(group)
    return merged


def _has_work(node: fx.Node, model: nn.Module) -> bool:
    module = module_of(node, model)
    return module is not None and any(isinstance(m, (nn.Conv2d, nn.Linear)) for m in module.modules())


def _type(group: list[fx.Node], model: nn.Module) -> str:
    lines, widths = [], []
    for node in group:
        module = module_of(node, model)
        what = repr(module) if module is not None else getattr(node.target, "__name__", str(node.target))
        inputs = [n.meta.get("shape") for n in node.all_input_nodes]
        lines.append(f"{what} {inputs} {node.meta.get('shape')}")
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            shape = node.meta["shape"]
            widths.append(f"{shape[1]}" + (f"x{shape[2]}" if len(shape) == 4 else ""))
    name = "-".join(widths[:3]) or "glue"
    return f"{name}-{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:8]}"


def keys_of(units: tuple[Unit, ...], policy: Policy, decisions: Mapping[str, int | None]) -> tuple[str, ...]:
    """Return the key of every unit under ``policy`` with scripted ``decisions``."""
    return tuple(unit.key(policy.gates, decisions) for unit in units)
