"""Options that several commands share and that are no settings of a search, each written once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from autogate.errors import UnitError
from autogate.units import parse_duration


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"


StudyName = Annotated[str, typer.Argument(help="Name of the study.")]
FormatOption = Annotated[
    Format, typer.Option("--format", "-f", help="table, or json: one JSON document on standard output.")
]


def _storage(heading: str | None = None) -> Any:
    return typer.Option(
        envvar="AUTOGATE_STORAGE",
        help="Database URL [default: sqlite:///studies/autogate.db].",
        show_envvar=True,
        rich_help_panel=heading,
    )


Storage = Annotated[str | None, _storage()]
StudyStorage = Annotated[str | None, _storage("Study")]
NumClasses = Annotated[int | None, typer.Option(help="Number of classes of the classifier [default: the network's].")]


def duration_s(text: str, name: str) -> float:
    """Parse the time that an option of this name gives, in seconds."""
    try:
        return parse_duration(text)
    except UnitError as error:
        raise UnitError(f"--{name}: {error}") from None


def numbers(text: str, name: str) -> tuple[float, ...]:
    """Parse comma-separated numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UnitError(f"--{name} {text!r} must be numbers; write them like 0.1,0.3,0.5") from None
