"""``autogate show``."""

from __future__ import annotations

from typing import Annotated

import typer

import autogate
from autogate.cli.options import Format, FormatOption, Storage, StudyName
from autogate.cli.printing import print_finalist, print_json, print_search


def command(
    study: StudyName,
    trial: Annotated[str | None, typer.Argument(help="best, or the trial number of a finalist.")] = None,
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> None:
    """Show a study, or one of its finalists: policy per site, cost columns, predicted and measured."""
    document = autogate.show_study(study, trial or "best", storage=storage).to_json()
    if output is Format.json:
        print_json(document)
    elif trial is None or document.get("finalist", document["best"]) is None:
        print_search(document)
    else:
        print_finalist(document, document.get("finalist", document["best"]))
