"""The ``autogate`` command: its sub-commands, and how errors end it."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from autogate.cli.command_list import CommandList
from autogate.errors import AutoGateError

INTERRUPTED = 130

app = typer.Typer(
    name="autogate",
    help="Search gates for a CNN under a latency budget that is measured on your device.",
    cls=CommandList,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _begin() -> None:
    """Take no option; without a function of its own the group could not be made."""


def main() -> None:
    """Run the command line; exit with 0, 2 (wrong input), 3 (budget not met) or 130 (interrupted)."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if threading.current_thread() is threading.main_thread():
        # Whoever asks a search to end, as cluster managers do, interrupts it.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _shown_warnings():
            code = app(prog_name="autogate", standalone_mode=False)
    except AutoGateError as error:
        console.print(f"autogate: {error}", markup=False)
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _interrupted(console)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        asked = "autogate" if context is None else context.command_path
        message = error.format_message().rstrip(".")
        see = " See" if message.endswith("?") else "; see"
        console.print(f"autogate: {message}{see} {asked} --help", markup=False)
        sys.exit(2)
    if code == INTERRUPTED:  # typer turns the interruption itself into this code
        _interrupted(console)
    sys.exit(code if isinstance(code, int) else 0)


@contextmanager
def _shown_warnings() -> Iterator[None]:
    """Write what is logged as a warning, such as a package that cannot be used, to standard error."""
    logger, handler = logging.getLogger("autogate"), logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _interrupted(console: Console) -> None:
    from autogate.api import resume_command

    command = resume_command()
    rest = f"; nothing finished is lost, continue with: {command}" if command else ""
    console.print(f"autogate: interrupted{rest}", markup=False)
    sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
