"""Cut a network into units: the pieces whose times are added up.

A unit ends before every layer that does work. Units with equal layers, shapes and places for gates share a type,
wherever they stand. A gate at a block takes the place of all of the block's units: then the last one stands for the
whole block, and nothing is left of the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from torch import fx, nn

from autogate.errors import ProfileError
from autogate.gates import get_family
from autogate.policy import Gate, Policy
from autogate.records import ExecutionPlan, Profile
from autogate.sites import BlockNodes, GroupNodes, Network, SiteNodes, layer_text, module_of
from autogate.surgery import UNIT

_SKIPPED_OPS = ("placeholder", "get_attr", "output")


def _runs_as(gate: Gate) -> Gate:
    return get_family(gate.family).profile_alias(gate)


REMOVED = ""
"""Key of a unit of which nothing is left, because a gate at a block has taken its place."""


@dataclass(frozen=True)
class Region:
    """The units of a block.

    Attributes:
        site: The block's site.
        type: Name shared by regions of equal units.
        units: Positions of its units in the network; the last one stands for all of them if the block has a gate.
        sites: Names of the sites whose gates change the region, the one at the region first.
    """

    site: str
    type: str
    units: tuple[int, ...]
    sites: tuple[str, ...]


@dataclass(frozen=True)
class Unit:
    """One unit.

    Attributes:
        index: Position in the network.
        type: Name shared by units of equal layers, shapes and places for gates.
        sites: Names of the sites whose gates change the unit, in the order in which data meets them.
        regions: The blocks it lies in, from the outermost to the innermost.
    """

    index: int
    type: str
    sites: tuple[str, ...]
    regions: tuple[Region, ...] = ()

    def region(self, gates: Mapping[str, Gate]) -> Region | None:
        """Return the outermost block with a gate in which the unit lies, or None."""
        return next((region for region in self.regions if region.site in gates), None)

    def shaped_by(self, gates: Mapping[str, Gate]) -> tuple[str, ...] | None:
        """Return the sites that say what runs in the unit, with a gate or without; None if nothing of it is left."""
        region = self.region(gates)
        if region is None:
            return self.sites
        return region.sites if region.units[-1] == self.index else None

    def key(
        self, gates: Mapping[str, Gate], decisions: Mapping[str, int | None], plan: ExecutionPlan | None = None
    ) -> str:
        """Return what runs in the unit: its type, its gates, their scripted decisions, and planned executors."""
        sites, region = self.shaped_by(gates), self.region(gates)
        if sites is None:
            return REMOVED
        parts = [self.type if region is None else region.type]
        for i, site in enumerate(sites):
            if site in gates:
                decision = decisions.get(site)
                executor = plan.get(site) if plan else None
                parts.append(
                    f"{i}:{_runs_as(gates[site])}"
                    + ("" if decision is None else f"@{decision}")
                    + ("" if executor is None else f"#{executor}")
                )
        return "|".join(parts)


def cut_into_units(network: Network) -> tuple[Unit, ...]:
    """Number the nodes of ``network.graph`` by unit (in ``meta``) and return the units."""
    nodes = [node for node in network.graph.nodes if node.op not in _SKIPPED_OPS]
    touches = {site: _touched(where) for site, where in network.nodes.items()}
    units: list[Unit] = []
    for index, group in enumerate(_groups(nodes, network)):
        places: dict[str, list[tuple[int, str]]] = {}
        for i, node in enumerate(group):
            node.meta[UNIT] = index
            for site, roles in touches.items():
                if node.name in roles:
                    places.setdefault(site, []).append((i, roles[node.name]))
        sites = tuple(site for site in network.sites if site in places)
        kind = _type(group, network.model, [places[site] for site in sites])
        units.append(Unit(index, kind, sites))
    regions = _regions(units, network)
    return tuple(replace(unit, regions=tuple(r for r in regions if unit.index in r.units)) for unit in units)


def _regions(units: list[Unit], network: Network) -> list[Region]:
    """Return the blocks as regions, those that hold others before them."""
    inside = {
        site: tuple(unit.index for unit in units if site in unit.sites)
        for site, where in network.nodes.items()
        if isinstance(where, BlockNodes)
    }
    regions = []
    for block, members in sorted(inside.items(), key=lambda item: -len(item[1])):
        around = {other for other, theirs in inside.items() if other != block and set(theirs) >= set(members)}
        touched = {site for i in members for site in units[i].sites} - around - {block}
        text = "|".join(units[i].type for i in members)
        kind = f"block-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        regions.append(Region(block, kind, members, (block, *(site for site in network.sites if site in touched))))
    return regions


def _touched(where: SiteNodes) -> dict[str, str]:
    """Names of the nodes whose work a gate at the site changes, each with what the site is to it."""
    if isinstance(where, BlockNodes):
        return dict.fromkeys([*where.inner, *([where.join] if where.join else [])], "inside")
    if isinstance(where, GroupNodes):
        roles: dict[str, str] = {}
        for member in where.members:
            role = f"{'reads' if member.reads else 'writes'} {len(member.positions)}"
            roles[member.node] = " ".join([*([roles[member.node]] if member.node in roles else []), role])
        return roles
    # Without a producer that can write less, the map is written whole and only its reader changes.
    written = [where.producer, *where.chain] if where.producer else []
    return {**dict.fromkeys(written, "writes"), where.consumer: "reads"}


def _groups(nodes: list[fx.Node], network: Network) -> list[list[fx.Node]]:
    """Begin a group at every node that does work, and at the first node of every block."""
    order = {node.name: i for i, node in enumerate(nodes)}
    first = {
        min(order[name] for name in where.inner if name in order)
        for where in network.nodes.values()
        if isinstance(where, BlockNodes)
    }
    groups: list[list[fx.Node]] = [[]]
    begun = False
    for i, node in enumerate(nodes):
        works = i in first or _has_work(node, network.model)
        if works and begun:
            groups.append([])
        begun = begun or works
        groups[-1].append(node)
    return groups


def _has_work(node: fx.Node, model: nn.Module) -> bool:
    module = module_of(node, model)
    return module is not None and any(isinstance(m, (nn.Conv2d, nn.Linear)) for m in module.modules())


def _type(group: list[fx.Node], model: nn.Module, places: list[list[tuple[int, str]]]) -> str:
    lines, widths = [str(places)], []
    for node in group:
        module = module_of(node, model)
        what = layer_text(module) if module is not None else getattr(node.target, "__name__", str(node.target))
        inputs = [n.meta.get("shape") for n in node.all_input_nodes]
        lines.append(f"{what} {inputs} {node.meta.get('shape')}")
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            shape = node.meta["shape"]
            widths.append(f"{shape[1]}" + (f"x{shape[2]}" if len(shape) == 4 else ""))
    name = "-".join(widths[:3]) or "glue"
    return f"{name}-{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:8]}"


def keys_of(
    units: tuple[Unit, ...],
    policy: Policy,
    decisions: Mapping[str, int | None],
    plan: ExecutionPlan | None = None,
) -> tuple[str, ...]:
    """Return the key of every unit under ``policy`` with scripted ``decisions`` and planned executors."""
    return tuple(unit.key(policy.gates, decisions, plan) for unit in units)


def check_profile_matches(profile: Profile, network: Network, units: Sequence[Unit]) -> None:
    """Refuse a profile of another network than ``network``, whose units are ``units``.

    Raises:
        ProfileError: With what differs: the number of units, the input, the first other unit, or a site.
    """
    if not (different := _differences(profile, network, units)):
        return
    raise ProfileError(
        f"the profile of {profile.model!r} is of another network: {'; '.join(different)}; use it with that network, "
        "or profile this one with `autogate profile`"
    )


def _differences(profile: Profile, network: Network, units: Sequence[Unit]) -> list[str]:
    here = [unit.type for unit in units]
    # A profile without dense is not written; a made-up one is judged by its units alone.
    there = next((list(sample.keys) for sample in profile.networks if not sample.policy.get("gates")), here)
    found = []
    if len(there) != len(here):
        found.append(f"it has {len(there)} units, this one {len(here)}")
    if profile.input_shape != network.input_shape:
        found.append(f"its input is {_size(profile.input_shape)}, this one's {_size(network.input_shape)}")
    for i, (its, ours) in enumerate(zip_longest(there, here, fillvalue="absent"), start=1):
        if its != ours:
            return [*found, f"its unit {i} is {its}, this one's {ours}"]
    known = {sample.key for sample in profile.units}
    found += [f"it lacks unit {unit}" for unit in here if unit not in known][:1]
    sites = {site: None for sample in profile.networks for site in sample.policy.get("gates", ())}
    return found + [f"it has gates at {site}, which this one lacks" for site in sites if site not in network.sites][:1]


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
