"""``autogate sites``."""

from __future__ import annotations

from typing import Any

import autogate
from autogate.cli.options import Format, FormatOption, NumClasses
from autogate.cli.printing import print_json, print_table
from autogate.cli.settings import parsed, takes_settings


@takes_settings("sites")
def command(num_classes: NumClasses = None, output: FormatOption = Format.table, **settings: Any) -> None:
    """List the places in a network where gates can stand."""
    given = parsed(settings)
    found = autogate.find_sites(given["model"], num_classes=num_classes, input_size=given.get("input_size"))
    rows = [site.to_json() for site in found]
    if output is Format.json:
        print_json(rows)
        return
    print_table(
        f"{sum(not row['reason'] for row in rows)} sites of {settings['model']}",
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
