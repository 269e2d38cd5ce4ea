"""``autogate sensitivity``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import autogate
from autogate.api import TerminalReporter
from autogate.cli.options import Format, FormatOption, InputSize, Model, Seed, numbers
from autogate.cli.printing import console, print_json, print_table


class Tie(StrEnum):
    """What gates stand at together."""

    site = "site"
    stage = "stage"


def command(
    family: Annotated[str, typer.Option(help="Gate family: drop, magnitude or antidote.")],
    model: Model = "resnet20",
    data: Annotated[
        str, typer.Option(help="digits, an image folder, a torchvision dataset or package.module:factory.")
    ] = "digits",
    weights: Annotated[str | None, typer.Option(help="Trained weights; without, the network is trained first.")] = None,
    tie: Annotated[Tie, typer.Option(help="What is judged: each site on its own, or each stage.")] = Tie.site,
    values: Annotated[str | None, typer.Option(help="Shares to leave out, such as 0.1,0.3,0.5.")] = None,
    images: Annotated[int, typer.Option(help="Validation images to judge on.")] = 512,
    plot: Annotated[Path | None, typer.Option(help="HTML file to draw the curves into.")] = None,
    train_dense: Annotated[bool, typer.Option(help="Train a network without weights on a large dataset too.")] = False,
    device: Annotated[str, typer.Option(help="Device to run on: auto, cpu, cuda:0.")] = "auto",
    input_size: InputSize = None,
    seed: Seed = 0,
    output: FormatOption = Format.table,
) -> None:
    """Show how much accuracy gates at one place alone cost, the harder they prune; trains no gate."""
    document = autogate.sensitivity(
        model,
        data,
        family=family,
        tie=tie.value,
        values=None if values is None else numbers(values, "values"),
        images=images,
        plot=plot,
        reporter=TerminalReporter(),
        weights=weights,
        train_dense=train_dense,
        device=device,
        input_size=input_size,
        seed=seed,
    ).to_json()
    if output is Format.json:
        print_json(document)
        return
    columns = max((curve["values"] for curve in document["curves"]), key=len)
    print_table(
        f"{document['family']} alone, validation accuracy on {document['images']} images "
        f"(dense: {document['dense_accuracy']:.1%})",
        ("site", "", *(f"{value:g}" for value in columns), *([] if columns else [""])),
        [
            (curve["site"], curve["ratio"] or "", *(f"{accuracy:.1%}" for accuracy in curve["accuracies"]))
            for curve in document["curves"]
        ],
    )
    if plot is not None:
        console().print(f"curves drawn in {plot}", markup=False)
