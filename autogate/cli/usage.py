"""What was typed wrong, in AutoGate's words instead of those of the library that parses it."""

from __future__ import annotations

import typer

from autogate.system import one_line


def usage_text(error: typer.TyperException, command: str) -> str:
    """Return what is wrong with a command line, and which help says how it is written.

    Args:
        error: What the parser raised.
        command: The command that was typed, such as ``autogate show``.
    """
    message = (_wrong_value(error) or error.format_message()).rstrip(".")
    return f"{message}{' See' if message.endswith('?') else '; see'} {command} --help"


def _wrong_value(error: typer.TyperException) -> str | None:
    """Return which option must be what and is not, if that is what the error is about."""
    from pydantic import ValidationError

    cause = error.__cause__
    if not isinstance(error, typer.BadParameter) or not isinstance(cause, ValidationError) or error.param is None:
        return None
    flag = max(error.param.opts, key=len) if error.param.param_type_name == "option" else error.param.name
    first = cause.errors()[0]
    if first["type"] == "value_error":
        return f"{flag}: {one_line(cause)}"
    return f"{flag} {one_line(cause)}, not {first['input']!r}"
