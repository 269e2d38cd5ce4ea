"""Draw a search on the terminal: a bar per stage, a line per trial; quiet when nobody watches."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from autogate.records import TrialRecord
from autogate.studies import Reporter

_resume: str | None = None


def resume_command() -> str | None:
    """Return how to resume the study that is running in this process, for the message after an interruption."""
    return _resume


class TerminalReporter(Reporter):
    """Draws on standard error; nothing but the study's name is written when that is no terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.console = Console(stderr=True, highlight=False)
        self.watched = self.console.is_terminal
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
