"""``autogate worker``."""

from __future__ import annotations

from typing import Annotated

import typer

import autogate
from autogate.api import TerminalReporter
from autogate.cli.options import Storage, StudyName
from autogate.cli.printing import console
from autogate.units import parse_duration


def command(
    study: StudyName,
    train_device: Annotated[str | None, typer.Option(help="Device to train on [default: the study's].")] = None,
    idle: Annotated[str | None, typer.Option(help="Leave after this long without work, such as 10m.")] = None,
    started_as: Annotated[str | None, typer.Option("--as", hidden=True)] = None,
    storage: Storage = None,
) -> None:
    """Help to train the candidates of a study that runs elsewhere, until stopped; it can be at any time."""
    done = autogate.run_worker(
        study,
        storage=storage,
        train_device=train_device,
        idle_s=None if idle is None else parse_duration(idle),
        started_as=started_as,
        reporter=TerminalReporter(),
    )
    console().print(f"{done} candidates trained for study {study}", markup=False)
