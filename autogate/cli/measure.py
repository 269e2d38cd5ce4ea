"""``autogate measure``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import autogate
from autogate.cli.options import Format, FormatOption, duration_s
from autogate.cli.printing import console, print_json, print_table, resource_rows
from autogate.cli.settings import parsed, takes_settings

_ALL = "all"
_STATISTICS = ("mean", "p50", "p95", "max")
_NETWORKS = ("dense", "gated")
_TIMES = ("p50 ms", "p99 of passes")
_TAILS = {"pass_p90": "p90 of passes", "pass_p99": "p99 of passes"}


@takes_settings("measure", unless_given="as searched")
def command(
    path: Annotated[Path, typer.Argument(help="Directory written by autogate export.")],
    runtime: Annotated[
        str | None,
        typer.Option(
            help="Runtime of both: eager, inductor, cuda_graph, onnxruntime, openvino, one of a plug-in, or all "
            "[default: as searched].",
            show_default=False,
        ),
    ] = None,
    time: Annotated[str, typer.Option(help="Time to measure latency for, at most.")] = "20s",
    output: FormatOption = Format.table,
    **settings: Any,
) -> None:
    """Measure latency, peak memory and energy of an export beside its dense network, on this device."""
    how = {"time_s": duration_s(time, "time"), **parsed(settings)}
    if runtime == _ALL:
        _print_runtimes(autogate.measure_runtimes(path, **how).to_json(), output)
        return
    result = autogate.measure(path, runtime=runtime, **how).to_json()
    if output is Format.json:
        print_json(result)
        return
    setting = result["setting"]
    rows = [
        (
            name,
            *(f"{result[name][key]:.3f}" for key in _STATISTICS),
            f"[{result[name]['interval'][0]:.3f}, {result[name]['interval'][1]:.3f}]",
            str(result[name]["repeats"]),
            *(f"{result[name][key]:.3f}" for key in _TAILS),
        )
        for name in _NETWORKS
    ]
    low, high = result["ratio_interval"]
    print_table(
        f"measured on {setting['device_name']}, batch {setting['batch_size']}, {setting['dtype']}, "
        f"{setting['layout']}, {setting['threads']} threads, {setting['runtime']}; "
        f"gated / dense = {result['ratio']:.3f} [{low:.3f}, {high:.3f}]",
        ("ms", *_STATISTICS, f"95 % interval of {settings['latency_stat'] or 'p95'}", "repeats", *_TAILS.values()),
        rows,
    )
    memory = result["peak_memory"]
    if memory is not None:
        print_table(
            "memory and energy" if result["energy"] is not None else "memory",
            ("quantity", "dense", "gated", "ratio"),
            resource_rows(memory["dense_bytes"], memory["gated_bytes"], result["energy"]),
        )


def _print_runtimes(document: dict[str, Any], output: Format) -> None:
    """Print a row for each runtime: dense and gated there, and gated over dense."""
    if output is Format.json:
        print_json(document)
        return
    rows, reasons = [], []
    for row in document["runtimes"]:
        found = row["measurement"]
        if found is None:
            reasons.append(row["reason"])
            continue
        low, high = found["ratio_interval"]
        times = (f"{found[name][key]:.3f}" for name in _NETWORKS for key in ("p50", "pass_p99"))
        verdict = "faster" if high < 1 else "slower" if low > 1 else "as fast"
        ratio = f"{found['ratio']:.3f} [{low:.3f}, {high:.3f}]"
        rows.append((row["runtime"], found["setting"]["dtype"], *times, ratio, verdict))
    setting = next(row["measurement"]["setting"] for row in document["runtimes"] if row["measurement"] is not None)
    print_table(
        f"measured on {setting['device_name']}, batch {setting['batch_size']}, {setting['threads']} threads",
        (
            "runtime",
            "dtype",
            *(f"{name} {what}" for name in _NETWORKS for what in _TIMES),
            "ratio",
            "gated is",
        ),
        rows,
    )
    for reason in reasons:
        console().print(f"left out: {reason}", markup=False)
