"""``autogate measure``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import autogate
from autogate.cli.options import Format, FormatOption, duration_s
from autogate.cli.printing import print_json, print_table, resource_rows
from autogate.cli.settings import parsed, takes_settings


@takes_settings("measure", unless_given="as searched")
def command(
    path: Annotated[Path, typer.Argument(help="Directory written by autogate export.")],
    runtime: Annotated[
        str,
        typer.Option(help="Runtime of both: eager, compiled, cuda_graph, onnxruntime, openvino, or one of a plug-in."),
    ] = "eager",
    time: Annotated[str, typer.Option(help="Time to measure latency for, at most.")] = "20s",
    output: FormatOption = Format.table,
    **settings: Any,
) -> None:
    """Measure latency, peak memory and energy of an export beside its dense network, on this device."""
    result = autogate.measure(path, runtime=runtime, time_s=duration_s(time, "time"), **parsed(settings)).to_json()
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
        ("ms", "mean", "p50", "p95", "max", f"95 % interval of {settings['latency_stat'] or 'p95'}", "repeats"),
        rows,
    )
    memory = result["peak_memory"]
    if memory is not None:
        print_table(
            "memory and energy" if result["energy"] is not None else "memory",
            ("quantity", "dense", "gated", "ratio"),
            resource_rows(memory["dense_bytes"], memory["gated_bytes"], result["energy"]),
        )
