"""``autogate sensitivity``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import autogate
from autogate.api import terminal_reporter
from autogate.cli.options import Format, FormatOption, numbers
from autogate.cli.printing import console, print_json, print_table
from autogate.cli.settings import parsed, takes_settings
from autogate.units import score_text


class Tie(StrEnum):
    """Which sites are gated together."""

    site = "site"
    stage = "stage"


@takes_settings("sensitivity")
def command(
    family: Annotated[str, typer.Option(help="Gate family: drop, magnitude or antidote.")],
    tie: Annotated[Tie, typer.Option(help="Gate one site at a time, or all sites of a stage together.")] = Tie.site,
    values: Annotated[str | None, typer.Option(help="Pruning ratios to try, e.g. 0.1,0.3,0.5.")] = None,
    images: Annotated[int, typer.Option(help="Number of validation images to score on.")] = 512,
    plot: Annotated[Path | None, typer.Option(help="HTML file for a plot of the curves.")] = None,
    output: FormatOption = Format.table,
    **settings: Any,
) -> None:
    """Show how much accuracy gates at a single site or stage cost, by pruning ratio; trains no gate."""
    document = autogate.sensitivity(
        family=family,
        tie=tie.value,
        values=None if values is None else numbers(values, "values"),
        images=images,
        plot=plot,
        reporter=terminal_reporter(),
        **parsed(settings),
    ).to_json()
    if output is Format.json:
        print_json(document)
        return
    columns = max((curve["values"] for curve in document["curves"]), key=len)
    print_table(
        f"{document['family']} alone, validation accuracy on {document['images']} images "
        f"(dense: {score_text(document['dense_accuracy'], 1)})",
        ("site", "ratio", *(f"{value:g}" for value in columns), *([] if columns else ["accuracy"])),
        [
            (curve["site"], curve["ratio"] or "", *(score_text(accuracy, 1) for accuracy in curve["accuracies"]))
            for curve in document["curves"]
        ],
    )
    if plot is not None:
        console().print(f"curves drawn in {plot}", markup=False)
