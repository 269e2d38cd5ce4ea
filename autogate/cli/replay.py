"""``autogate replay``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import autogate
from autogate.api import terminal_reporter
from autogate.cli.options import Format, FormatOption, Storage, StudyName, duration_s
from autogate.cli.printing import print_facts, print_json
from autogate.cli.settings import parsed, takes_settings
from autogate.units import score_text


@takes_settings("replay", unless_given="the study's")
def command(
    study: StudyName,
    name: Annotated[str, typer.Option(help="Name of the replay, which is stored as another study.")],
    delay: Annotated[str, typer.Option(help="Time that each evaluation is made to take, e.g. 1s.")] = "0s",
    storage: Storage = None,
    output: FormatOption = Format.table,
    **settings: Any,
) -> None:
    """Search a recorded study again with another sampler or seed; reuses its evaluations, trains nothing."""
    document = autogate.replay(
        study,
        name=name,
        delay_s=0.0 if delay in ("0", "0s") else duration_s(delay, "delay"),
        storage=storage,
        reporter=terminal_reporter(),
        **parsed(settings),
    ).to_json()
    if output is Format.json:
        print_json(document)
        return
    counts = document["trials"]
    accuracy = document["best_val_accuracy"]
    rows = [
        ("sampler", f"{document['sampler']}, seed {document['seed']}"),
        (
            "trials",
            f"{counts['total']}: {counts['complete']} answered, {counts['rejected']} rejected, "
            f"{counts['reused']} repeated",
        ),
        (
            "best within the goal",
            "none" if accuracy is None else f"{score_text(accuracy)} (trial {document['best_trial']})",
        ),
        ("hypervolume", f"{document['hypervolume']:.4f}"),
        ("time", f"{document['seconds']:.1f} s, of it {document['sampler_seconds']:.1f} s in the sampler"),
    ]
    print_facts(f"replay of {study}", rows)
