"""The ``autogate`` command: its sub-commands, and how errors end it."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from typer.core import TyperGroup

from autogate.cli.command_list import CommandList
from autogate.cli.usage import usage_text
from autogate.errors import AutoGateError
from autogate.system import is_short_of_memory, one_line, printable

INTERRUPTED = 130

app = typer.Typer(
    name="autogate",
    help="Search gates for a CNN under a latency budget that is measured on your device.",
    cls=CommandList,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _begin() -> None:
    """Take no option; without a function of its own the group could not be made."""


def main() -> None:
    """Run the command line; exit with 0, 2 (wrong input), 3 (budget not met) or 130 (interrupted)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a character shows a question mark
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")
    if threading.current_thread() is threading.main_thread():
        # Whoever asks a search to end, as cluster managers do, interrupts it; so does a terminal that goes away, unless
        # its user said, with nohup, that it does not.
        for name in ("SIGTERM", "SIGHUP"):
            if (number := getattr(signal, name, None)) is not None and signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        sys.unraisablehook = _interrupt_again
    try:
        with _shown_warnings():
            code = app(sys.argv[1:] or ["--help"], prog_name="autogate", standalone_mode=False)
            if sys.stdout is not None:  # it is closed
                sys.stdout.flush()
    except AutoGateError as error:
        _end(str(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _interrupted()
    except typer.TyperException as error:
        _end(usage_text(error, _asked_command()), 2)
    except BrokenPipeError:  # whoever reads the results, such as `head`, has enough of them
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno is None:
            raise
        _end(f"cannot go on: {one_line(error)}{_how_to_continue()}", 2)
    except (MemoryError, RuntimeError) as error:
        if not is_short_of_memory(error):
            raise
        _end(f"memory does not suffice; lower --batch-size or --input-size, or free some{_how_to_continue()}", 2)
    if code == INTERRUPTED:  # typer turns the interruption itself into this code
        _interrupted()
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt_again(lost: sys.UnraisableHookArgs) -> None:
    """Deliver an interruption once more that came while Python cleared an object away, where none can be raised."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        again = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(lost)


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


def _asked_command() -> str:
    """Return the command that was typed, such as ``autogate studies show``, without its options."""
    path, command = ["autogate"], typer.main.get_command(app)
    for word in sys.argv[1:]:
        found = command.get_command(None, word) if isinstance(command, TyperGroup) else None  # type: ignore[arg-type]
        if found is not None:
            path, command = [*path, word], found
    return " ".join(path)


def _interrupted() -> NoReturn:
    _end(f"interrupted{_how_to_continue()}", INTERRUPTED)


def _how_to_continue() -> str:
    from autogate.api import resume_command

    command = resume_command()
    return f"; nothing finished is lost, continue with: {command}" if command else ""


def _end(text: str, code: int) -> NoReturn:
    """Write one line to standard error, and exit."""
    print(f"autogate: {printable(text)}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
