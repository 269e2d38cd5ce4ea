"""``autogate pareto``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import autogate
from autogate.cli.options import Format, FormatOption, Storage, StudyName
from autogate.cli.printing import console, print_front, print_json, print_table, sparkline
from autogate.cli.settings import parsed, takes_settings
from autogate.errors import AutoGateError
from autogate.units import in_mib, score_text


@takes_settings("pareto", unless_given="the study's")
def command(
    study: StudyName,
    profile: Annotated[
        str | None, typer.Option(help="Judge for the device of this profile: a file, or the name of a recorded one.")
    ] = None,
    over_time: Annotated[
        bool, typer.Option("--history", help="Show how the front grew from trial to trial instead.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="HTML file for a plot of the history.")] = None,
    storage: Storage = None,
    output: FormatOption = Format.table,
    **settings: Any,
) -> None:
    """Show the front of a stored study, under its budgets or others, or for another device; trains nothing."""
    budgets = parsed(settings)
    if over_time or plot is not None:
        if budgets or profile is not None:
            raise AutoGateError("the history is that of the study's own goal; leave budgets and --profile out")
        _print_history(autogate.history(study, storage=storage, plot=plot).to_json(), output)
        return
    document = autogate.pareto(study, profile=profile, storage=storage, **budgets).to_json()
    if output is Format.json:
        print_json(document)
        return
    place = f" on {document['device']}, batch {document['batch_size']}" if profile else ""
    print_front(f"front of {study}{place}", document)
    if document.get("not_profiled"):
        console().print(f"{document['not_profiled']} candidates skipped: their gates are not in this profile")
    out = console()
    if document["budget_ms"] is not None:
        out.print(f"budget {document['budget']} = {document['budget_ms']:.3f} ms against the profiled dense network")
    if document["memory_budget_bytes"] is not None:
        out.print(f"memory budget {in_mib(document['memory_budget_bytes'])}")
    if document["energy_budget"] is not None:
        out.print(f"energy budget {document['energy_budget']}, which applies to measured finalists only")
    if not any(document[key] for key in ("budget_ms", "memory_budget_bytes", "energy_budget")):
        return
    best = document["best_predicted"]
    if best is None:
        out.print("no trained candidate is predicted to meet it; start a search with this budget")
    else:
        out.print(
            f"best predicted within it: trial {best['trial']}, {score_text(best['val_accuracy'])} after short training"
        )
    measured = document["best_measured"]
    if profile is not None:
        out.print("write it with `autogate export`, copy it to that device, and run `autogate measure` there")
    elif measured is None:
        out.print("no finalist meets it")
    else:
        out.print(
            f"best finalist within it: trial {measured['trial']}, test accuracy {score_text(measured['test_accuracy'])}"
        )


def _print_history(document: Mapping[str, Any], output: Format) -> None:
    """Print the trials at which the front grew, and the area under it over all trials."""
    if output is Format.json:
        print_json(document)
        return
    rows, before = [], None
    for point in document["points"]:
        reached = (point["hypervolume"], point["best_trial"])
        if reached != before:
            best = score_text(point["best_val_accuracy"])
            rows.append((point["trial"], f"{point['hypervolume']:.4f}", len(point["front"]), best, point["best_trial"]))
        before = reached
    columns = ("after trial", "hypervolume", "front", "best val accuracy", "of trial")
    print_table(f"history of {document['study']} ({document['goal']}, predicted)", columns, rows)
    console().print(sparkline([point["hypervolume"] for point in document["points"]]))
