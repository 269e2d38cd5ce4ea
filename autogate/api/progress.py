"""Where progress goes: to Python's logging, to bars on a terminal or in a notebook, or to lines in a file."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from autogate.api.line_progress import LineReporter, LoggingReporter
from autogate.records import TrialRecord
from autogate.studies import Reporter
from autogate.system import printable
from autogate.units import score_text

_resume: str | None = None


def resume_command() -> str | None:
    """Return how to resume the study that is running in this process, for the message after an interruption."""
    return _resume


def default_reporter(reporter: Reporter | None, *, progress: bool = False) -> Reporter:
    """Return the caller's reporter; without one, what a terminal gets if ``progress`` is set, else one that logs."""
    if reporter is not None:
        return reporter
    return terminal_reporter() if progress else LoggingReporter()


def terminal_reporter() -> Reporter:
    """Return a reporter that draws bars where somebody watches, and writes lines to standard error elsewhere."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    return TerminalReporter(console) if console.is_terminal or console.is_jupyter else PlainReporter()


class PlainReporter(LineReporter):
    """Writes to standard error, for a file or a batch system that keeps it."""

    def begin(self, study: str, resume: str) -> None:
        """Say the study's name, and remember how to resume it."""
        _remember(resume)
        super().begin(study, resume)

    def say(self, text: str) -> None:
        """Write one line at once."""
        # A log that is full, or whose reader is gone, is no reason to end a search.
        with suppress(OSError, ValueError):
            print(printable(text), file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Write one line, marked as a note."""
        self.say(f"note: {text}")


class TerminalReporter(Reporter):
    """Draws on a terminal or in a notebook: a bar per stage, a line per trial.

    Args:
        console: Where to draw.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._start = time.monotonic()
        self._trials = 0

    def begin(self, study: str, resume: str) -> None:
        """Show the study's name, and remember how to resume it."""
        _remember(resume)
        self.console.print(f"study {study}")

    def enter(self, name: str) -> None:
        """Start a bar."""
        self._start = time.monotonic()
        if self._bar is not None:
            return
        self._bar = Progress(
            TextColumn("{task.fields[stage]:<22}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=self.console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=1.0, stage=name)
        self._bar.start()

    def leave(self, name: str) -> None:
        """Replace the bar by one line with the stage's time."""
        if self._bar is None:
            return
        self._bar.stop()
        self._bar = None
        self.console.print(f"{name:<22} {self.seconds[name]:6.1f} s")

    def progress(self, fraction: float, text: str) -> None:
        """Move the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=fraction, description=text[:60])

    def note(self, text: str) -> None:
        """Write one line."""
        self.console.print(text, style="dim")

    def info(self, text: str) -> None:
        """Write one line, as notes are."""
        self.note(text)

    def trial(self, record: TrialRecord, best: TrialRecord | None, done: int, wanted: int) -> None:
        """Write one line per proposal."""
        self._trials += 1
        accuracy = f"{score_text(record.val_accuracy):>7}"
        predicted = "" if record.predicted is None else f"{record.predicted['p50']:8.3f} ms"
        leader = "" if best is None else f"best {score_text(best.val_accuracy)} (trial {best.number})"
        left = (time.monotonic() - self._start) / self._trials * max(0, wanted - done)
        self.console.print(
            f"trial {record.number:>4}  {record.outcome:<9} {accuracy:>8} {predicted:>12}  {leader}  ~{left:.0f} s left"
        )


def _remember(resume: str) -> None:
    global _resume
    _resume = resume
