"""``autogate measure``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import autogate
from autogate.cli.options import Format, FormatOption, Stat, StatOption, Threads
from autogate.cli.printing import print_json, print_table, resource_rows
from autogate.units import parse_duration


def command(
    path: Annotated[Path, typer.Argument(help="Directory written by autogate export.")],
    device: Annotated[str | None, typer.Option(help="Device [default: the one it was searched for].")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per call [default: as searched].")] = None,
    layout: Annotated[
        str | None, typer.Option(help="Memory layout, or auto for dense's fastest [default: as searched].")
    ] = None,
    threads: Threads = None,
    runtime: Annotated[
        str, typer.Option(help="Runtime of both: eager, compiled, cuda_graph, or one of a plug-in.")
    ] = "eager",
    time: Annotated[str, typer.Option(help="Longest time to spend.")] = "20s",
    latency_stat: StatOption = Stat.p95,
    output: FormatOption = Format.table,
) -> None:
    """Measure latency, peak memory and energy of an export beside its dense network, on this device."""
    result = autogate.measure(
        path,
        device=device,
        batch_size=batch_size,
        layout=layout,
        threads=threads,
        runtime=runtime,
        seconds=parse_duration(time),
        latency_stat=latency_stat.value,
    )
    if output is Format.json:
        print_json(result)
        return
    setting = result["setting"]
    rows = [
        (
            name,
            *(f"{result[name][key]:.3f}" for key in ("mean", "p50", "p95", "max")),
            f"[{result[name]['interval'][0]:.3f}, {result[name]['interval'][1]:.3f}]",
            str(result[name]["repeats"]),
        )
        for name in ("dense", "gated")
    ]
    low, high = result["ratio_interval"]
    print_table(
        f"measured on {setting['device_name']}, batch {setting['batch_size']}, {setting['dtype']}, "
        f"{setting['layout']}, {setting['threads']} threads, {setting['runtime']}; "
        f"gated / dense = {result['ratio']:.3f} [{low:.3f}, {high:.3f}]",
        ("ms", "mean", "p50", "p95", "max", f"95 % interval of {latency_stat.value}", "repeats"),
        rows,
    )
    memory = result["peak_memory"]
    print_table(
        "memory and energy" if result["energy"] is not None else "memory",
        ("", "dense", "gated", "ratio"),
        resource_rows(memory["dense_bytes"], memory["gated_bytes"], result["energy"]),
    )
