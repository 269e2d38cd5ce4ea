"""``autogate export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import autogate
from autogate.cli.options import Format, FormatOption, Storage, StudyName
from autogate.cli.printing import console, print_json


def command(
    study: StudyName,
    to: Annotated[Path, typer.Option(help="Directory to write.")],
    trial: Annotated[str, typer.Option(help="best, or the trial number of a finalist.")] = "best",
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> None:
    """Write policy, weights, program and report of a finalist; reload and verify them."""
    report = autogate.export(study, to, trial=trial, storage=storage).to_json()
    if output is Format.json:
        print_json(report)
        return
    verified = report["verified"]
    console().print(
        f"wrote {to}: policy.json, model.safetensors, model.pt2, report.json, inputs.safetensors\n"
        f"reloaded and compared on {verified['images']} images: largest difference {verified['max_difference']:.1e}, "
        f"{verified['changed_predictions']} predictions changed\n"
        f"measure it with: autogate measure {to}",
        markup=False,
    )
