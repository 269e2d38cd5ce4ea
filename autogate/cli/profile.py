"""``autogate profile``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import autogate
from autogate.api import TerminalReporter
from autogate.cli.options import (
    AllowStale,
    BatchSize,
    Device,
    Dtype,
    Format,
    FormatOption,
    InputSize,
    Layout,
    Model,
    NumClasses,
    Runtime,
    Seed,
    Space,
    Storage,
    Threads,
)
from autogate.cli.printing import print_json, print_table
from autogate.records import MIXED
from autogate.units import parse_duration

app = typer.Typer(rich_markup_mode=None)
_SCORES = {
    "mape": "MAPE",
    "p95_ape": "p95",
    "bias": "bias",
    "within_5": "within 5 %",
    "within_10": "within 10 %",
    "spearman": "Spearman",
    "kendall": "Kendall",
    "skill": "skill",
}
_RANKS = ("spearman", "kendall", "skill")


@app.callback(invoke_without_command=True)
def profile(
    context: typer.Context,
    model: Model = "resnet20",
    space: Space = "unified",
    out: Annotated[Path | None, typer.Option(help="File to write [default: the database].")] = None,
    time: Annotated[
        str | None, typer.Option(help="Time to spend; it is kept [default: 40s, or what a slow network needs].")
    ] = None,
    device: Device = "auto",
    batch_size: BatchSize = 1,
    dtype: Dtype = "float32",
    layout: Layout = "auto",
    threads: Threads = None,
    runtime: Runtime = "eager",
    input_size: InputSize = None,
    num_classes: NumClasses = None,
    seed: Seed = 0,
    transfer_from: Annotated[
        str | None,
        typer.Option(metavar="PROFILE", help="Carry this profile of another device over, measuring little here."),
    ] = None,
    networks: Annotated[int, typer.Option(help="Networks to measure when a profile is carried over.")] = 20,
    allow_noisy: Annotated[bool, typer.Option(help="Keep what was measured on a noisy machine too.")] = False,
    lock_clocks: Annotated[bool, typer.Option(help="Hold a GPU's clock at its highest meanwhile.")] = False,
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> None:
    """Measure a network's units, dense and gated, on this device; needs neither data nor weights."""
    if context.invoked_subcommand is not None:
        return
    from autogate.latency.profile import profile_digest

    taken = autogate.profile(
        model,
        space=space,
        out=out,
        seconds=None if time is None else parse_duration(time),
        storage=storage,
        reporter=TerminalReporter(),
        device=device,
        batch_size=batch_size,
        dtype=dtype,
        layout=layout,
        threads=threads,
        runtime=runtime,
        input_size=input_size,
        num_classes=num_classes,
        seed=seed,
        transfer_from=transfer_from,
        networks=networks,
        allow_noisy=allow_noisy,
        lock_clocks=lock_clocks,
    )
    dense, mixed = taken.networks[0], [sample for sample in taken.networks if sample.phase == MIXED]
    facts = {
        "schema": "autogate.profile-summary/1",
        "model": model,
        "setting": taken.setting.to_json(),
        "unit_forms": len({sample.key for sample in taken.units}),
        "networks": len(mixed),
        "passes": dense.passes,
        "dense_ms": dense.ms,
        "dense_iqr_ms": dense.iqr_ms,
        "resumed": bool(taken.method.get("resumed")),
        "transferred": "transferred_from" in taken.method,
        "others_cores": taken.method.get("others_cores"),
        "stolen_cores": taken.method.get("stolen_cores"),
        "out": None if out is None else str(out),
        "digest": profile_digest(taken),
    }
    if output is Format.json:
        print_json(facts)
        return
    rows = [
        ("unit forms seen", facts["unit_forms"]),
        ("whole networks", f"{facts['networks']} x {dense.passes} passes"),
        ("dense, measured p50", f"{dense.ms:.3f} ms (IQR {dense.iqr_ms:.3f} ms)"),
        *([("other work meanwhile", _other_work(facts))] if facts["others_cores"] is not None else []),
        ("written to", str(out) if out is not None else f"the study database, as {facts['digest']}"),
    ]
    setting = taken.setting
    print_table(f"{model} on {setting.device_name}, batch {setting.batch_size}, {setting.layout}", ("", ""), rows)


def _other_work(facts: Mapping[str, Any]) -> str:
    withheld = f", {facts['stolen_cores']:.2f} withheld by the host" if facts["stolen_cores"] else ""
    return f"{facts['others_cores']:.2f} cores busy{withheld}"


@app.command()
def validate(
    file: Annotated[
        str,
        typer.Argument(
            metavar="PROFILE", help="Profile file, name of a recorded one, digest of a stored one, or a study."
        ),
    ],
    model: Annotated[str | None, typer.Option(help="Network [default: the profile's].")] = None,
    space: Space = "unified",
    networks: Annotated[int, typer.Option(help="Held-out networks to measure.")] = 40,
    time: Annotated[str, typer.Option(help="Time to spend on measuring.")] = "60s",
    num_classes: NumClasses = None,
    seed: Seed = 0,
    plot: Annotated[Path | None, typer.Option(help="HTML file for predicted against measured.")] = None,
    allow_stale: AllowStale = False,
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> None:
    """Measure gated networks that a profile has not seen, and score its predictions."""
    document = autogate.validate_profile(
        file,
        model=model,
        space=space,
        networks=networks,
        seconds=parse_duration(time),
        seed=seed,
        num_classes=num_classes,
        plot=plot,
        allow_stale=allow_stale,
        storage=storage,
        reporter=TerminalReporter(),
    ).to_json()
    if output is Format.json:
        print_json(document)
        return
    relative = document["relative"]
    scores = {
        "model": document["model"],
        "second measurement": document["retest"],
        "drift taken out": document["retest_corrected"],
        **document["baselines"],
        "model, over dense": relative["model"],
        "second measurement, over dense": relative["retest"],
    }
    rows = [
        (name, *(f"{found[key]:.3f}" if key in _RANKS else f"{found[key]:.1%}" for key in _SCORES))
        for name, found in scores.items()
        if found is not None
    ]
    setting = document["setting"]
    print_table(
        f"{document['model_name']}: {document['networks']} held-out networks, batch {setting['batch_size']}, "
        f"spread {document['spread']:.0%}",
        ("", *_SCORES.values()),
        rows,
    )
    found, again = document["model"], document["retest"]
    low, high = found["coverage_interval"]
    print_table(
        "",
        ("", ""),
        [
            ("slower than the 95 % bound", f"{1 - found['coverage']:.1%} [{1 - high:.1%}, {1 - low:.1%}]"),
            (
                "budgets exceeded, by more than 3 %",
                f"{found['violations']:.1%}, {found['violations_over_3_percent']:.1%}",
            ),
            (
                "the same, had the second measurement decided",
                f"{again['violations']:.1%}, {again['violations_over_3_percent']:.1%}",
            ),
            ("dense before measuring, over the profile's", f"{document['canary'] - 1:+.1%}"),
            ("measured over predicted after that, median", f"{document['drift']:+.1%}"),
        ],
    )
