"""The registry of gate families: found by name."""

from __future__ import annotations

from autogate.errors import PolicyError
from autogate.gates.family import Family
from autogate.policy import Gate
from autogate.system import Registry, registering

FAMILIES: Registry[Family] = Registry(
    "gate family",
    "autogate.families",
    PolicyError,
    built_in=(
        "autogate.gates.drop",
        "autogate.gates.magnitude",
        "autogate.gates.antidote",
        "autogate.gates.mod",
        "autogate.gates.lcnet",
        "autogate.gates.dce",
        "autogate.gates.gss",
    ),
)
register_family = registering(FAMILIES, Family)  # type: ignore[type-abstract]


def get_family(name: str) -> Family:
    """Return the family called ``name``.

    Raises:
        PolicyError: If there is none; names the closest ones. If its package is broken; names the package.
    """
    return FAMILIES.find(name)


def brief(gate: Gate) -> str:
    """Return the gate as text, without genes at their defaults."""
    family = get_family(gate.family)
    defaults = {gene.name: gene.default for kind in family.kinds for gene in family.genes(kind)}
    return str(Gate(gate.family, {name: value for name, value in gate.genes.items() if value != defaults[name]}))
