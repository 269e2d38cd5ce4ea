"""``autogate explain``."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Any

import typer

import autogate
from autogate.cli.options import Format, FormatOption, NumClasses, Storage
from autogate.cli.printing import print_json, print_table


def command(
    name: Annotated[
        str,
        typer.Argument(help="A study, a profile file, the name of a recorded profile, or the digest of a stored one."),
    ],
    model: Annotated[str | None, typer.Option(help="Network [default: the profile's].")] = None,
    space: Annotated[
        str | None, typer.Option(help="Search space whose gates are shown [default: the study's, or unified].")
    ] = None,
    num_classes: NumClasses = None,
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> None:
    """Show where a network's time goes on a device, and which gates pay there, or why they do not."""
    document = autogate.explain(name, model=model, space=space, num_classes=num_classes, storage=storage).to_json()
    if output is Format.json:
        print_json(document)
        return
    print_table(
        f"{document['model']} on {document['device']}, batch {document['batch_size']}: {document['dense_ms']:.3f} ms",
        ("unit", "dense ms", "share", "bound by", "sites"),
        [
            (unit["unit"], f"{unit['dense_ms']:.4f}", f"{unit['share']:.1%}", unit["regime"], ", ".join(unit["sites"]))
            for unit in document["units"]
        ],
    )
    print_table(
        "each gate alone, at its strongest setting",
        ("gate", "at", "of dense", "why not"),
        [
            (gate, f"{len(found)} {kind}s", _range([row["saved_share"] for row in found]), found[0]["reason"] or "")
            for (gate, kind, _), found in _alike(document["gates"]).items()
        ],
    )


def _alike(gates: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Group what was found by gate, kind of site and kind of reason; the first one's reason stands for all."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in gates:
        kind, why = row["site"].partition(":")[0], (row["reason"] or "").partition(":")[0]
        found[(row["gate"], kind, why)].append(row)
    return found


def _range(shares: list[float]) -> str:
    """Show savings as what is left or added, from the best to the worst site."""
    more = [0.0 - share for share in shares]
    low, high = min(more), max(more)
    return f"{low:+.1%}" if len(shares) == 1 else f"{low:+.1%} to {high:+.1%}"
