"""``autogate replay``."""

from __future__ import annotations

from typing import Annotated

import typer

import autogate
from autogate.api import TerminalReporter
from autogate.cli.options import Format, FormatOption, Sampler, Storage, StudyName, Workers
from autogate.cli.printing import print_json, print_table
from autogate.units import parse_duration


def command(
    study: StudyName,
    name: Annotated[str, typer.Option("--as", help="Name of the replay, a study of its own.")],
    trials: Annotated[int | None, typer.Option(help="Proposals [default: as many as the study had].")] = None,
    sampler: Sampler = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the proposals [default: the study's].")] = None,
    workers: Workers = None,
    delay: Annotated[str, typer.Option(help="How long each answer takes, such as 1s.")] = "0s",
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> None:
    """Search a recorded study again with another sampler or seed; its evaluations answer, nothing is trained."""
    document = autogate.replay(
        study,
        name=name,
        trials=trials,
        sampler=sampler,
        seed=seed,
        workers=workers,
        seconds=0.0 if delay in ("0", "0s") else parse_duration(delay),
        storage=storage,
        reporter=TerminalReporter(),
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
        ("best within the goal", "none" if accuracy is None else f"{accuracy:.2%} (trial {document['best_trial']})"),
        ("hypervolume", f"{document['hypervolume']:.4f}"),
        ("time", f"{document['seconds']:.1f} s, of it {document['sampler_seconds']:.1f} s in the sampler"),
    ]
    print_table(f"replay of {study}", ("", ""), rows)
