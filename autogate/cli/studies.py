"""``autogate studies``: what is in a database, and what can be done with it as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import autogate
from autogate.cli.options import Format, FormatOption, Storage, StudyName, duration_s
from autogate.cli.printing import console, print_facts, print_json, print_table
from autogate.cli.watch import watch
from autogate.errors import AutoGateError

app = typer.Typer(rich_markup_mode=None)
_COLUMNS = ("study", "model", "data", "goal", "batch_size", "trials", "trained", "wanted", "finalists")
_SHOWN = (
    "study",
    "storage",
    "created_utc",
    "host",
    "code_version",
    "model",
    "data",
    "goal",
    "device",
    "batch_size",
    "label",
    "trials",
    "trained",
    "wanted",
    "finalists",
    "front",
    "hypervolume",
)
NewName = Annotated[str | None, typer.Option("--name", help="Name in the target database [default: same name].")]


@app.callback(invoke_without_command=True)
def studies(context: typer.Context, storage: Storage = None, output: FormatOption = Format.table) -> None:
    """List, show, delete, copy and watch the studies of a database; upgrade and clean it."""
    if context.invoked_subcommand is None:
        _list(storage, output)


@app.command("list")
def list_command(storage: Storage = None, output: FormatOption = Format.table) -> None:
    """List the studies in the database, oldest first."""
    _list(storage, output)


@app.command("show")
def show_command(study: StudyName, storage: Storage = None, output: FormatOption = Format.table) -> None:
    """Show a study's records: when, where and with which code it ran, its configuration and size."""
    document = autogate.describe_study(study, storage=storage).to_json()
    if output is Format.json:
        print_json(document)
        return
    rows = [(name, document[name]) for name in _SHOWN]
    rows += [("weights", f"{document['weights_bytes'] / 2**20:.1f} MiB")]
    rows += [(f"config: {name}", value) for name, value in document["config"].items() if name != "space"]
    print_facts(f"study {study}", rows)


@app.command("delete")
def delete_command(
    study: StudyName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> None:
    """Delete a study for good; weights that others do not use go with `studies vacuum`."""
    autogate.describe_study(study, storage=storage)
    if not yes:
        if not console().is_terminal:
            raise AutoGateError(f"deleting study {study!r} cannot be undone; add --yes")
        if not typer.confirm(f"delete study {study!r} for good?", err=True):
            _print({"schema": "autogate.delete/1", "study": None}, output, f"study {study} was kept")
            return
    autogate.delete_study(study, storage=storage)
    _print({"schema": "autogate.delete/1", "study": study}, output, f"study {study} was deleted")


@app.command("copy")
def copy_command(
    study: StudyName,
    to: Annotated[str, typer.Option(help="URL of the target database; it is created if it does not exist.")],
    name: NewName = None,
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> None:
    """Copy a study with its trials and weights to another database, to be continued there."""
    document = autogate.copy_study(study, to=to, name=name, storage=storage).to_json()
    _print(document, output, f"study {study} was copied to {document['to']} as {document['name']}")


@app.command("export")
def export_command(
    study: StudyName,
    to: Annotated[Path, typer.Option(help="File to write; it must not exist.")],
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> None:
    """Write a study with its trials and weights to one file of JSON lines."""
    document = autogate.export_study(study, to, storage=storage).to_json()
    _print(document, output, f"study {study} was written to {to} ({document['rows']} rows)")


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="A file written by `studies export`.")],
    name: NewName = None,
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> None:
    """Store a study from a file; continue it with `autogate resume`."""
    document = autogate.import_study(file, name=name, storage=storage).to_json()
    _print(document, output, f"study {document['study']} was stored in {document['storage']}")


@app.command("upgrade")
def upgrade_command(storage: Storage = None, output: FormatOption = Format.table) -> None:
    """Bring a database of an older version up to date; nothing is lost."""
    document = autogate.upgrade_studies(storage=storage).to_json()
    if document["from"] == document["to"]:
        text = f"{document['storage']} is up to date (schema {document['to']})"
    else:
        text = f"{document['storage']} was brought from schema {document['from']} to {document['to']}"
    _print(document, output, text)


@app.command("vacuum")
def vacuum_command(storage: Storage = None, output: FormatOption = Format.table) -> None:
    """Remove evaluations, policies and weights that no study uses, and free their space."""
    document = autogate.vacuum_studies(storage=storage).to_json()
    _print(
        document,
        output,
        f"removed {document['evaluations']} evaluations, {document['policies']} policies and {document['weights']} "
        f"weights ({document['weights_bytes'] / 2**20:.1f} MiB)",
    )


@app.command("watch")
def watch_command(
    study: StudyName,
    every: Annotated[str, typer.Option(help="Time between updates, e.g. 5s.")] = "2s",
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> None:
    """Watch a study while it runs; with PostgreSQL, from any host; without a terminal, print once."""
    watch(study, storage, duration_s(every, "every"), output)


def _list(storage: str | None, output: Format) -> None:
    rows = [summary.to_json() for summary in autogate.list_studies(storage=storage)]
    if output is Format.json:
        print_json(rows)
        return
    print_table("studies", _COLUMNS, [[row[column] for column in _COLUMNS] for row in rows])


def _print(document: dict[str, object], output: Format, text: str) -> None:
    if output is Format.json:
        print_json(document)
    else:
        console().print(text, markup=False)
