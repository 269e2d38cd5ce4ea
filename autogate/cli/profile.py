"""``autogate profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import autogate
from autogate.cli.options import (
    BatchSize,
    Device,
    Dtype,
    Format,
    FormatOption,
    InputSize,
    Layout,
    Model,
    NumClasses,
    Seed,
    Space,
    Storage,
    Threads,
)
from autogate.cli.printing import print_json, print_table
from autogate.cli.progress import TerminalReporter
from autogate.units import parse_duration


def command(
    model: Model = "resnet20",
    space: Space = "unified",
    out: Annotated[Path | None, typer.Option(help="File to write [default: the database].")] = None,
    time: Annotated[str, typer.Option(help="Time to spend.")] = "40s",
    device: Device = "auto",
    batch_size: BatchSize = 1,
    dtype: Dtype = "float32",
    layout: Layout = "auto",
    threads: Threads = None,
    input_size: InputSize = None,
    num_classes: NumClasses = None,
    seed: Seed = 0,
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> None:
    """Measure a network's units, dense and gated, on this device; needs neither data nor weights."""
    taken = autogate.profile(
        model, space=space, out=out, seconds=parse_duration(time), storage=storage, reporter=TerminalReporter(),
        device=device, batch_size=batch_size, dtype=dtype, layout=layout, threads=threads, input_size=input_size,
        num_classes=num_classes, seed=seed,
    )  # fmt: skip
    dense = taken.networks[0]
    facts = {
        "schema": "autogate.profile-summary/1", "model": model, "setting": taken.setting.to_json(),
        "unit_forms": len({sample.key for sample in taken.units}), "networks": len(taken.networks),
        "passes": dense.passes, "dense_ms": dense.ms, "dense_iqr_ms": dense.iqr_ms,
        "out": None if out is None else str(out),
    }  # fmt: skip
    if output is Format.json:
        print_json(facts)
        return
    rows = [
        ("unit forms seen", facts["unit_forms"]),
        ("whole networks", f"{facts['networks']} x {dense.passes} passes"),
        ("dense, measured p50", f"{dense.ms:.3f} ms (IQR {dense.iqr_ms:.3f} ms)"),
        ("written to", str(out) if out is not None else "the study database"),
    ]
    setting = taken.setting
    print_table(f"{model} on {setting.device_name}, batch {setting.batch_size}, {setting.layout}", ("", ""), rows)
