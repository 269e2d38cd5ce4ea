"""``autogate studies``."""

from __future__ import annotations

import autogate
from autogate.cli.options import Format, FormatOption, Storage
from autogate.cli.printing import print_json, print_table


def command(storage: Storage = None, output: FormatOption = Format.table) -> None:
    """List the studies in the database."""
    rows = autogate.studies(storage=storage)
    if output is Format.json:
        print_json(rows)
        return
    columns = ("study", "model", "data", "goal", "batch_size", "trials", "trained", "wanted", "finalists")
    print_table("studies", columns, [[row[column] for column in columns] for row in rows])
