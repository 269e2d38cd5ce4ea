"""``autogate pareto``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import autogate
from autogate.cli.options import EnergyBudget, Format, FormatOption, MemoryBudget, Storage, StudyName
from autogate.cli.printing import console, print_front, print_json, print_table, sparkline
from autogate.errors import AutoGateError
from autogate.units import in_mib


def command(
    study: StudyName,
    latency_budget: Annotated[str | None, typer.Option(help="Judge by this budget instead; trains nothing.")] = None,
    memory_budget: MemoryBudget = None,
    energy_budget: EnergyBudget = None,
    profile: Annotated[
        str | None, typer.Option(help="Judge for the device of this profile: a file, or the name of a recorded one.")
    ] = None,
    over_time: Annotated[
        bool, typer.Option("--history", help="Instead: what had been reached after each trial.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="HTML file to draw the history into.")] = None,
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> None:
    """Show the front of a stored study, under its own or other budgets, or for another device; trains nothing."""
    if over_time or plot is not None:
        if any(asked is not None for asked in (latency_budget, memory_budget, energy_budget, profile)):
            raise AutoGateError("the history is that of the study's own goal; leave budgets and --profile out")
        _print_history(autogate.history(study, storage=storage, plot=plot).to_json(), output)
        return
    document = autogate.pareto(
        study,
        latency_budget=latency_budget,
        memory_budget=memory_budget,
        energy_budget=energy_budget,
        profile=profile,
        storage=storage,
    ).to_json()
    if output is Format.json:
        print_json(document)
        return
    place = f" on {document['device']}, batch {document['batch_size']}" if profile else ""
    print_front(f"front of {study}{place}", document)
    if document.get("not_profiled"):
        console().print(f"{document['not_profiled']} candidates hold gates that the profile does not know")
    out = console()
    if document["budget_ms"] is not None:
        out.print(f"budget {document['budget']} = {document['budget_ms']:.3f} ms against the profiled dense network")
    if document["memory_budget_bytes"] is not None:
        out.print(f"memory budget {in_mib(document['memory_budget_bytes'])}")
    if document["energy_budget"] is not None:
        out.print(f"energy budget {document['energy_budget']}, which only measured finalists can be judged by")
    if not any(document[key] for key in ("budget_ms", "memory_budget_bytes", "energy_budget")):
        return
    best = document["best_predicted"]
    if best is None:
        out.print("no trained candidate is predicted within it; search again with this budget")
    else:
        out.print(f"best predicted within it: trial {best['trial']}, {best['val_accuracy']:.2%} after short training")
    measured = document["best_measured"]
    if profile is not None:
        out.print("take it there with `autogate export`, and measure it with `autogate measure`")
    elif measured is None:
        out.print("no finalist meets it")
    else:
        out.print(f"best finalist within it: trial {measured['trial']}, test accuracy {measured['test_accuracy']:.2%}")


def _print_history(document: Mapping[str, Any], output: Format) -> None:
    """Print the trials at which the front grew, and the area under it over all trials."""
    if output is Format.json:
        print_json(document)
        return
    rows, before = [], None
    for point in document["points"]:
        reached = (point["hypervolume"], point["best_trial"])
        if reached != before:
            best = "" if point["best_val_accuracy"] is None else f"{point['best_val_accuracy']:.2%}"
            rows.append((point["trial"], f"{point['hypervolume']:.4f}", len(point["front"]), best, point["best_trial"]))
        before = reached
    columns = ("after trial", "hypervolume", "front", "best val accuracy", "of trial")
    print_table(f"history of {document['study']} ({document['goal']}, predicted)", columns, rows)
    console().print(sparkline([point["hypervolume"] for point in document["points"]]))
