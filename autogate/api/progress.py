"""Where progress goes: to Python's logging, or to bars on a terminal or in a notebook."""

from __future__ import annotations

import logging
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from autogate.records import TrialRecord
from autogate.studies import Reporter

_HEARTBEAT_S = 30.0
_log = logging.getLogger("autogate")
_log.addHandler(logging.NullHandler())
_resume: str | None = None


def resume_command() -> str | None:
    """Return how to resume the study that is running in this process, for the message after an interruption."""
    return _resume


def default_reporter(reporter: Reporter | None, *, progress: bool = False) -> Reporter:
    """Return the caller's reporter; without one, bars if ``progress`` is set, else one that logs."""
    if reporter is not None:
        return reporter
    return TerminalReporter() if progress else LoggingReporter()


class LoggingReporter(Reporter):
    """Logs to the logger ``autogate``: notes as warnings, all else as information.

    Args:
        heartbeat_s: Seconds without a line after which the progress of a long stage is logged.
    """

    def __init__(self, heartbeat_s: float = _HEARTBEAT_S) -> None:
        super().__init__()
        self._heartbeat_s = heartbeat_s
        self._stage = ""
        self._said_s = time.monotonic()

    def begin(self, study: str, resume: str) -> None:
        """Log the study's name and the command that resumes it."""
        _log.info("study %s; continue it after an interruption with `%s`", study, resume)

    def enter(self, name: str) -> None:
        """Log that a stage begins."""
        self._stage, self._said_s = name, time.monotonic()
        _log.info("%s: started", name)

    def leave(self, name: str) -> None:
        """Log how long a stage took."""
        _log.info("%s: done, %.1f s so far in this stage", name, self.seconds[name])

    def progress(self, fraction: float, text: str) -> None:
        """Log how far a stage is, if nothing was logged for a while."""
        if time.monotonic() - self._said_s >= self._heartbeat_s:
            self._said_s = time.monotonic()
            _log.info("%s: %.0f %%, %s", self._stage, 100 * fraction, text)

    def note(self, text: str) -> None:
        """Log one line that the user may want to act on, as a warning."""
        _log.warning("%s", text)

    def info(self, text: str) -> None:
        """Log one line on what is being done."""
        self._said_s = time.monotonic()
        _log.info("%s", text)

    def trial(self, record: TrialRecord, best: TrialRecord | None, done: int, wanted: int) -> None:
        """Log one line per proposal."""
        self._said_s = time.monotonic()
        accuracy = "" if record.val_accuracy is None else f", accuracy {record.val_accuracy:.2%}"
        predicted = "" if record.predicted is None else f", predicted {record.predicted['p50']:.3f} ms"
        leader = "" if best is None else f"; best so far {best.val_accuracy:.2%} (trial {best.number})"
        found = f"{record.outcome}{accuracy}{predicted}{leader}"
        _log.info("trial %d (%d of %d): %s", record.number, done, wanted, found)


class TerminalReporter(Reporter):
    """Draws on standard error, or in a notebook: a bar per stage, a line per trial.

    Nothing but the study's name is written where nobody watches.
    """

    def __init__(self) -> None:
        super().__init__()
        self.console = Console(stderr=True, highlight=False)
        self.watched = self.console.is_terminal or self.console.is_jupyter
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._start = time.monotonic()
        self._trials = 0

    def begin(self, study: str, resume: str) -> None:
        """Show the study's name, and remember how to resume it."""
        global _resume
        _resume = resume
        self.console.print(f"study {study}", markup=False)

    def enter(self, name: str) -> None:
        """Start a bar."""
        self._start = time.monotonic()
        if not self.watched or self._bar is not None:
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
        if self.watched:
            self.console.print(text, style="dim", markup=False)

    def info(self, text: str) -> None:
        """Write one line, as notes are."""
        self.note(text)

    def trial(self, record: TrialRecord, best: TrialRecord | None, done: int, wanted: int) -> None:
        """Write one line per proposal."""
        self._trials += 1
        if not self.watched:
            return
        accuracy = "" if record.val_accuracy is None else f"{record.val_accuracy:7.2%}"
        predicted = "" if record.predicted is None else f"{record.predicted['p50']:8.3f} ms"
        leader = "" if best is None else f"best {best.val_accuracy:.2%} (trial {best.number})"
        left = (time.monotonic() - self._start) / self._trials * max(0, wanted - done)
        self.console.print(
            f"trial {record.number:>4}  {record.outcome:<9} {accuracy:>8} {predicted:>12}  {leader}  "
            f"~{left:.0f} s left",
            markup=False,
        )
