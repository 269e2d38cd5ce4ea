"""The command line: parse, call :mod:`autogate.api`, print."""

from autogate.api import terminal_reporter

__all__ = ["terminal_reporter"]
