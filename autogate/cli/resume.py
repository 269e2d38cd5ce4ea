"""``autogate resume``."""

from __future__ import annotations

from typing import Annotated

import typer

import autogate
from autogate.cli.options import AllowStale, Format, FormatOption, Storage, StudyName
from autogate.cli.progress import TerminalReporter
from autogate.cli.search import print_result
from autogate.units import parse_duration


def command(
    study: StudyName,
    trials: Annotated[int | None, typer.Option(help="Further proposals [default: finish those asked for].")] = None,
    trainings: Annotated[int | None, typer.Option(help="Most candidates to train, in all.")] = None,
    timeout: Annotated[str | None, typer.Option(help="No new trial starts after this, such as 30m or 2h.")] = None,
    allow_stale: AllowStale = False,
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> int:
    """Continue a study after an interruption, or with further trials."""
    found = autogate.resume(
        study, trials=trials, trainings=trainings, allow_stale=allow_stale, storage=storage,
        reporter=TerminalReporter(), timeout_s=None if timeout is None else parse_duration(timeout),
    )  # fmt: skip
    return print_result(found, output)
