"""``autogate spaces``."""

from __future__ import annotations

import autogate
from autogate.cli.options import Format, FormatOption
from autogate.cli.printing import print_json, print_table


def command(output: FormatOption = Format.table) -> None:
    """List the search spaces that ship with AutoGate."""
    found = autogate.list_spaces()
    if output is Format.json:
        print_json({name: spec.to_json() for name, spec in found.items()})
        return
    rows = []
    for name, spec in found.items():
        families = dict.fromkeys(option.family for option in (*spec.sites.block, *spec.sites.map))
        rows.append((name, spec.tie, " ".join(families), spec.description))
    print_table("search spaces", ("space", "tied per", "families", "description"), rows)
