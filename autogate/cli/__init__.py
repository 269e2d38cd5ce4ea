"""The command line: parse, call :mod:`autogate.api`, print."""

from autogate.api import TerminalReporter

__all__ = ["TerminalReporter"]
