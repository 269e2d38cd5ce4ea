"""Print results: one JSON document, or tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autogate.units import in_joules, in_mib, score_text

_WIDTH_WITHOUT_TERMINAL = 120
_BARS = "▁▂▃▄▅▆▇█"


def console() -> Console:
    """Return the console for results, on standard output."""
    out = Console(highlight=False, markup=False, emoji=False)
    if not out.is_terminal:
        out.width = _WIDTH_WITHOUT_TERMINAL
    return out


def print_json(document: Any) -> None:
    """Print one JSON document and nothing else."""
    print(json.dumps(document, indent=2, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table under its title; numbers are aligned to the right."""
    _print_under(title, _table(columns, [list(row) for row in rows]))


def print_facts(title: str, facts: Iterable[tuple[str, object]]) -> None:
    """Print names with their values under a title; such a table needs no names for its columns."""
    table = _table(("name", "value"), [list(fact) for fact in facts])
    table.show_header = False
    _print_under(title, table)


def _print_under(title: str, table: Table) -> None:
    # Rich would fold a title to the width of the table.
    out = console()
    out.print(Text(title, "table.title"), soft_wrap=True)
    out.print(table)


def _table(columns: Sequence[str], cells: list[list[object]]) -> Table:
    if not all(columns):
        raise ValueError("a column has no name")
    table = Table(header_style="bold")
    for i, column in enumerate(columns):
        numeric = all(_is_number(row[i]) for row in cells) if cells else False
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(_text(cell)) for cell in row))
    return table


def print_search(document: Mapping[str, Any]) -> None:
    """Print a study's document: the front, then the winner beside dense."""
    print_front("front of the trained candidates", document)
    trials = document["trials"]
    console().print(
        f"{trials['total']} trials: {trials['complete']} trained, {trials['rejected']} rejected before training, "
        f"{trials['reused']} reused, {trials['stopped']} stopped early, {trials['failed']} failed"
    )
    for reason in document["left_out"]:
        console().print(f"left out: {reason}", markup=False)
    winner = document["best"] or document["closest"]
    if winner is None:
        console().print("no finalist yet")
        return
    print_finalist(document, winner)


def print_finalist(document: Mapping[str, Any], finalist: Mapping[str, Any]) -> None:
    """Print one finalist beside dense: policy per site, cost columns, predicted and measured latency."""
    gates = finalist["policy"]["gates"]
    rows = [(site, gate["family"], _genes(gate["genes"])) for site, gate in gates.items()]
    if rows:
        print_table(f"policy of trial {finalist['trial']}", ("site", "gate", "genes"), rows)
    else:
        console().print("the dense network itself, without gates")
    dense, predicted = document["dense"], finalist["predicted_ms"]
    print_table(
        f"{document['device']}, batch {document['batch_size']}, {document['dtype']}, {document['runtime']}",
        ("quantity", "dense", "gated", "ratio"),
        [
            ("validation accuracy", score_text(dense["val_accuracy"]), score_text(finalist["val_accuracy"]), ""),
            ("test accuracy", score_text(dense["test_accuracy"]), score_text(finalist["test_accuracy"]), ""),
            ("paper MACs", *_pair(dense["macs"], finalist["macs_paper"])),
            ("realisable MACs", *_pair(dense["macs"], finalist["macs_realisable"])),
            ("parameters", *_pair(dense["params"], finalist["params"])),
            ("predicted p50", "", f"{predicted['p50']:.3f} ms", f"at most {predicted['upper']:.3f} ms"),
            _measured_row(document["latency_stat"], finalist),
            *resource_rows(finalist["dense_peak_memory_bytes"], finalist["peak_memory_bytes"], finalist["energy"]),
        ],
    )
    budgets = [
        None if document["budget_ms"] is None else f"{finalist['budget_ms']:.3f} ms ({document['label']})",
        None if document["memory_budget_bytes"] is None else f"{in_mib(document['memory_budget_bytes'])} peak memory",
        None if document["energy_budget"] is None else f"{document['energy_budget']} energy per image",
    ]
    asked = [budget for budget in budgets if budget is not None]
    if not asked:
        return
    verdict = "meets" if finalist["meets_budget"] else "MISSES"
    console().print(f"{verdict} the budget of {', '.join(asked)}", markup=False)
    if document["budget_binding"] is False and finalist["meets_budget"]:
        console().print("dense meets this budget already; the fastest policy of equal accuracy is shown")


def _measured_row(stat: str, finalist: Mapping[str, Any]) -> tuple[str, str, str, str]:
    if finalist["measured_ms"] is None:
        return f"measured {stat}", "", "not yet", "export it, and run autogate measure on its device"
    low, high = finalist["ratio_interval"]
    times = (f"{finalist[key][stat]:.3f} ms" for key in ("dense_measured_ms", "measured_ms"))
    return (f"measured {stat}", *times, f"{finalist['ratio']:.3f} [{low:.3f}, {high:.3f}]")  # type: ignore[return-value]


def resource_rows(
    dense_bytes: float | None, gated_bytes: float | None, energy: Mapping[str, Any] | None
) -> list[tuple[str, str, str, str]]:
    """Return the rows of peak memory and energy, dense beside gated; what was not measured has none."""
    rows: list[tuple[str, str, str, str]] = []
    if dense_bytes is not None and gated_bytes is not None:
        rows.append(("peak memory", in_mib(dense_bytes), in_mib(gated_bytes), f"{gated_bytes / dense_bytes:.3f}"))
    if energy is not None:
        low, high = energy["ratio_interval"]
        dense, gated = (in_joules(energy[f"{which}_joules_per_image"]) for which in ("dense", "gated"))
        rows.append(("measured energy per image", dense, gated, f"{energy['ratio']:.3f} [{low:.3f}, {high:.3f}]"))
    return rows


def print_front(title: str, document: Mapping[str, Any]) -> None:
    """Print the front of a study: accuracy after short training, latency predicted and, of finalists, measured.

    Peak memory and energy have a column where any point has them.
    """
    stat = document["latency_stat"]
    rows = []
    for point in document["front"]:
        measured = point["measured_ms"]
        rows.append(
            (
                str(point["trial"]),
                score_text(point["val_accuracy"]),
                f"{point['predicted_ms']['p50']:.3f}",
                f"{point['predicted_ms']['upper']:.3f}",
                "" if measured is None else f"{measured[stat]:.3f}",
                "" if point["peak_memory_bytes"] is None else in_mib(point["peak_memory_bytes"]),
                "" if point["energy"] is None else in_joules(point["energy"]["gated_joules_per_image"]),
            )
        )
    optional = ("peak memory", "measured energy per image")
    columns = ("trial", "val accuracy", "predicted p50 ms", "upper bound ms", f"measured {stat} ms", *optional)
    shown = [i for i, column in enumerate(columns) if column not in optional or any(row[i] for row in rows)]
    print_table(title, [columns[i] for i in shown], [[row[i] for i in shown] for row in rows])


def sparkline(values: list[float], width: int = 60) -> str:
    """Return values as one line of bars, from nothing to the highest; at most ``width`` of them."""
    picked = [values[i * len(values) // min(width, len(values))] for i in range(min(width, len(values)))]
    top = max(picked, default=0.0)
    return "".join(_BARS[round(value / top * (len(_BARS) - 1))] if top > 0 else _BARS[0] for value in picked)


def _pair(dense: float, gated: float) -> tuple[str, str, str]:
    return f"{dense:,.0f}", f"{gated:,.0f}", f"{gated / dense:.3f}"


def _genes(genes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in genes.items())


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _is_number(cell: object) -> bool:
    text = _text(cell).replace(",", "").rstrip("%").removesuffix(" ms").removesuffix(" MiB").removesuffix(" mJ")
    try:
        float(text or "0")
    except ValueError:
        return False
    return True
