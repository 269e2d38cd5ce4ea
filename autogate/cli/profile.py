"""``autogate profile``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import autogate
from autogate.api import terminal_reporter
from autogate.cli.options import Format, FormatOption, NumClasses, Storage, duration_s
from autogate.cli.printing import print_facts, print_json, print_table
from autogate.cli.settings import Command, CommandGroup, parsed, takes_settings
from autogate.records import MIXED

app = typer.Typer(rich_markup_mode=None, cls=CommandGroup)
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
@takes_settings("profile")
def profile(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="File to write [default: the database].")] = None,
    time: Annotated[
        str | None, typer.Option(help="Hard time limit, e.g. 2m [default: 40s, longer for slow networks].")
    ] = None,
    num_classes: NumClasses = None,
    transfer_from: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE", help="Adapt this profile of another device; only a few networks are measured here."
        ),
    ] = None,
    networks: Annotated[int, typer.Option(help="Number of networks to measure with --transfer-from.")] = 20,
    allow_noisy: Annotated[
        bool, typer.Option("--allow-noisy", help="Accept a profile measured on a noisy machine.")
    ] = False,
    lock_clocks: Annotated[
        bool, typer.Option("--lock-clocks", help="Lock the GPU at its maximum clock while profiling.")
    ] = False,
    storage: Storage = None,
    output: FormatOption = Format.table,
    **settings: Any,
) -> None:
    """Measure a network's units, dense and gated, on this device; needs neither data nor weights."""
    if context.invoked_subcommand is not None:
        return
    from autogate.latency.profile import profile_digest

    model = settings["model"]
    taken = autogate.profile(
        out=out,
        time_s=None if time is None else duration_s(time, "time"),
        num_classes=num_classes,
        transfer_from=transfer_from,
        networks=networks,
        allow_noisy=allow_noisy,
        lock_clocks=lock_clocks,
        storage=storage,
        reporter=terminal_reporter(),
        **parsed(settings),
    )
    dense, mixed = taken.networks[0], [sample for sample in taken.networks if sample.phase == MIXED]
    facts = {
        "schema": "autogate.profile-summary/1",
        "model": model,
        "setting": taken.setting.to_json(),
        "unit_forms": len(taken.forms),
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
        *([("other work while profiling", _other_work(facts))] if facts["others_cores"] is not None else []),
        ("written to", str(out) if out is not None else f"the study database, as {facts['digest']}"),
    ]
    setting = taken.setting
    print_facts(f"{model} on {setting.device_name}, batch {setting.batch_size}, {setting.layout}", rows)


def _other_work(facts: Mapping[str, Any]) -> str:
    withheld = f", {facts['stolen_cores']:.2f} withheld by the host" if facts["stolen_cores"] else ""
    return f"{facts['others_cores']:.2f} cores busy{withheld}"


@app.command(cls=Command)
@takes_settings("profile validate")
def validate(
    file: Annotated[
        str,
        typer.Argument(
            metavar="PROFILE", help="Profile file, name of a recorded one, digest of a stored one, or a study."
        ),
    ],
    model: Annotated[str | None, typer.Option(help="Network [default: the profile's].")] = None,
    networks: Annotated[int, typer.Option(help="Number of networks to measure that the profile has not seen.")] = 40,
    time: Annotated[str, typer.Option(help="Time to measure for, e.g. 2m.")] = "60s",
    num_classes: NumClasses = None,
    plot: Annotated[Path | None, typer.Option(help="HTML file for a plot of measured against predicted.")] = None,
    storage: Storage = None,
    output: FormatOption = Format.table,
    **settings: Any,
) -> None:
    """Measure gated networks that a profile has not seen, and score its predictions."""
    document = autogate.validate_profile(
        file,
        model=model,
        networks=networks,
        time_s=duration_s(time, "time"),
        num_classes=num_classes,
        plot=plot,
        storage=storage,
        reporter=terminal_reporter(),
        **parsed(settings),
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
        ("predictor", *_SCORES.values()),
        rows,
    )
    found, again = document["model"], document["retest"]
    low, high = found["coverage_interval"]
    print_facts(
        "bounds, budgets and drift",
        [
            ("slower than the 95 % bound", f"{1 - found['coverage']:.1%} [{1 - high:.1%}, {1 - low:.1%}]"),
            (
                "budget violations, of those above 3 %",
                f"{found['violations']:.1%}, {found['violations_over_3_percent']:.1%}",
            ),
            (
                "budget violations of the second measurement",
                f"{again['violations']:.1%}, {again['violations_over_3_percent']:.1%}",
            ),
            ("dense drift against the profile", f"{document['canary'] - 1:+.1%}"),
            ("measured over predicted without that drift, median", f"{document['drift']:+.1%}"),
        ],
    )
