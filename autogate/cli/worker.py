"""``autogate worker``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import autogate
from autogate.api import terminal_reporter
from autogate.cli.options import Storage, StudyName, duration_s
from autogate.cli.printing import console
from autogate.cli.settings import parsed, takes_settings


@takes_settings("worker", unless_given="the study's")
def command(
    study: StudyName,
    idle: Annotated[
        str | None, typer.Option(help="Stop after this time without work, e.g. 10m [default: never].")
    ] = None,
    started_as: Annotated[str | None, typer.Option("--as", hidden=True)] = None,
    storage: Storage = None,
    **settings: Any,
) -> None:
    """Train candidates of a study that another process runs; it can be stopped at any time."""
    done = autogate.run_worker(
        study,
        storage=storage,
        idle_s=None if idle is None else duration_s(idle, "idle"),
        started_as=started_as,
        # What a worker of a team says last is read as the reason of its end.
        reporter=terminal_reporter() if started_as is None else autogate.Reporter(),
        **parsed(settings),
    )
    console().print(f"{done} candidates trained for study {study}", markup=False)
