"""Make a policy canonical for a network: complete, free of gates without effect, and free of conflicts."""

from __future__ import annotations

from collections.abc import Mapping

from autogate.errors import PolicyError
from autogate.gates import FAMILIES, Gene, get_family
from autogate.policy import Gate, GeneValue, Policy, knob_key
from autogate.records import Site


def decides_on_data(policy: Policy) -> bool:
    """Whether a gate picks by what it reads; a network without such a gate can be written for batches of any size."""
    return any(not get_family(gate.family).is_static for _, gate in policy)


def canonical(policy: Policy, sites: Mapping[str, Site], *, strict: bool = False) -> Policy:
    """Return the canonical form of ``policy``; two policies that do the same have the same form.

    Gates that change nothing go, map gates inside a block that never runs go, and a training knob at its
    default or of a family that is nowhere goes. Where two gates need the same convolution in ways that exclude
    each other, the later one goes, or with ``strict`` it is an error.

    Raises:
        PolicyError: If a site or a training knob is unknown or out of range, or a gate does not fit its site.
    """
    gates: dict[str, Gate] = {}
    for name, gate in policy:
        if name not in sites:
            raise PolicyError(f"{gate.family}: the network has no site {name!r}; `autogate sites` lists them")
        try:
            family = get_family(gate.family)
        except PolicyError as error:
            raise PolicyError(f"{name}: {error}") from None
        complete = family.complete(sites[name], gate)
        if not family.is_open(sites[name], complete):
            gates[name] = complete
    for name in list(gates):
        if any(_block_rules_out(gates[block], sites[block]) for block in sites[name].inside if block in gates):
            del gates[name]
    _resolve_conflicts(gates, sites, strict)
    _separate_slicing(gates, sites, strict)
    present = {gate.family for gate in gates.values()}
    training = {}
    for key, value in policy.training.items():
        owner, knob = _knob(key)
        checked = knob.check(value, owner)
        if owner in present and checked != knob.default:
            training[key] = checked
    return Policy(gates, training)


def training_knobs(policy: Policy, family: str) -> dict[str, GeneValue]:
    """Return the value of each of a family's training knobs, by the knob's name."""
    return {
        knob.name: policy.training.get(knob_key(knob.name, family), knob.default) for knob in get_family(family).knobs
    }


def _knob(key: str) -> tuple[str, Gene]:
    knobs = _knobs()
    if key not in knobs:
        raise PolicyError(f"unknown training knob {key!r}; known: {', '.join(knobs)}")
    return knobs[key]


def _knobs() -> dict[str, tuple[str, Gene]]:
    return {knob_key(knob.name, name): (name, knob) for name, family in FAMILIES.items() for knob in family.knobs}


def _block_rules_out(gate: Gate, block: Site) -> bool:
    """Whether a gate at the block leaves map gates inside it without effect, or without a stable shape."""
    return get_family(gate.family).hides_inside or not block.residual


def _resolve_conflicts(gates: dict[str, Gate], sites: Mapping[str, Site], strict: bool) -> None:
    """Remove gates that would read channels that another gate has thinned."""
    by_map = {sites[name].consumer.name: name for name in gates if sites[name].kind == "map"}
    by_group: dict[str, str] = {}
    for name in (name for name in gates if sites[name].kind == "group"):
        readers = (coupling.name for coupling in sites[name].couplings if coupling.reads > 0)
        by_group |= dict.fromkeys((*readers, *sites[name].along), name)
    for name in [name for name in sites if name in gates]:
        family, site = get_family(gates[name].family), sites[name]
        others: list[str | None] = []
        if family.reads_whole_input:
            reader = name if site.kind == "block" else site.convs[0].name
            others += [by_map.get(reader), by_group.get(reader)]
        if family.reads_whole_map:
            others.append(by_group.get(site.consumer.name))
        other = next((other for other in others if other in gates), None)
        if other is None:
            continue
        if strict:
            raise PolicyError(
                f"{gates[other].family} at {other} thins what {family.name} at {name} has to read; drop one"
            )
        del gates[name]


def _separate_slicing(gates: dict[str, Gate], sites: Mapping[str, Site], strict: bool) -> None:
    """Remove group gates that mask the input of a layer which another gate slices in training, or vice versa."""
    first: dict[str, str] = {}
    for name in [name for name in sites if name in gates and sites[name].kind == "group"]:
        slices = get_family(gates[name].family).slices_in_training
        readers = [coupling.name for coupling in sites[name].couplings if coupling.reads > 0]
        at = {reader: first[reader] for reader in readers if reader in first}
        clash = next((r for r, o in at.items() if get_family(gates[o].family).slices_in_training != slices), None)
        if clash is None:
            first |= dict.fromkeys(readers, name)
        elif strict:
            other = at[clash]
            raise PolicyError(
                f"{gates[name].family} at {name} and {gates[other].family} at {other} both thin what {clash} reads, "
                "one in training too and one by a mask; use one family for both"
            )
        else:
            del gates[name]
