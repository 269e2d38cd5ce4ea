"""The registry of gate families: found by name."""

from __future__ import annotations

import difflib

from autogate.errors import PolicyError
from autogate.gates.antidote import Antidote
from autogate.gates.dce import Dce
from autogate.gates.drop import Drop
from autogate.gates.family import Family
from autogate.gates.gss import Gss
from autogate.gates.lcnet import LcNet
from autogate.gates.magnitude import Magnitude
from autogate.gates.mod import Mod
from autogate.policy import Gate

_ALL: tuple[Family, ...] = (Drop(), Magnitude(), Antidote(), Mod(), LcNet(), Dce(), Gss())
FAMILIES: dict[str, Family] = {family.name: family for family in _ALL}


def get_family(name: str) -> Family:
    """Return the family called ``name``.

    Raises:
        PolicyError: If there is none; names the closest ones.
    """
    if name not in FAMILIES:
        close = difflib.get_close_matches(name, FAMILIES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise PolicyError(f"unknown gate family {name!r}{hint} (known: {', '.join(FAMILIES)})")
    return FAMILIES[name]


def brief(gate: Gate) -> str:
    """Return the gate as text, without genes at their defaults."""
    family = get_family(gate.family)
    defaults = {gene.name: gene.default for kind in family.kinds for gene in family.genes(kind)}
    return str(Gate(gate.family, {name: value for name, value in gate.genes.items() if value != defaults[name]}))
