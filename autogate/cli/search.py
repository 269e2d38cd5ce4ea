"""``autogate search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import autogate
from autogate.api import terminal_reporter
from autogate.cli.options import Format, FormatOption, StudyStorage
from autogate.cli.printing import console, print_facts, print_json, print_search
from autogate.cli.settings import merge_config, parsed, takes_settings
from autogate.errors import BudgetInfeasibleError
from autogate.units import in_mib

NOT_MET = 3
_STUDY = "Study"


@takes_settings("search")
def command(
    context: typer.Context,
    study: Annotated[
        str | None, typer.Option(help="Name of the study [default: a new one].", rich_help_panel=_STUDY)
    ] = None,
    storage: StudyStorage = None,
    artifacts: Annotated[
        str | None,
        typer.Option(
            help="Folder or URL that all hosts can reach, for weights [default: with the database].",
            rich_help_panel=_STUDY,
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of these options; options on the command line win.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print which latency and memory can be reached; train nothing.")
    ] = False,
    output: FormatOption = Format.table,
    **settings: Any,
) -> int:
    """Search gates under a latency budget, and measure the best."""
    options = merge_config(context, config)
    settings, storage = parsed(options), options["storage"]
    reporter = terminal_reporter()
    if dry_run:
        _print_dry_run(autogate.dry_run(storage=storage, reporter=reporter, **settings).to_json(), output)
        return 0
    try:
        found = autogate.search(
            study=options["study"], storage=storage, artifacts=options["artifacts"], reporter=reporter, **settings
        )
    except BudgetInfeasibleError as error:
        if output is Format.json:
            print_json(error.document())
        raise
    return print_result(found, output)


def print_result(study: autogate.Study, output: Format) -> int:
    """Print a finished study and return the exit code: 3 if there are budgets and no finalist meets them."""
    document = study.document()
    if output is Format.json:
        print_json(document)
    else:
        print_search(document)
        console().print(f"study {study.name}: {study.store.command('show', study.name)}", markup=False)
    return NOT_MET if study.config.budgets.any and document["best"] is None else 0


def _print_dry_run(facts: dict[str, Any], output: Format) -> None:
    if output is Format.json:
        print_json(facts)
        return
    rows = [
        ("dense, predicted", f"{facts['dense_ms']:.3f} ms"),
        ("fastest reachable, predicted", f"{facts['lightest_ms']:.3f} ms"),
        ("budget", "none" if facts["budget_ms"] is None else f"{facts['budget_ms']:.3f} ms"),
        *_memory_rows(facts),
        ("reachable", "yes" if facts["reachable"] else "no"),
        ("decisions", facts["decisions"]),
        ("combinations", f"{facts['combinations']:.3g}"),
    ]
    print_facts(f"{facts['device']}, batch {facts['batch_size']}", rows)
    for line in facts["cannot_pay"]:
        console().print(f"cannot pay here: {line}", markup=False)


def _memory_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    rows = {
        "dense, peak memory": facts["dense_peak_memory_bytes"],
        "smallest reachable peak memory": facts["smallest_peak_memory_bytes"],
        "memory budget": facts["memory_budget_bytes"],
    }
    return [(name, in_mib(size_bytes)) for name, size_bytes in rows.items() if size_bytes is not None]
