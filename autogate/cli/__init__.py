"""The command line: parse, call :mod:`autogate.api`, print."""
