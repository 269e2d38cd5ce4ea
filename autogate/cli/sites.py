"""``autogate sites``."""

from __future__ import annotations

import autogate
from autogate.cli.options import Format, FormatOption, InputSize, Model, NumClasses
from autogate.cli.printing import print_json, print_table
from autogate.errors import ModelError


def command(
    model: Model = "resnet20",
    input_size: InputSize = None,
    num_classes: NumClasses = None,
    output: FormatOption = Format.table,
) -> None:
    """List the places in a network where gates can stand."""
    if input_size is not None and input_size < 1:
        raise ModelError(f"input size {input_size} must be at least 1")
    shape = None if input_size is None else (3, input_size, input_size)
    rows = [site.to_json() for site in autogate.find_sites(model, shape, num_classes=num_classes)]
    if output is Format.json:
        print_json(rows)
        return
    print_table(
        f"{sum(not row['reason'] for row in rows)} sites of {model}",
        ("site", "stage", "shape", "MACs", "families"),
        [
            (
                row["name"],
                row["stage"],
                "-" if row["reason"] else "x".join(map(str, row["shape"])),
                "-" if row["reason"] else f"{row['macs']:,}",
                f"no site: {row['reason']}" if row["reason"] else " ".join(row["families"]),
            )
            for row in rows
        ],
    )
