"""Print results: one JSON document, or tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

_WIDTH_WITHOUT_TERMINAL = 120


def console() -> Console:
    """Return the console for results, on standard output."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL)


def print_json(document: Any) -> None:
    """Print one JSON document and nothing else."""
    print(json.dumps(document, indent=2, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers are aligned to the right."""
    table = Table(title=title, title_justify="left", header_style="bold")
    cells = [list(row) for row in rows]
    for i, column in enumerate(columns):
        numeric = all(_is_number(row[i]) for row in cells) if cells else False
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*(_text(cell) for cell in row))
    console().print(table)


def print_search(document: Mapping[str, Any]) -> None:
    """Print a study's document: the front, then the winner beside dense."""
    print_front("front of the trained candidates", document)
    trials = document["trials"]
    console().print(
        f"{trials['total']} trials: {trials['complete']} trained, {trials['rejected']} rejected by prediction, "
        f"{trials['reused']} reused, {trials['failed']} failed"
    )
    winner = document["best"] or document["closest"]
    if winner is None:
        console().print("no finalist has been measured yet")
        return
    print_winner(document, winner)


def print_winner(document: Mapping[str, Any], winner: Mapping[str, Any]) -> None:
    """Print one finalist beside dense: policy per site, cost columns, predicted and measured latency."""
    gates = winner["policy"]["gates"]
    rows = [(site, gate["family"], _genes(gate["genes"])) for site, gate in gates.items()]
    print_table(f"policy of trial {winner['trial']}", ("site", "gate", "genes"), rows)
    dense, measured = document["dense"], winner["measured_ms"]
    stat = document["latency_stat"]
    predicted = winner["predicted_ms"]
    print_table(
        f"{document['device']}, batch {document['batch_size']}, {document['dtype']}, {document['runtime']}",
        ("", "dense", "gated", "ratio"),
        [
            ("validation accuracy", f"{dense['val_accuracy']:.2%}", f"{winner['val_accuracy']:.2%}", ""),
            ("test accuracy", _percent(dense["test_accuracy"]), f"{winner['test_accuracy']:.2%}", ""),
            ("paper MACs", *_pair(dense["macs"], winner["macs_paper"])),
            ("realisable MACs", *_pair(dense["macs"], winner["macs_realisable"])),
            ("parameters", *_pair(dense["params"], winner["params"])),
            ("predicted p50", "", f"{predicted['p50']:.3f} ms", f"at most {predicted['upper']:.3f} ms"),
            (f"measured {stat}", f"{dense['measured_ms'][stat]:.3f} ms", f"{measured[stat]:.3f} ms",
             f"{winner['ratio']:.3f} [{winner['ratio_interval'][0]:.3f}, {winner['ratio_interval'][1]:.3f}]"),
        ],
    )  # fmt: skip
    if document["budget_ms"] is None:
        return
    verdict = "meets" if winner["meets_budget"] else "MISSES"
    console().print(f"{verdict} the budget of {document['budget_ms']:.3f} ms (measured)")
    if document["budget_binding"] is False:
        console().print("dense meets this budget already; the fastest policy of equal accuracy is shown")


def print_front(title: str, document: Mapping[str, Any]) -> None:
    """Print the front of a study: accuracy after short training, latency predicted and, of finalists, measured."""
    stat = document["latency_stat"]
    rows = []
    for point in document["front"]:
        measured = point["measured_ms"]
        rows.append(
            (
                str(point["trial"]),
                f"{point['val_accuracy']:.2%}",
                f"{point['predicted_ms']['p50']:.3f}",
                f"{point['predicted_ms']['upper']:.3f}",
                "" if measured is None else f"{measured[stat]:.3f}",
            )
        )
    columns = ("trial", "val accuracy", "predicted p50 ms", "upper bound ms", f"measured {stat} ms")
    print_table(title, columns, rows)


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.2%}"


def _pair(dense: float, gated: float) -> tuple[str, str, str]:
    return f"{dense:,.0f}", f"{gated:,.0f}", f"{gated / dense:.3f}"


def _genes(genes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in genes.items())


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _is_number(cell: object) -> bool:
    text = _text(cell).replace(",", "").rstrip("%").removesuffix(" ms")
    try:
        float(text or "0")
    except ValueError:
        return False
    return True
