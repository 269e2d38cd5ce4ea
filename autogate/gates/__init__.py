"""Gate families: one file each, and the registry that finds them by name."""

from __future__ import annotations

import difflib

from autogate.errors import PolicyError
from autogate.gates.antidote import Antidote
from autogate.gates.drop import Drop
from autogate.gates.family import CompactEditor, DenseParts, Family, Gene, TrainingGate
from autogate.gates.lcnet import LcNet
from autogate.gates.magnitude import Magnitude
from autogate.gates.mod import Mod

FAMILIES: dict[str, Family] = {family.name: family for family in (Drop(), Magnitude(), Antidote(), Mod(), LcNet())}


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


__all__ = ["FAMILIES", "CompactEditor", "DenseParts", "Family", "Gene", "TrainingGate", "get_family"]
