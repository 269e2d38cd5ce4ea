"""A live view of a study that another process runs."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autogate.cli.options import Format
from autogate.cli.printing import console, print_json, sparkline
from autogate.store import Store, default_storage
from autogate.studies import watch_document
from autogate.units import score_text

_LATEST = 8


def watch(study: str, storage: str | None, every_s: float, output: Format) -> None:
    """Draw a study again and again until it is finished; once, where nobody watches or JSON is wanted.

    Args:
        study: Name of the study.
        storage: SQLAlchemy URL of the database.
        every_s: Seconds between looks.
        output: How to print.
    """
    store, out = Store(storage or default_storage()), console()
    document = watch_document(store, study, _LATEST)
    if output is Format.json:
        print_json(document)
        return
    if not out.is_terminal:
        out.print(_view(document))
        return
    with Live(_view(document), console=out, auto_refresh=False) as live:
        while not document["finished"]:
            time.sleep(every_s)
            document = watch_document(store, study, _LATEST)
            live.update(_view(document), refresh=True)


def _view(document: dict[str, Any]) -> Group:
    counts = document["outcomes"]
    head = Text(
        f"study {document['study']} ({document['goal']} on {document['device']}), run by {document['host'] or '?'}"
    )
    done = Text(
        f"{counts['total']} of {document['wanted']} trials: {counts['complete']} trained, {counts['rejected']} "
        f"rejected, {counts['reused']} reused, {counts['stopped']} stopped early, {counts['failed']} failed; "
        f"{document['finalists']} finalists"
    )
    best = document["best"]
    reached = Text(
        "no candidate within the goal yet"
        if best is None
        else f"best within the goal: trial {best['trial']}, {score_text(best['val_accuracy'])} after short training"
    )
    table = Table(header_style="bold")
    for column in ("trial", "outcome", "val accuracy", "predicted p50 ms", "seconds"):
        table.add_column(column, justify="left" if column == "outcome" else "right")
    for trial in document["latest"]:
        accuracy, predicted = trial["val_accuracy"], trial["predicted_p50_ms"]
        table.add_row(
            str(trial["trial"]),
            trial["outcome"],
            score_text(accuracy),
            "" if predicted is None else f"{predicted:.3f}",
            f"{trial['seconds']:.1f}",
        )
    workers = Text(
        "\n".join(f"{one['host']} ({one['device']}): {one['doing'] or 'idle'}" for one in document["workers"])
    )
    if not document["workers"]:
        workers = Text("it has ended" if document["finished"] else "no process runs it now")
    bar = ProgressBar(total=max(1, document["wanted"]), completed=counts["total"], width=60)
    return Group(
        head, bar, Text(), done, reached, Text(f"hypervolume {sparkline(document['hypervolumes'])}"), table, workers
    )
