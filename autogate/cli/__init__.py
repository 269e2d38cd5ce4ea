"""The command line: parse, call :mod:`autogate.api`, print."""

from autogate.cli.progress import TerminalReporter

__all__ = ["TerminalReporter"]
